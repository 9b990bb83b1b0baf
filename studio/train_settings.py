"""What happens to the fields of the settings when a base, a data set or a method is chosen: updates for widgets.

A field that the person has not touched follows the defaults of the choice; one that they have touched stays. What is
offered, and what it starts from, is in `train_methods`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from adapters_store.tables import BaseModel, DataSet
from engine.settings import LOW_RANK, Method, RunSettings, usable
from studio import forms, train_methods
from studio.train_layout import ADAPTER, MORE, Layout

ORDER = (*ADAPTER, *MORE)
Updates = dict[Any, Any]
Values = Mapping[str, object]


def follow(ui: Layout, base: BaseModel | None, data: DataSet | None, old: object, values: Values) -> Updates:
    """All that follows for the settings; `old` are the defaults so far and `values` what stands in the fields."""
    method = train_methods.chosen(base, values["method"])
    new = train_methods.defaults(base, data, method)
    before = old if isinstance(old, dict) and old else RunSettings().model_dump(mode="json")
    names = {
        "target_modules": train_methods.target_names(base),
        "train_in_full": train_methods.whole_names(base),
    }
    updates: Updates = {ui.settings[name]: _field(name, method, values[name], before.get(name), new) for name in ORDER}
    for name, choices in names.items():
        values = {**values, name: _known(values[name], choices)}
        updates[ui.settings[name]] |= gr.update(choices=choices, value=values[name] or [])
    updates[ui.settings["blocks"]] |= gr.update(maximum=train_methods.blocks_of(base))
    updates[ui.settings["method"]] = gr.update(choices=train_methods.offered(base), value=method)
    return {
        **updates,
        ui.presets_row: gr.update(visible=method in LOW_RANK),
        ui.method_help: train_methods.method_help(base, method),
        ui.defaults: new,
        ui.shape: shape(base, {**values, "method": method}),
    }


def shape(base: BaseModel | None, values: Values) -> dict[str, Any]:
    """The numbers the browser draws and counts with, from the fields as far as they are right."""
    method = str(values["method"])
    given = {name: value for name, value in values.items() if forms.is_shown(name, method)}
    return train_methods.shape_of(base, usable(given))


def _field(name: str, method: Method, value: object, before: object, new: Mapping[str, Any]) -> dict[str, Any]:
    untouched = value == before != new[name]
    follows: dict[str, Any] = {"value": new[name]} if untouched else {}
    return gr.update(visible=forms.visible(name, method), **follows)


def _known(given: object, choices: list[str]) -> list[str] | None:
    return [name for name in given if name in choices] or None if isinstance(given, list) else None
