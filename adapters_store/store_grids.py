"""The runs of one grid: which they are, and whether those that wait are given up when one of them fails.

A grid is no row of its own: its runs share a name. Knows nothing about settings, or what makes one run better.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from adapters_store.store_remarks import RemarkShelf
from adapters_store.tables import Job, Setting


class GridShelf(RemarkShelf):
    """The part of the store that is about grids."""

    def jobs_of_grid(self, grid: str) -> list[Job]:
        """The runs of a grid, in the order in which they were queued."""
        with self._database.reading() as session:
            return list(session.scalars(select(Job).where(Job.grid == grid).order_by(Job.id)))


def stops(grid: str) -> str:
    """Under what the store remembers that the rest of a grid is given up when one of its runs fails."""
    return f"grid-stops-{grid}"


def given_up_with(session: Session, job: Job) -> list[Job]:
    """The waiting runs that go when this one has failed: those of its grid, if the grid was queued so."""
    if job.grid is None or session.get(Setting, stops(job.grid)) is None:
        return []
    return list(session.scalars(select(Job).where(Job.grid == job.grid, Job.state == "queued")))
