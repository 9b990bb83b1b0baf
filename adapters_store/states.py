"""The states of a job and the ways from one to the next: one table, and questions about it.

Knows nothing about rows, processes or who asks for a change.
"""

TRANSITIONS: dict[str, frozenset[str]] = {
    "queued": frozenset({"starting", "paused", "cancelled"}),
    "starting": frozenset({"running", "paused", "failed", "cancelled", "interrupted"}),
    "running": frozenset({"finishing", "paused", "failed", "cancelled", "interrupted"}),
    "finishing": frozenset({"completed", "stopped", "failed", "interrupted", "cancelled"}),
    "paused": frozenset({"queued", "cancelled"}),
    "interrupted": frozenset({"queued", "cancelled"}),
    "completed": frozenset(),
    "stopped": frozenset(),
    "cancelled": frozenset(),
    "failed": frozenset(),
}

# A process works on the job, so it has an owner and its token is current.
LIVE = frozenset({"starting", "running", "finishing"})

# Nothing will happen to the job any more.
FINAL = frozenset(state for state, following in TRANSITIONS.items() if not following)


def allowed(state: str, to: str) -> bool:
    """Whether a job in `state` may be moved to `to`."""
    return to in TRANSITIONS.get(state, frozenset())
