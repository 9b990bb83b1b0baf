"""What a run or an adapter is called by its method: `DoRA, r 16, alpha 32`. The same words in every list and card.

Settings in, words out. They come from rows of the store, so an older or an imported row may lack any of them. Knows
nothing about widgets or bases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from adapters_store.tables import Adapter
from engine.settings import IN_THE_BASE, LOW_RANK, RunSettings, titles

NOTHING = "–"  # what stands where a number would mean nothing
Settings = Mapping[str, Any]


def title(method: str) -> str:
    """How a method is called: of `dora`, DoRA. What is a title already, or unknown, stays."""
    return titles("method").get(method, method)


def name(adapter: Adapter) -> str:
    """The method in a word or two, where its title has more to say: `Biases only`."""
    return title(adapter.method).partition(" (")[0]


def method_of(adapter: Adapter) -> str:
    """The method as in the settings of a run: of DoRA, `dora`."""
    return next((method for method, called in titles("method").items() if called == adapter.method), adapter.method)


def has_rank(adapter: Adapter) -> bool:
    """Whether rank and alpha mean something to the method the adapter was made by."""
    return method_of(adapter) in LOW_RANK


def rank(adapter: Adapter) -> str:
    """The rank, or a dash."""
    return str(adapter.rank) if has_rank(adapter) else NOTHING


def alpha(adapter: Adapter) -> str:
    """The alpha, or a dash."""
    return f"{adapter.alpha:g}" if has_rank(adapter) else NOTHING


def short(adapter: Adapter) -> str:
    """The fewest words that tell adapters of one base apart: `r 16`, `DoRA r 16`, `Soft prompt`."""
    if not has_rank(adapter):
        return title(adapter.method)
    return f"r {adapter.rank}" if method_of(adapter) == "lora" else f"{title(adapter.method)} r {adapter.rank}"


def of_adapter(adapter: Adapter) -> str:
    """The method of an adapter with all that makes it special."""
    known = {"rank": adapter.rank, "alpha": adapter.alpha, **(adapter.settings or {}), "method": method_of(adapter)}
    return of_settings(known)


def of_settings(settings: Settings) -> str:
    """The method of a run with all that makes it special: `LoRA, r 16, alpha 32, PiSSA, on NF4`."""
    method = str(settings.get("method") or "lora")
    words = [title(method), *(_SIZES[method](settings) if method in _SIZES else [])]
    if method in LOW_RANK:
        words += _variants(settings)
    precision = settings.get("base_precision", "full")
    if precision != "full" and method not in IN_THE_BASE:
        words.append(f"on {titles('base_precision').get(str(precision), precision)}")
    return ", ".join(words)


def suffix(settings: RunSettings) -> str:
    """What the name of a run ends in, by what was chosen for it: `r16`, `dora-r16`, `bitfit`, `blocks2`."""
    method = settings.method
    if method in LOW_RANK:
        return f"r{settings.rank}" if method == "lora" else f"{method}-r{settings.rank}"
    dial = {"bottleneck": settings.bottleneck, "prompt": settings.prompt_tokens, "blocks": settings.blocks}.get(method)
    return method if dial is None else f"{method}{dial}"


def _low_rank(given: Settings) -> list[str]:
    by_layer = ", by layer" if given.get("rank_pattern") or given.get("alpha_pattern") else ""
    return [f"r {given.get('rank')}", f"alpha {float(given.get('alpha') or 0):g}{by_layer}"]


def _variants(given: Settings) -> list[str]:
    words = []
    if given.get("rank_stabilised"):
        words.append("rsLoRA")
    if given.get("start") == "pissa":
        words.append("PiSSA")
    if (ratio := float(given.get("b_ratio") or 1)) != 1:
        words.append(f"LoRA+ {ratio:g}")
    if given.get("train_in_full"):
        words.append(f"{', '.join(given['train_in_full'])} in full")
    if given.get("bias", "none") != "none":
        words.append("with biases")
    return words


_SIZES: dict[str, Callable[[Settings], list[str]]] = {
    "lora": _low_rank,
    "dora": _low_rank,
    "bottleneck": lambda given: [f"width {given['bottleneck']}"] if given.get("bottleneck") else [],
    "prompt": lambda given: [f"{given['prompt_tokens']} tokens"] if given.get("prompt_tokens") else [],
    "blocks": lambda given: [f"{given['blocks']} trained"] if given.get("blocks") else [],
}
