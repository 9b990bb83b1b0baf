"""Who can answer side by side: the choices, what a choice means, and what is wrong with it.

A choice is text, as the page keeps it: `base-1`, `adapter-3`, `adapter-3@0.5`, `checkpoint-7` or `merged-12`, several
with commas between. Reads the library; knows nothing about widgets, prompts or how an answer is made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from adapters_store.errors import NotFound
from adapters_store.store import Store
from adapters_store.tables import Adapter, BaseModel
from engine.settings import LOW_RANK, titles
from studio import method_words, outsiders
from studio.outsiders import Outsider

MOST_COLUMNS = 8
OFFERED = 200  # the newest adapters
STRONGEST = 2.0  # times what an adapter was trained to do
_VALUE = re.compile(r"(base|adapter|checkpoint|merged)-([0-9]{1,15})(?:@([0-9](?:\.[0-9]{1,3})?))?(?:#([2-8]))?")
NOBODY_YET = "?"  # what the page keeps until it has been told who can answer


@dataclass(frozen=True)
class Contestant:
    """One column of a comparison: the base model itself, one of its adapters, or an outsider made from it.

    `strength` is what an adapter's update is multiplied by, 0 to STRONGEST. Who stands in several columns, to be asked
    otherwise, has a `copy` number from 2 on.
    """

    base: BaseModel
    adapter: Adapter | None
    strength: float = 1.0
    outsider: Outsider | None = None
    copy: int = 0

    @property
    def is_base(self) -> bool:
        """Whether it is the base model itself."""
        return self.adapter is None and self.outsider is None

    @property
    def value(self) -> str:
        """How the page keeps it."""
        again = f"#{self.copy}" if self.copy else ""
        if self.outsider is not None:
            return f"{self.outsider.kind}-{self.outsider.id}{self._at}{again}"
        return f"base-{self.base.id}{again}" if self.adapter is None else f"adapter-{self.adapter.id}{self._at}{again}"

    @property
    def name(self) -> str:
        """What its column is called."""
        if self.outsider is not None:
            return self.outsider.name + self._at
        return "base" if self.adapter is None else self.adapter.name + self._at

    @property
    def identity(self) -> str:
        """What tells its weights from all others, whatever they are called: the hash of their files."""
        if self.outsider is not None:
            return self.outsider.mark + self._at
        return self.base.fingerprint if self.adapter is None else self.adapter.sha256 + self._at

    @property
    def is_whole(self) -> bool:
        """Whether it is a whole model of its own, beside the base it was made from."""
        return self.outsider is not None and self.outsider.kind == "merged"

    @property
    def can_be_scaled(self) -> bool:
        """Whether it can answer at another strength than 1: one product that a factor stands before.

        DoRA's update also turns what the base says, so it has no such product.
        """
        if self.outsider is not None:
            return self.outsider.kind == "checkpoint" and _is_plain_lora(self.outsider.settings)
        return self.adapter is not None and _can_be_scaled(self.adapter)

    @property
    def trained_on(self) -> str | None:
        """The precision of the base that it was trained on; None for the base itself and for a whole model."""
        if self.outsider is not None:
            return self.outsider.precision
        return None if self.adapter is None else _trained_on(self.adapter)

    @property
    def _at(self) -> str:
        return "" if self.strength == 1 else f"@{self.strength:g}"

    def with_strength(self, strength: float) -> Contestant:
        """The same contestant at another strength."""
        return replace(self, strength=strength)


def offered(store: Store) -> list[tuple[str, Contestant]]:
    """Who can be chosen, each with a label: bases, adapters from the newest on, then checkpoints and merged models."""
    bases = store.base_models()
    several = len(bases) > 1
    adapters, _ = store.adapters(limit=OFFERED)
    return [
        *((f"base: {base.name}" if several else "base", Contestant(base, None)) for base in bases),
        *((_label(adapter, several), Contestant(adapter.base_model, adapter)) for adapter in adapters),
        *((one.label, Contestant(one.base, None, outsider=one)) for one in outsiders.offered(store)),
    ]


def read(store: Store, text: str | None) -> list[Contestant]:
    """The contestants a choice names, each once, the bases first; what is no longer there is left out."""
    found: dict[str, Contestant] = {}
    for part in (text or "").split(",")[: 2 * MOST_COLUMNS]:
        contestant = find(store, part.strip())
        if contestant is not None:
            found[contestant.value] = contestant
    return sorted(found.values(), key=lambda one: not one.is_base)


def with_base(store: Store, adapter_ids: str | None) -> list[Contestant]:
    """The adapters handed over as `3,5`, and the base model of the first; without any, the newest model used."""
    adapters = read(store, ",".join(f"adapter-{part.strip()}" for part in (adapter_ids or "").split(",")))
    if adapters:
        return [Contestant(adapters[0].base, None), *adapters]
    newest, _ = store.adapters(limit=1)
    bases = [newest[0].base_model] if newest else store.base_models()[:1]
    return [Contestant(base, None) for base in bases]


def standing(store: Store, handed: str | None, chosen: str | None) -> list[Contestant]:
    """The contestants while a handover may be on its way: those `handed` over count, as soon as they were.

    Whoever chooses by hand changes both texts at once, so where they differ in the adapters `chosen` is the older one.
    Bases are in `chosen` alone.
    """
    current, wanted = read(store, chosen), with_base(store, handed)
    same = _adapters(current)[:MOST_COLUMNS] == _adapters(wanted)
    return current if same and chosen != NOBODY_YET else wanted


def _adapters(chosen: Sequence[Contestant]) -> list[str]:
    """The adapters among the contestants, with their strengths."""
    return [one.value for one in chosen if one.adapter is not None]


def problems(chosen: Sequence[Contestant]) -> list[str]:
    """Why these cannot answer side by side, in sentences; empty when they can."""
    if not chosen:
        return ["Choose at least one contestant: the base, or an adapter."]
    said = [
        f"{one.name}: only low-rank adapters without more can answer at another strength than 1."
        for one in chosen
        if one.strength != 1 and not one.can_be_scaled
    ]
    if len(chosen) > MOST_COLUMNS:
        said.append(f"{len(chosen)} contestants are chosen; at most {MOST_COLUMNS} answer. Take some of them out.")
    return said


def advice(chosen: Sequence[Contestant]) -> str:
    """What would make the comparison worth more, or nothing."""
    if len(chosen) == 1 and chosen[0].is_base:
        return "Add an adapter to have something to compare."
    seen: dict[str, str] = {}
    for one in chosen:
        if one.identity in seen and not one.copy:
            return f"{one.name} has the same weights as {seen[one.identity]}."
        seen[one.identity] = one.name
    return ""


def precision(adapters: Sequence[Adapter]) -> str:
    """What the base is kept in while these answer: what all of them were trained on, or else full precision."""
    return _shared([_trained_on(adapter) for adapter in adapters])


def precision_of(chosen: Sequence[Contestant]) -> str:
    """What their common base is kept in while these answer, as `precision`."""
    return _shared([one.trained_on for one in chosen if one.trained_on is not None])


def _shared(trained_on: Sequence[str]) -> str:
    return trained_on[0] if len(set(trained_on)) == 1 else "full"


def precision_note(chosen: Sequence[Contestant]) -> str:
    """What is to be said about the precision of a base that these share; nothing where it is full for all."""
    trained_on = {one.name: one.trained_on for one in chosen if one.trained_on is not None}
    called = titles("base_precision") | {"full": "the full base"}
    if set(trained_on.values()) <= {"full"}:
        return ""
    if len(set(trained_on.values())) == 1:
        whose = "the adapter was" if len(trained_on) == 1 else "the adapters were"
        return f"Base in {called[precision_of(chosen)]}, as {whose} trained."
    each = ", ".join(f"{name} on {called[kept]}" for name, kept in trained_on.items())
    return f"Base in full precision, as the adapters were trained on different ones: {each}."


def passes_note(chosen: Sequence[Contestant]) -> str:
    """Who cannot answer in one pass over the base with the others; nothing where all can."""
    apart = [one.name for one in chosen if not _shares_a_pass(one)]
    if not apart or len(chosen) == 1:
        return ""
    be, who = ("is", "it") if len(apart) == 1 else ("are", "each")
    return f"{', '.join(apart)} {be} not low-rank alone, so {who} answers after the others, in a pass of its own."


def bases_note(chosen: Sequence[Contestant]) -> str:
    """That several whole models are loaded one after the other; nothing where one is enough."""
    models = list(dict.fromkeys(one.name if one.is_whole else one.base.name for one in chosen))
    if len(models) < 2:
        return ""
    listed = ", ".join(models)
    return f"{len(models)} models answer, and each is loaded in turn: {listed}. One is in memory at a time."


def _shares_a_pass(one: Contestant) -> bool:
    if one.outsider is not None:
        return one.is_whole or _is_by_rows(one.outsider.settings)
    return one.adapter is None or _goes_by_rows(one.adapter)


def _can_be_scaled(adapter: Adapter) -> bool:
    """Whether its update is one product that a factor stands before; DoRA's also turns what the base says."""
    return _goes_by_rows(adapter) and method_words.method_of(adapter) == "lora"


