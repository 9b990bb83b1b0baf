"""The line of jobs that wait: in which order their turns come, and how many there may be.

Every job has a place of its own, its number to begin with; changing the order hands the places of the waiting jobs out
anew among them. So a job that goes on after an interruption or a pause is where it was, and a new one stands last.
Knows nothing about who may start when.
"""

from collections.abc import Collection
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from adapters_store.errors import QueueFull, StoreError
from adapters_store.shelf import found, mark_changed, settled
from adapters_store.store_checkpoints import CheckpointShelf
from adapters_store.tables import Job, JobEvent

MOST_WAITING = 1000  # jobs; a script gone wild must not fill the queue
Where = Literal["up", "down", "first", "last"]
WHERE: tuple[Where, ...] = ("up", "down", "first", "last")


class LineShelf(CheckpointShelf):
    """The part of the store that is about waiting."""

    def waiting(self, kinds: Collection[str] | None = None) -> list[Job]:
        """Queued jobs, the one whose turn it is first."""
        wanted = select(Job).where(Job.state == "queued").order_by(Job.place)
        if kinds is not None:
            wanted = wanted.where(Job.kind.in_(kinds))
        with self._database.reading() as session:
            return list(session.scalars(wanted))

    def check_line(self, more: int = 1) -> None:
        """QueueFull if so many `more` jobs may not wait."""
        with self._database.reading() as session:
            check_room(session, more)

    def place_in_line(self, job_id: int, to: Where, who: str = "person") -> Job:
        """Move a waiting job in the line: "up" or "down" by one, "first" or "last". At the end already, it stays.

        StoreError for a job that does not wait, or another way to move.
        """
        if to not in WHERE:
            raise StoreError(f"{to!r} is not a way to move in the line: {', '.join(WHERE)}.")
        with self._database.writing() as session:
            job, line = _in_line(session, job_id)
            return self._put(session, job, line, _target(to, line.index(job), len(line)), who)

    def place_before(self, job_id: int, other_id: int, who: str = "person") -> Job:
        """Move a waiting job to right before another one that waits. StoreError if one of them does not wait."""
        with self._database.writing() as session:
            job, line = _in_line(session, job_id)
            other, _ = _in_line(session, other_id)
            now, target = line.index(job), line.index(other)
            return self._put(session, job, line, target - 1 if now < target else target, who)

    def _put(self, session: Session, job: Job, line: list[Job], target: int, who: str) -> Job:
        """Move the job to the place `target` of its line, from 0, and note it if that is another."""
        before = line.index(job)
        line.insert(target, line.pop(before))
        if (after := line.index(job)) != before:
            _hand_out(line)
            self._note(session, job, job.state, who, f"moved from place {before + 1} to place {after + 1}")
        return settled(session, job)

    def _note(self, session: Session, job: Job, before: str | None, who: str, why: str) -> None:
        session.add(JobEvent(job_id=job.id, at=self.clock(), who=who, state_from=before, state_to=job.state, why=why))
        mark_changed(session, "jobs")


def check_room(session: Session, more: int = 1) -> None:
    """QueueFull if so many `more` jobs may not wait. In a writing transaction it holds until the end."""
    waiting = session.scalar(select(func.count()).select_from(Job).where(Job.state == "queued")) or 0
    if waiting + more > MOST_WAITING:
        room = f"; {more} more do not fit, {MOST_WAITING} may wait" if more > 1 else " already"
        raise QueueFull(f"{waiting} jobs are waiting{room}. Cancel some of them, or try again later.")


def _in_line(session: Session, job_id: int) -> tuple[Job, list[Job]]:
    """The job, and the line it waits in. StoreError if it does not wait."""
    job = found(session, Job, job_id)
    if job.state != "queued":
        raise StoreError(f"{job.name} is {job.state}. Only a job that waits has a place in the line.")
    return job, list(session.scalars(select(Job).where(Job.state == "queued").order_by(Job.place)))


def _target(to: Where, now: int, count: int) -> int:
    """Where in a line of `count` the one at place `now` goes, from 0."""
    wanted = {"up": now - 1, "down": now + 1, "first": 0, "last": count - 1}[to]
    return min(max(wanted, 0), count - 1)


def _hand_out(line: list[Job]) -> None:
    """Give the places that these jobs have to them anew, in this order."""
    for job, place in zip(line, sorted(job.place for job in line), strict=True):
        if job.place != place:
            job.place = place
