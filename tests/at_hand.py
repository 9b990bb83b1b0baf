"""An answerer in this process: what tests of questions and answers use where that it is a process is beside the point.

Knows nothing about pages or commands.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from jobs.answerer import Desk
from jobs.requests import KINDS


class AtHand:
    """Takes requests as `jobs.ask.Answerer` does, and notes them. What it is sent and says goes through JSON."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def stream(self, kind: str, *, deadline: float, **payload: Any) -> Iterator[dict[str, Any]]:
        """The parts of the answer."""
        self.asked.append((kind, json.loads(json.dumps(payload))))
        with closing(KINDS[kind](self.desk, self.asked[-1][1], lambda: False)) as items:
            for item in items:
                yield json.loads(json.dumps(item))

    def request(self, kind: str, *, deadline: float, **payload: Any) -> dict[str, Any]:
        """The one answer."""
        return list(self.stream(kind, deadline=deadline, **payload))[-1]

    request_in_spare_time = request  # nobody else asks

    def close(self) -> None:
        """Nothing has to end."""
