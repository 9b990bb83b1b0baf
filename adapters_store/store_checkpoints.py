"""The checkpoints of runs: the last KEPT of each until it has ended, and those that a person has pinned.

A checkpoint is a published folder and a row; without the row it does not count. When its run has ended for good, both
go, unless it is pinned. Knows nothing about what is in a checkpoint, or whether a run can use it.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from adapters_store.leases import check_lease
from adapters_store.shelf import Shelf, added, found, mark_changed
from adapters_store.states import LIVE
from adapters_store.tables import Checkpoint, Job, Metric

KEPT = 2  # the newest, and one before it should the newest be damaged


class CheckpointShelf(Shelf):
    """The part of the store that is about checkpoints."""

    def checkpoints(self, job_id: int | None = None) -> list[Checkpoint]:
        """The checkpoints of a run (None: of all), the newest first."""
        wanted = select(Checkpoint).order_by(Checkpoint.id.desc())
        if job_id is not None:
            wanted = wanted.where(Checkpoint.job_id == job_id)
        with self._database.reading() as session:
            return list(session.scalars(wanted))

    def checkpoint_path(self, checkpoint: Checkpoint) -> Path:
        """The folder of a checkpoint."""
        return self.files.path("checkpoints", checkpoint.folder)

    def add_checkpoint(self, job_id: int, token: int, *, step: int, folder: str) -> Checkpoint:
        """List a published checkpoint of the run held under `token`. The last KEPT stay, and pinned ones.

        The same folder again gives the same row. LeaseLost if the job is no longer the caller's.
        """
        with self._database.writing() as session:
            check_lease(session, job_id, token)
            row = session.scalar(select(Checkpoint).where(Checkpoint.folder == folder))
            if row is None:
                row = added(session, Checkpoint(job_id=job_id, step=step, folder=folder, created_at=self.clock()))
                mark_changed(session, "jobs")
            old = let_go_of_old(session, job_id)
        self._discard(old)
        return row

    def rewind(self, job_id: int, token: int, step: int | None) -> None:
        """Take a run back to its checkpoint of `step`; None: to its beginning.

        What was measured after it, and later checkpoints that are not pinned, are forgotten. LeaseLost as
        `add_checkpoint`.
        """
        with self._database.writing() as session:
            check_lease(session, job_id, token)
            later = drop_rows(session, job_id, *([] if step is None else [Checkpoint.step > step]))
            forget_after(session, found(session, Job, job_id), step)
        self._discard(later)

    def discard_stray_checkpoints(self) -> None:
        """Delete checkpoints that no row points to, unless a run is under way that may be about to list one."""
        there = self.files.published("checkpoints")  # before: a run that begins now may publish and list another
        with self._database.reading() as session:
            if session.scalar(select(Job.id).where(Job.kind == "train", Job.state.in_(LIVE)).limit(1)):
                return
            listed = set(session.scalars(select(Checkpoint.folder)))
        self._discard(key for key in there if key not in listed)

    def _discard(self, folders: Iterable[str]) -> None:
        """Delete folders that no row points to any more. What resists is stray, and deleted later."""
        for folder in folders:
            with suppress(OSError):
                self.files.discard("checkpoints", folder)


def drop_rows(session: Session, job_id: int, *which: ColumnElement[bool]) -> list[str]:
    """Forget the checkpoints of a run that are not pinned, or those of them that meet the conditions.

    The folders that are now free.
    """
    own = (Checkpoint.job_id == job_id, Checkpoint.pinned.is_(False))
    return list(session.scalars(delete(Checkpoint).where(*own, *which).returning(Checkpoint.folder)))


def let_go_of_old(session: Session, job_id: int, *, ended: bool = False) -> list[str]:
    """Forget the checkpoints that a run does not need: all but the last KEPT, and once it has `ended` these too.

    Pinned ones are not counted among the last: the run may have gone back behind them. The folders that are now free.
    """
    own = select(Checkpoint.id).where(Checkpoint.job_id == job_id, Checkpoint.pinned.is_(False))
    newest = own.order_by(Checkpoint.id.desc()).limit(KEPT)
    return drop_rows(session, job_id, *([] if ended else [Checkpoint.id.not_in(newest)]))


def forget_after(session: Session, job: Job, step: int | None) -> None:
    """Forget what was measured and told after `step`; None: all of it."""
    later = [] if step is None else [Metric.step > step]
    session.execute(delete(Metric).where(Metric.job_id == job.id, *later))
    job.progress = {} if step is None else {"step": step, "steps": job.progress.get("steps")}
    mark_changed(session, "progress")
