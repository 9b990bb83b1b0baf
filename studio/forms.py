"""Settings as widgets, and widgets as settings, both from the declarations in `engine.settings`.

A widget here never judges a value: whatever is typed reaches the settings' own checks, which tell all problems at once
in words. Knows nothing about models, data sets or jobs.
"""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import gradio as gr

from engine.settings import IN_THE_BASE, RunSettings, applies, bounds, group_of, titles

# Sliders stop where people stop choosing by eye; larger values are for the command line.
_SLIDER_TOP = {"rank": 256, "alpha": 512, "bottleneck": 512, "prompt_tokens": 128, "blocks": 64}


def unjudged(field: Any) -> Any:
    """The field, passing on what was typed or chosen as it is. Gradio's own check would answer with a pop-up."""
    field.preprocess = lambda payload: payload
    return field


def names(group: Literal["adapter", "more"]) -> list[str]:
    """The settings of one part of the form: what every method has first, then as they are declared."""
    found = [name for name in RunSettings.model_fields if group_of(name) == group]
    return sorted(found, key=lambda name: not all(applies(name, method) for method in titles("method")))


def numeric() -> list[dict[str, str]]:
    """The settings that are numbers, with their titles, in the order of the form."""
    fields = RunSettings.model_fields
    found = [name for name in (*names("adapter"), *names("more")) if fields[name].annotation in (int, float)]
    return [{"name": name, "title": fields[name].title or name} for name in found]


def widget(name: str) -> Any:
    """The field for one setting, with its title, its help line and its default."""
    field = RunSettings.model_fields[name]
    default, common = field.default, _common(name)
    if name in _SLIDER_TOP:
        low = bounds(name)[0] or 0
        return unjudged(gr.Slider(max(1, low), _SLIDER_TOP[name], default, step=1, buttons=[], **common))
    if field.annotation is bool:
        return unjudged(gr.Checkbox(default, **common))
    if choices := _choices(name):
        return unjudged(gr.Dropdown(choices, value=default, **common))
    if _holds_names(field.annotation):
        return unjudged(gr.Dropdown([], value=[], multiselect=True, **common))
    if default is None:  # Gradio's number field cannot be empty when it is drawn; a line of text can
        return gr.Textbox("", max_lines=1, placeholder="all" if name == "layers" else "none", **common)
    return gr.Number(default, step=_step(field.annotation, default), **common)


def typed(order: Sequence[str], given: Sequence[object]) -> dict[str, object]:
    """What stands in all fields, in the order of `order`. An empty choice, or an empty line, means: not chosen."""
    return {name: None if value in ([], "") else value for name, value in zip(order, given, strict=True)}


def settings_of(order: Sequence[str], given: Sequence[object]) -> dict[str, object]:
    """The settings of a run from all fields: what a field of another method holds is kept there and not sent."""
    values = typed(order, given)
    method = str(values.get("method") or "lora")
    return {name: value for name, value in values.items() if is_shown(name, method)}


def visible(name: str, method: str) -> bool | Literal["hidden"]:
    """For a widget: one that is hidden stays in the page and keeps what was typed."""
    return is_shown(name, method) or "hidden"


def is_shown(name: str, method: str) -> bool:
    """Whether a setting has a place on the page: it means something to the method, and leaves a choice."""
    if name == "base_precision" and method in IN_THE_BASE:  # what is trained has to be in full precision
        return False
    return applies(name, method)


def changed(values: Mapping[str, object], defaults: Mapping[str, object]) -> list[str]:
    """The names of the settings that differ from their defaults."""
    return [name for name, value in values.items() if name in defaults and value != defaults[name]]


def more_title(values: Mapping[str, object], defaults: Mapping[str, object]) -> str:
    """`More settings`, with how many of them differ from the defaults."""
    count = len(changed(values, defaults))
    return f"More settings ({count} changed)" if count else "More settings"


def _common(name: str) -> dict[str, Any]:
    field = RunSettings.model_fields[name]
    extra = field.json_schema_extra
    unit = str(extra.get("unit", "")) if isinstance(extra, dict) else ""
    title = field.title or name
    help_line = field.description or ""
    return {
        "label": title,
        "info": help_line if not unit or unit in help_line.lower() else f"{help_line} In {unit}.",
        "interactive": True,
        "min_width": 150,
        "elem_id": f"setting-{name}",
        "visible": visible(name, RunSettings().method),
    }


def _step(annotation: Any, default: float) -> float:
    """What one press of an arrow key adds: 1 to a count, else the size of the default's first digit."""
    if annotation is int:
        return 1
    return float(10 ** math.floor(math.log10(default))) if default else 0.01


def _choices(name: str) -> list[tuple[str, str]]:
    return [(title, choice) for choice, title in titles(name).items()]


def _holds_names(annotation: Any) -> bool:
    return list[str] in typing.get_args(annotation)
