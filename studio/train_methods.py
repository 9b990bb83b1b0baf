"""What the Train tab offers for a base model and a method: the methods, their settings, and what these start from.

Facts and settings in, plain values and words out. Knows no widgets; what a base has no place for is `engine.misfits`'s.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from typing import Any, cast, get_args

from adapters_store.tables import BaseModel, DataSet
from engine.misfits import misfits
from engine.settings import LOW_RANK, METHOD_LINES, Method, RunSettings, defaults_for, titles
from engine.sizing import Facts, chosen_layers, count

# The one number of a method that the page counts with while it is being moved; the count is linear in it.
DIALS: dict[str, str] = {"lora": "rank", "dora": "rank", "bottleneck": "bottleneck", "prompt": "prompt_tokens"}


def refusals(base: BaseModel | None) -> dict[str, str]:
    """The methods this base has no place for, each with the reason in a sentence."""
    if base is None:
        return {}
    told = {method: misfits(base.facts, RunSettings(method=method), base.name) for method in get_args(Method)}
    return {method: problems[0] for method, problems in told.items() if problems}


def offered(base: BaseModel | None) -> list[tuple[str, str]]:
    """The methods this base has a place for, as (title, method)."""
    refused = refusals(base)
    return [(title, method) for method, title in titles("method").items() if method not in refused]


def chosen(base: BaseModel | None, value: object) -> Method:
    """The method a person chose, or the first that this base has a place for."""
    known = [method for _, method in offered(base)]
    return cast(Method, value if value in known else known[0])


def method_help(base: BaseModel | None, method: Method) -> str:
    """Beside the choice of the method: what it does and where it comes from, and which ones have no place here."""
    reasons = [f"{titles('method')[one]}; {_plainly(why)}" for one, why in refusals(base).items()]
    lines = [METHOD_LINES[method], *(f"Not offered: {reason}" for reason in reasons)]
    return "".join(f'<p class="help">{html.escape(line).replace("arXiv ", "arXiv&nbsp;")}</p>' for line in lines)


def _plainly(refusal: str) -> str:
    """The reason alone: here nobody chose the method, so nothing is to be chosen instead."""
    reason = refusal.removesuffix(" Choose another method.").split(", so ")[0]
    return f"{reason.rstrip('.')}."


def target_names(base: BaseModel | None) -> list[str]:
    """The last names of the layers that can get an adapter."""
    return list(dict.fromkeys(str(layer["name"]) for layer in base.facts["layers"])) if base else []


def whole_names(base: BaseModel | None) -> list[str]:
    """The last names of what can be trained in full beside an adapter: embeddings, norms, and the head."""
    if base is None:
        return []
    return list(dict.fromkeys(str(module["path"]).rpartition(".")[2] for module in _whole(base.facts)))


def _whole(facts: Facts) -> Iterator[Mapping[str, Any]]:
    adapted = {layer["path"] for layer in facts["layers"]}
    for module in facts["modules"]:
        outside = module["block"] is None and module["path"] not in adapted
        if not module.get("aside") and (outside or module["kind"] in ("embedding", "norm")):
            yield module


def defaults(base: BaseModel | None, data: DataSet | None, method: Method) -> dict[str, Any]:
    """What all settings start from, for this base, data set and method."""
    values = defaults_for(data.rows if data else 0, method).model_dump(mode="json")
    most = base.facts.get("max_length") if base else None
    if isinstance(most, int):
        values["length"] = min(values["length"], most)
    return values


def blocks_of(base: BaseModel | None) -> int:
    """How many blocks the base has; a number to draw with where it is not known."""
    return max(2, int(base.facts.get("blocks") or 0)) if base else 2


def shape_of(base: BaseModel | None, settings: RunSettings) -> dict[str, Any]:
    """The numbers the browser draws the method from, and counts it with while rank or width are moved.

    Trained numbers and bytes are `fixed + per * dial`, exactly: A and B grow with r, the rest stays.
    """
    if base is None:
        return {}
    dial = DIALS.get(settings.method)
    one, two = (count(base.facts, settings.model_copy(update={dial: n}) if dial else settings) for n in (1, 2))
    shape = {
        "method": settings.method,
        "title": titles("method")[settings.method],
        "dial": dial or "",
        "per": two.trained - one.trained,
        "fixed": 2 * one.trained - two.trained,
        "bytesPer": two.tensor_bytes - one.tensor_bytes,
        "bytesFixed": 2 * one.tensor_bytes - two.tensor_bytes,
        "inBase": sum(part.in_base for part in one.by_module),
        "parameters": int(base.facts.get("parameters") or 0),
        "blocks": blocks_of(base),
        "last": settings.blocks,
    }
    return shape | (_drawn_layer(base.facts, settings) if settings.method in LOW_RANK else {})


def _drawn_layer(facts: Facts, settings: RunSettings) -> dict[str, Any]:
    """The layer that is drawn: the first of attention, with what the patterns give it of its own."""
    layers = chosen_layers(facts, settings)
    if not layers:
        return {}
    layer = next((layer for layer in layers if _is_attention(layer)), layers[0])
    path, own = str(layer["path"]), dict[str, float]()
    rank, alpha = settings.shape_of(path)
    other_rank, other_alpha = settings.model_copy(update={"rank": 0, "alpha": 0.0}).shape_of(path)
    if other_rank:
        own["r"] = rank
    if other_alpha:
        own["a"] = alpha
    return {
        "layer": f"Block {_block(path)}, {layer['name']}",
        "O": layer["out"],
        "I": layer["in"],
        "root": settings.rank_stabilised,
        "own": own,
    }


def _is_attention(layer: Mapping[str, Any]) -> bool:
    return "attn" in str(layer["path"]) or "attention" in str(layer["path"])


def _block(path: str) -> str:
    return next((part for part in path.split(".") if part.isdigit()), "0")
