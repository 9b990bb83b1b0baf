"""What a base model has no place for, of the settings of a run: told before the run, from facts alone.

The methods refuse the same things when they are put on a model; here all of it is found at once, without tensors, so
that page and command line can say it. Sizes are for `sizing.py`.
"""

from collections.abc import Callable, Iterator, Sequence

from engine.paths import last_name
from engine.settings import LOW_RANK, RunSettings, titles
from engine.sizing import Facts, Layer, Module, bottleneck_places, chosen_layers, fits_precision


def misfits(facts: Facts, settings: RunSettings, called: str) -> list[str]:
    """All that speaks against these settings on this base, a sentence each; `called` is the base's name in them."""
    return [*_precision(facts, settings, called), *_method(facts, settings, called)]


def _precision(facts: Facts, settings: RunSettings, called: str) -> Iterator[str]:
    kept = settings.base_precision
    if not any(fits_precision(layer["in"], kept) for layer in facts["layers"]) and kept != "full":
        name = titles("base_precision")[kept]
        yield f"{called} has no layer that can be kept in {name}. Choose the base precision Full."


def _method(facts: Facts, settings: RunSettings, called: str) -> Iterator[str]:
    if settings.method in LOW_RANK:
        yield from _low_rank(facts, settings, called)
        return
    if settings.method == "prompt" and settings.prompt_tokens >= facts["max_length"]:
        yield (
            f"{called} takes rows of {facts['max_length']} tokens, and a soft prompt of {settings.prompt_tokens} "
            "leaves no room for anything else. Lower Prompt length."
        )
    look = _REFUSALS.get(settings.method)
    refusal = look(facts) if look else ""
    if refusal:
        yield f"{called} {refusal}"


def _low_rank(facts: Facts, settings: RunSettings, called: str) -> Iterator[str]:
    layers = facts["layers"]
    if not layers:
        yield f"{called} has no linear layers in its blocks, so LoRA has no place. Choose another method."
        return
    if settings.target_modules is not None:
        unknown = _unknown(settings.target_modules, layers)
        if unknown or not settings.target_modules:
            names = ", ".join(_names(layers))
            yield f"Target modules: {', '.join(unknown) or 'empty'}. {called} has {names}."
    outside = [number for number in settings.layers or () if number >= facts["blocks"]]
    if outside:
        yield f"Blocks: {outside[0]}. {called} has {facts['blocks']} of them, numbered from 0."
    chosen = chosen_layers(facts, settings)
    if chosen:
        yield from _of_chosen(settings, chosen)
    yield from _in_full(facts, settings, chosen, called)


def _of_chosen(settings: RunSettings, chosen: Sequence[Layer]) -> Iterator[str]:
    """Patterns that reach no layer, and ranks that PiSSA cannot start from."""
    for title, pattern in (("Rank by layer", settings.rank_pattern), ("Alpha by layer", settings.alpha_pattern)):
        unknown = _unknown(pattern or (), chosen)
        if unknown:
            yield f"{title}: {', '.join(unknown)}. These layers get an adapter: {', '.join(_names(chosen))}."
    if settings.start == "pissa":
        small = [one for one in chosen if settings.shape_of(one["path"])[0] > min(one["in"], one["out"])]
        for one in small[:1]:
            yield (
                f"PiSSA takes the {settings.shape_of(one['path'])[0]} largest directions of each layer, but "
                f"{one['path']} ({one['out']} x {one['in']}) has only {min(one['in'], one['out'])}. "
                "Choose a smaller rank, or a random start."
            )


def _in_full(facts: Facts, settings: RunSettings, chosen: Sequence[Layer], called: str) -> Iterator[str]:
    modules, names = facts["modules"], settings.train_in_full or []
    unknown = _unknown(names, modules)
    if unknown:
        outside = ", ".join(_names([module for module in modules if module["block"] is None]))
        yield f"Train in full: {', '.join(unknown)}. {called} has, outside of its blocks, {outside}."
    both = [layer["path"] for layer in chosen if layer["path"] in names or layer["name"] in names]
    if both:
        yield f"{both[0]} cannot be trained in full and get an adapter as well. Leave it out of one."


def _unknown(names: Sequence[str] | dict[str, int] | dict[str, float], things: Sequence[Layer]) -> list[str]:
    known = {*_names(things), *(thing["path"] for thing in things)}
    return [name for name in names if name not in known]


def _names(things: Sequence[Layer]) -> list[str]:
    return sorted({last_name(thing["path"]) for thing in things})


def _reading(facts: Facts) -> list[Module]:
    return [module for module in facts["modules"] if not module.get("aside")]


def _no_biases(facts: Facts) -> str:
    some = any(module["bias"] or any("bias" in name for name in module.get("others", ())) for module in _reading(facts))
    return "" if some else "has no biases, so BitFit has nothing to train. Choose another method."


def _no_norms(facts: Facts) -> str:
    some = any(module["kind"] == "norm" for module in _reading(facts))
    return "" if some else "has no norms with numbers to train. Choose another method."


def _no_bottleneck(facts: Facts) -> str:
    if facts["blocks"] and len(bottleneck_places(facts)) >= 2 * facts["blocks"]:
        return ""
    return (
        "has a feed-forward part that ends in no linear layer (a mixture of experts, for example), so bottleneck "
        "adapters have no place. Choose LoRA."
    )


_REFUSALS: dict[str, Callable[[Facts], str]] = {
    "bitfit": _no_biases,
    "norms": _no_norms,
    "bottleneck": _no_bottleneck,
}
