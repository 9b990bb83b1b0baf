"""What the contestants' piece of Compare shows: who stands, who else can, and whole line-ups at one press.

Facts for static/columns.js, which writes every text as text. Knows nothing about widgets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters_store.store import Store
from adapters_store.tables import Adapter
from studio import contestants
from studio.contestants import MOST_COLUMNS, OFFERED, Contestant

Fact = dict[str, Any]


def facts(store: Store, chosen: Sequence[Contestant]) -> Fact:
    """All that the piece shows."""
    offered = contestants.offered(store)
    several = len(store.base_models()) > 1
    return {
        "columns": [_fact(one, _called(one, several)) for one in chosen],
        "choices": [_fact(one, label) for label, one in offered],
        "presets": presets(store),
    }


def presets(store: Store) -> list[Fact]:
    """Line-ups that can be chosen at one press."""
    adapters, _ = store.adapters(limit=OFFERED)
    if not adapters:
        return []
    newest = _line_up(adapters[:1])
    grid = _newest_grid(store, adapters)
    shown = "All of this grid" if len(grid) < MOST_COLUMNS else f"Best {MOST_COLUMNS - 1} of this grid"
    told = [{"label": "Base against newest", "values": newest}]
    return [*told, {"label": shown, "values": _line_up(grid[: MOST_COLUMNS - 1])}] if len(grid) > 1 else told


def _newest_grid(store: Store, adapters: Sequence[Adapter]) -> list[Adapter]:
    """The adapters of the grid that left an adapter last, the best by validation first."""
    grids = {job.id: job.grid for job in store.jobs(kinds=["train"], limit=1000) if job.grid}
    newest = next((grids[one.job_id] for one in adapters if one.job_id in grids), None)
    found = [one for one in adapters if newest is not None and grids.get(one.job_id or 0) == newest]
    return sorted(found, key=lambda one: (one.validation_loss is None, one.validation_loss or 0.0, one.id))


def _line_up(adapters: Sequence[Adapter]) -> list[str]:
    return [f"base-{adapters[0].base_model_id}", *(f"adapter-{one.id}" for one in adapters)]


def _fact(one: Contestant, label: str) -> Fact:
    name = label if one.is_base else one.with_strength(1.0).name
    return {"value": one.value, "name": name, "label": label, "base": one.base.name, "scalable": one.can_be_scaled}


def _called(one: Contestant, several: bool) -> str:
    return f"base: {one.base.name}" if several and one.is_base else one.name
