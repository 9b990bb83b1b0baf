"""The list of jobs at one revision: worked out once, for all tabs.

Rows of the store in, lines of the list out. Knows nothing about who asks, or about how the lines are drawn.
"""

from collections.abc import Mapping, Sequence

from adapters_store.errors import NotFound
from adapters_store.states import LIVE
from adapters_store.store import Store
from adapters_store.tables import Job
from studio import run_facts

SETTLED = ("jobs", "adapters")  # topics that touch any line
TOPICS = (*SETTLED, "progress")  # the last one touches only what is under way


def newest(changed: Mapping[str, int], topics: Sequence[str]) -> int:
    """The revision at which one of these topics changed last."""
    return max(changed.get(topic, 0) for topic in topics)


class Listing:
    """The newest jobs, their lines, and those of them that are under way."""

    def __init__(self, jobs: Sequence[Job], waiting: Sequence[Job], live: Sequence[Job]) -> None:
        """`live`: those of the jobs that are under way, as they stand now."""
        now = {job.id: job for job in live}
        self._jobs = [now.get(job.id, job) for job in jobs]
        self._by_id = {job.id: job for job in self._jobs}
        self.rows = run_facts.rows(self._jobs, waiting)
        self.unlisted = max(0, len(waiting) - run_facts.SHOWN_WAITING)
        under_way = {job.id for job in self._jobs if job.state in LIVE}
        self.going = [row for row in self.rows if row["key"] in under_way]

    def chosen(self, id: int | None, store: Store) -> tuple[Job | None, str]:
        """The job with this id, which may be older than the list, or else the one to show, and why it is not that."""
        if id is None:
            return self.first(), ""
        try:
            return self._by_id.get(id) or store.job(id), ""
        except NotFound:
            return self.first(), f"There is no run {id}. Choose another from the list."

    def first(self) -> Job | None:
        """The job to show when none is asked for: the run under way, else the newest run, else whatever there is."""
        trained = [job for job in self._jobs if job.kind == "train"]
        under_way = [job for job in trained if job.state in LIVE]
        return next(iter([*under_way, *trained, *self._jobs]), None)
