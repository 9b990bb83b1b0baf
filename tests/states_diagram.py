"""Writes docs/states.md: the states of a job and the ways between them, drawn from the table of the code.

    make states      (or: python -m tests.states_diagram)

What leads from one state to the next is said here and nowhere else; the ways themselves come from
`adapters_store/states.py`, and a way without words, or words without a way, is an error.
"""

from __future__ import annotations

from pathlib import Path

from adapters_store.states import FINAL, LIVE, TRANSITIONS

DOCUMENT = Path(__file__).parent.parent / "docs" / "states.md"

MEANING = {
    "queued": "It waits for its turn.",
    "starting": "A worker has claimed it and loads what it needs.",
    "running": "The worker does it.",
    "finishing": "The worker saves what came of it.",
    "paused": "A person paused it. It goes on from its checkpoint when a person says so, and never by itself.",
    "interrupted": "Its worker is gone or was ended. A run goes on from its checkpoint, by itself at most three times.",
    "completed": "Done.",
    "stopped": "Ended early by a person or a time limit; what was learned is kept.",
    "cancelled": "Ended by a person; nothing is kept.",
    "failed": "An error ended it, and the same would happen again.",
}
CAUSE = {
    "starting": "claimed",
    "running": "loaded",
    "finishing": "last step, or stop and keep",
    "paused": "pause",
    "queued": "continue",
    "cancelled": "cancel",
    "failed": "error",
    "interrupted": "worker gone, or without progress",
    "completed": "saved",
    "stopped": "saved early",
}

HEAD = """# The states of a job

Made from the table in `adapters_store/states.py` by `make states`. Every change is kept with the time, with who made it
and why, and the store refuses any that is not drawn here.
"""


def document() -> str:
    """The whole of docs/states.md. ValueError where states and words do not go together."""
    states = set(TRANSITIONS)
    if states != set(MEANING) or {to for following in TRANSITIONS.values() for to in following} != set(CAUSE):
        raise ValueError("Every state needs its meaning, and every state that is reached its cause; no other has any.")
    return "\n".join([HEAD, "```mermaid", *_diagram(), "```", "", *_table()]) + "\n"


def _diagram() -> list[str]:
    ways = [(state, to) for state in TRANSITIONS for to in _sorted(TRANSITIONS[state])]
    return [
        "stateDiagram-v2",
        "    [*] --> queued: submit",
        *(f"    {state} --> {to}: {CAUSE[to]}" for state, to in ways),
        *(f"    {state} --> [*]" for state in TRANSITIONS if state in FINAL),
    ]


def _sorted(states: frozenset[str]) -> list[str]:
    """In the order of the table, so that the same table gives the same document."""
    return [state for state in TRANSITIONS if state in states]


def _table() -> list[str]:
    rows = [f"| {state} | {MEANING[state]} | {_held(state)} |" for state in TRANSITIONS]
    return ["| State | What it means | A worker holds it |", "| --- | --- | --- |", *rows]


def _held(state: str) -> str:
    return "yes" if state in LIVE else "no"


def main() -> None:
    """Write the document."""
    DOCUMENT.write_text(document(), "utf-8")


if __name__ == "__main__":
    main()
