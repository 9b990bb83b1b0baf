"""The piece "Mix in another" of the Train tab: what it offers, and what comes back from it.

What is chosen lives in the browser (static/mix.js) and comes as JSON with every event; it is trusted in nothing. Knows
nothing about widgets; what a mixture may be is in `mixtures`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from adapters_store.tables import Adapter, DataSet, Job, Weighted
from studio import train_facts

LONGEST = 4000  # characters of what a browser sends


def offered(data_sets: Sequence[DataSet], chosen: DataSet | None, start: Adapter | Job | None = None) -> dict[str, Any]:
    """What the piece draws: all sets with their labels, and the number of the chosen one.

    With `start` it takes over the mixture that this adapter, or run, has learned from.
    """
    known = {
        "sets": [[data.id, train_facts.data_label(data)] for data in data_sets],
        "first": chosen.id if chosen else None,
    }
    if start is None or not start.mixture:
        return known
    (_, weight), *others = start.mixture
    parts = [[data.id, weight] for data, weight in others]
    return {**known, "given": {"at": time.monotonic_ns(), "weight": weight, "parts": parts}}


def read(data_sets: Sequence[DataSet], chosen: DataSet, text: object) -> list[Weighted]:
    """The mixture of the chosen data set and what is mixed in; a weight that is no number is nan."""
    said = _said(text)
    if not said:
        return [Weighted(chosen, 1.0)]
    known = {data.id: data for data in data_sets if data.id != chosen.id}
    parts = [Weighted(known[id], _number(weight)) for id, weight in _parts(said) if id in known]
    return [Weighted(chosen, _number(said.get("weight")) if parts else 1.0), *parts]


def _said(text: object) -> Mapping[str, Any]:
    if not isinstance(text, str) or not text or len(text) > LONGEST:
        return {}
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _parts(said: Mapping[str, Any]) -> list[tuple[int, object]]:
    parts = said.get("parts")
    pairs = [part for part in parts if isinstance(part, list) and len(part) == 2] if isinstance(parts, list) else []
    return [(id, weight) for id, weight in pairs if isinstance(id, int)]


def _number(weight: object) -> float:
    try:
        return float(str(weight))
    except ValueError:
        return math.nan
