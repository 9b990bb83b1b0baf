"""The shape of an adapter, as against how it was trained: what a run that starts from an adapter keeps of it.

Imports no torch. Knows nothing about files or the library: settings come in, and sentences go out.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from engine.settings import RunSettings, titles
from engine.settings_words import shown

# A run that starts from an adapter keeps all of it. The base's precision belongs to it, because the adapter has learned
# on those very weights.
SHAPE = (
    "method",
    "base_precision",
    "rank",
    "alpha",
    "target_modules",
    "layers",
    "rank_stabilised",
    "start",
    "rank_pattern",
    "alpha_pattern",
    "train_in_full",
    "bias",
    "blocks",
    "bottleneck",
    "prompt_tokens",
)


def continued(settings: RunSettings) -> RunSettings:
    """The settings whose method takes in the adapter that a run of `settings` has stored.

    They are the same but after a PiSSA start, which is stored as the LoRA of twice the rank that it equals: alpha grows
    with the rank, so that the factor of B A stays. The result may lie beyond the bounds of a setting; `parse` tells.
    """
    if settings.start != "pissa":
        return settings
    louder = 2**0.5 if settings.rank_stabilised else 2
    ranks, alphas = settings.rank_pattern, settings.alpha_pattern
    return settings.model_copy(
        update={
            "start": "gaussian",
            "rank": 2 * settings.rank,
            "alpha": settings.alpha * louder,
            "rank_pattern": ranks and {name: 2 * rank for name, rank in ranks.items()},
            "alpha_pattern": alphas and {name: alpha * louder for name, alpha in alphas.items()},
        }
    )


def at_odds_with(shape: RunSettings, values: Mapping[str, object], whose: str) -> list[str]:
    """A sentence for each of `values` that would give a run another shape than the adapter it starts from.

    Args:
        shape: the settings of a run that starts from the adapter.
        values: settings as they were given; those that cannot be read are left to `parse`.
        whose: the adapter's name.
    """
    problems = []
    for name in (name for name in SHAPE if name in values):
        try:
            given = getattr(RunSettings.model_validate({name: values[name]}), name)
        except ValidationError:
            continue
        kept = getattr(shape, name)
        if _in_order(given) != _in_order(kept):
            title = RunSettings.model_fields[name].title
            problems.append(
                f"{title} is {_worded(name, given)}, but {whose} has {_worded(name, kept)}, and a run that starts from "
                f"it keeps its shape. Leave {title} as it is."
            )
    return problems


def _in_order(value: object) -> object:
    """Lists of names mean the same in any order, and none of them the same as nothing."""
    return sorted(value) or None if isinstance(value, list) else value or None if isinstance(value, dict) else value


_NOTHING = {"target_modules": "every linear layer", "layers": "all blocks"}  # what an empty value of these means


def _worded(name: str, value: object) -> str:
    if value in (None, [], {}):
        return _NOTHING.get(name, "none")
    if isinstance(value, list | dict):
        pairs = [f"{key}={number:g}" for key, number in value.items()] if isinstance(value, dict) else map(str, value)
        return shown(", ".join(pairs))
    if isinstance(value, float):
        return f"{value:g}"
    return shown(titles(name).get(str(value), value) if isinstance(value, str) else value)
