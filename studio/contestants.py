"""Who can answer side by side: the choices, what a choice means, and what is wrong with it.

A choice is text, as the page keeps it: `base-1` or `adapter-3`, several with commas between. Reads the library; knows
nothing about widgets, prompts or how an answer is made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from adapters_store.errors import NotFound
from adapters_store.store import Store
from adapters_store.tables import Adapter, BaseModel
from engine.settings import titles
from studio import method_words

MOST_ADAPTERS = 4
OFFERED = 200  # the newest adapters
STRONGEST = 2.0  # times what an adapter was trained to do
STRENGTHS = (0.5, 1.5, 2.0)  # that are offered, of the newest adapters
OFFERED_STRENGTHS = 10  # adapters
_VALUE = re.compile(r"(base|adapter)-([0-9]{1,15})(?:@([0-9](?:\.[0-9]{1,3})?))?")
NOBODY_YET = "?"  # what the page keeps until it has been told who can answer


@dataclass(frozen=True)
class Contestant:
    """One column of a comparison: the base model itself (`adapter` is None), or one of its adapters.

    `strength` is what an adapter's update is multiplied by, 0 to STRONGEST.
    """

    base: BaseModel
    adapter: Adapter | None
    strength: float = 1.0

    @property
    def value(self) -> str:
        """How the page keeps it."""
        return f"base-{self.base.id}" if self.adapter is None else f"adapter-{self.adapter.id}{self._at}"

    @property
    def name(self) -> str:
        """What its column is called."""
        return "base" if self.adapter is None else self.adapter.name + self._at

    @property
    def identity(self) -> str:
        """What tells its weights from all others, whatever they are called: the hash of their files."""
        return self.base.fingerprint if self.adapter is None else self.adapter.sha256 + self._at

    @property
    def _at(self) -> str:
        return "" if self.strength == 1 else f"@{self.strength:g}"


def choices(store: Store) -> list[tuple[str, str]]:
    """What can be chosen, as (label, value): the base models, the adapters, newest first, then these at a strength."""
    bases = store.base_models()
    several = len(bases) > 1
    adapters, _ = store.adapters(limit=OFFERED)
    return [
        *((f"base: {base.name}" if several else "base", f"base-{base.id}") for base in bases),
        *((_label(adapter, several), f"adapter-{adapter.id}") for adapter in adapters),
        *(
            (_label(adapter, several, f"@{strength:g}"), f"adapter-{adapter.id}@{strength:g}")
            for adapter in [one for one in adapters if _can_be_scaled(one)][:OFFERED_STRENGTHS]
            for strength in STRENGTHS
        ),
    ]


def read(store: Store, text: str | None) -> list[Contestant]:
    """The contestants a choice names, each once, the bases first; what is no longer there is left out."""
    found: dict[str, Contestant] = {}
    for part in (text or "").split(",")[:20]:
        contestant = _find(store, part.strip())
        if contestant is not None:
            found[contestant.value] = contestant
    return sorted(found.values(), key=lambda one: one.adapter is not None)


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
    same = _adapters(current)[:MOST_ADAPTERS] == _adapters(wanted)
    return current if same and chosen != NOBODY_YET else wanted


def _adapters(chosen: Sequence[Contestant]) -> list[str]:
    """The adapters among the contestants, with their strengths."""
    return [one.value for one in chosen if one.adapter is not None]


def problems(chosen: Sequence[Contestant]) -> list[str]:
    """Why these cannot answer side by side, in sentences; empty when they can."""
    if not chosen:
        return ["Choose at least one contestant: the base, or an adapter."]
    first = chosen[0].base
    said = [
        f"{_said(one)} belongs to {one.base.name}, and {_said(chosen[0])} to {first.name}. Only adapters of one base "
        "model answer side by side: take one of them out."
        for one in chosen
        if one.base.id != first.id
    ]
    said += [
        f"{one.name}: only low-rank adapters without more can answer at another strength than 1."
        for one in chosen
        if one.strength != 1 and one.adapter is not None and not _can_be_scaled(one.adapter)
    ]
    adapters = sum(one.adapter is not None for one in chosen)
    if adapters > MOST_ADAPTERS:
        said.append(f"{adapters} adapters are chosen; at most {MOST_ADAPTERS} answer at once. Take some of them out.")
    return said


def advice(chosen: Sequence[Contestant]) -> str:
    """What would make the comparison worth more, or nothing."""
    adapters = [one for one in chosen if one.adapter is not None]
    if chosen and not adapters:
        return "Add an adapter to have something to compare."
    seen: dict[str, str] = {}
    for one in adapters:
        if one.identity in seen:
            return f"{one.name} has the same weights as {seen[one.identity]}."
        seen[one.identity] = one.name
    return ""


def precision(adapters: Sequence[Adapter]) -> str:
    """What the base is kept in while these answer: what all of them were trained on, or else full precision."""
    trained_on = {_trained_on(adapter) for adapter in adapters}
    return trained_on.pop() if len(trained_on) == 1 else "full"


def precision_note(adapters: Sequence[Adapter]) -> str:
    """What is to be said about the base's precision; nothing where it is full for all."""
    trained_on = {adapter.name: _trained_on(adapter) for adapter in adapters}
    called = titles("base_precision") | {"full": "the full base"}
    if set(trained_on.values()) <= {"full"}:
        return ""
    if len(set(trained_on.values())) == 1:
        whose = "the adapter was" if len(adapters) == 1 else "the adapters were"
        return f"Base in {called[precision(adapters)]}, as {whose} trained."
    each = ", ".join(f"{name} on {called[kept]}" for name, kept in trained_on.items())
    return f"Base in full precision, as the adapters were trained on different ones: {each}."


def passes_note(chosen: Sequence[Contestant]) -> str:
    """Who cannot answer in one pass over the base with the others; nothing where all can."""
    apart = [one.name for one in chosen if one.adapter is not None and not _goes_by_rows(one.adapter)]
    if not apart or len(chosen) == 1:
        return ""
    be, who = ("is", "it") if len(apart) == 1 else ("are", "each")
    return f"{', '.join(apart)} {be} not low-rank alone, so {who} answers after the others, in a pass of its own."


def _can_be_scaled(adapter: Adapter) -> bool:
    """Whether its update is one product that a factor stands before; DoRA's also turns what the base says."""
    return _goes_by_rows(adapter) and method_words.method_of(adapter) == "lora"


def _goes_by_rows(adapter: Adapter) -> bool:
    """Whether it is low-rank and nothing else, as far as its settings tell."""
    settings = adapter.settings or {}
    more = settings.get("train_in_full") or settings.get("bias", "none") != "none"
    return method_words.has_rank(adapter) and not more


def _trained_on(adapter: Adapter) -> str:
    return str(adapter.settings.get("base_precision", "full"))


def _find(store: Store, value: str) -> Contestant | None:
    named = _VALUE.fullmatch(value)
    if named is None:
        return None
    kind, number, strength = named[1], int(named[2]), float(named[3] or 1)
    try:
        if kind == "base":
            return Contestant(store.base_model(number), None)
        adapter = store.adapter(number)
    except NotFound:
        return None
    sound = adapter.deleted_at is None and strength <= STRONGEST
    return Contestant(adapter.base_model, adapter, strength) if sound else None


def _label(adapter: Adapter, several: bool, at: str = "") -> str:
    return f"{adapter.name}{at} ({adapter.base_model.name})" if several else f"{adapter.name}{at}"


def _said(contestant: Contestant) -> str:
    return "The base" if contestant.adapter is None else contestant.adapter.name