def _goes_by_rows(adapter: Adapter) -> bool:
    """Whether it is low-rank and nothing else, as far as its settings tell."""
    return method_words.has_rank(adapter) and _adds_nothing(adapter.settings or {})


def _is_by_rows(settings: Mapping[str, Any]) -> bool:
    """The same of the settings of a run."""
    return settings.get("method", "lora") in LOW_RANK and _adds_nothing(settings)


def _is_plain_lora(settings: Mapping[str, Any]) -> bool:
    return settings.get("method", "lora") == "lora" and _adds_nothing(settings)


def _adds_nothing(settings: Mapping[str, Any]) -> bool:
    return not settings.get("train_in_full") and settings.get("bias", "none") == "none"


def _trained_on(adapter: Adapter) -> str:
    return str(adapter.settings.get("base_precision", "full"))


def named(value: str) -> tuple[str, int]:
    """Kind and number that one value names, whether it is still there or not; ("", 0) for none."""
    found = _VALUE.fullmatch(value)
    return (found[1], int(found[2])) if found else ("", 0)


def find(store: Store, value: str) -> Contestant | None:
    """The contestant that one value names; None if it is none, or no longer there."""
    found = _VALUE.fullmatch(value)
    if found is None or (strength := float(found[3] or 1)) > STRONGEST:
        return None
    kind, number, copy = found[1], int(found[2]), int(found[4] or 0)
    if kind in ("checkpoint", "merged"):
        outsider = outsiders.find(store, kind, number)
        return Contestant(outsider.base, None, strength, outsider, copy) if outsider else None
    try:
        if kind == "base":
            return Contestant(store.base_model(number), None, copy=copy)
        adapter = store.adapter(number)
    except NotFound:
        return None
    return Contestant(adapter.base_model, adapter, strength, copy=copy) if adapter.deleted_at is None else None


def _label(adapter: Adapter, several: bool) -> str:
    return f"{adapter.name} ({adapter.base_model.name})" if several else adapter.name
