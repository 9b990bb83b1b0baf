"""The answerer's request "held_out": which rows a run set aside to measure on.

What is set aside follows from the rows as tokens, so a tokenizer is needed, but no model. Knows nothing about what the
rows are wanted for.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.answerer import Desk


def held_out(desk: Desk, payload: Mapping[str, Any], should_stop: Callable[[], bool]) -> Generator[dict[str, Any]]:
    """`rows`: their numbers, from 0, counted on from one data set to the next. The payload is that of `plan`."""
    from engine.prepared import Portion
    from engine.prepared import held_out as set_aside
    from engine.settings import parse

    settings, portions = parse(payload["settings"]), []
    for path, weight, sources in payload["mixture"]:
        kept, _ = desk.tokens(payload["base_path"], path, settings, should_stop)
        portions.append(Portion(kept, float(weight), tuple(sources)))
    yield {"rows": set_aside(portions, settings)}
