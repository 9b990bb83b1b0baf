"""The queue: jobs, who holds them, how they change state, and what they report.

Ownership is a claim with a token that rises each time; whoever shows an older token, or the token of a job that is no
longer worked on, is refused with LeaseLost and has written nothing. Knows nothing about processes: whether an owner
still lives is for the caller to find out.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import func, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from adapters_store.errors import StoreError
from adapters_store.leases import check_token
from adapters_store.shelf import added, checked_name, found, mark_changed, settled, within
from adapters_store.states import FINAL, LIVE, TRANSITIONS, allowed
from adapters_store.store_checkpoints import drop_rows, forget_after
from adapters_store.store_grids import GridShelf, given_up_with
from adapters_store.store_line import check_room
from adapters_store.tables import MEASURED, Adapter, BaseModel, DataSet, Job, JobEvent, Metric, Owner, Portion

KINDS = ("train", "fetch", "import", "export", "data", "examine", "clean", "suite")


_ENOUGH = "Not to be continued. Nothing was kept"
_CANCELLED = {"queued": "Cancelled before it began", "paused": _ENOUGH, "interrupted": _ENOUGH}
_ANSWERED = "Not to be continued. What was answered is kept."  # said of a suite


class JobShelf(GridShelf):
    """The part of the store that is about jobs."""

    # --- asking ---------------------------------------------------------------------------------------------------

    def job(self, id: int) -> Job:
        """The job with this id. NotFound if there is none."""
        with self._database.reading() as session:
            return found(session, Job, id)

    def jobs(
        self, *, kinds: Collection[str] | None = None, states: Collection[str] | None = None, limit: int = 200
    ) -> list[Job]:
        """Jobs of these kinds and states (None: of any), newest first."""
        wanted = select(Job).order_by(Job.id.desc()).limit(within(limit))
        if kinds is not None:
            wanted = wanted.where(Job.kind.in_(kinds))
        if states is not None:
            wanted = wanted.where(Job.state.in_(states))
        with self._database.reading() as session:
            return list(session.scalars(wanted))

    def running_jobs(self) -> list[Job]:
        """Jobs that a process holds, or held when it died: starting, running or finishing."""
        return self.jobs(states=LIVE, limit=1000)

    def metrics(self, job_id: int, after_step: int = -1, limit: int | None = None) -> list[Metric]:
        """What the steps after `after_step` measured, by step; the first `limit` of them, or all."""
        wanted = select(Metric).where(Metric.job_id == job_id, Metric.step > after_step).order_by(Metric.step)
        with self._database.reading() as session:
            return list(session.scalars(wanted.limit(limit)))

    def job_events(self, job_id: int) -> list[JobEvent]:
        """Every change in the life of a job, oldest first."""
        with self._database.reading() as session:
            return list(session.scalars(select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.id)))

    def newest_event(self) -> int:
        """The number of the newest change in the life of any job; 0 before the first."""
        with self._database.reading() as session:
            return session.scalar(select(func.max(JobEvent.id))) or 0

    def ends(self, after: int, states: Collection[str], kinds: Collection[str]) -> list[JobEvent]:
        """The changes behind the event `after` that brought jobs of these kinds into one of these states."""
        wanted = select(JobEvent).join(Job, Job.id == JobEvent.job_id).where(JobEvent.id > after)
        wanted = wanted.where(JobEvent.state_to.in_(states), JobEvent.state_from != JobEvent.state_to)
        with self._database.reading() as session:
            return list(session.scalars(wanted.where(Job.kind.in_(kinds)).order_by(JobEvent.id)))

    # --- queueing and claiming ------------------------------------------------------------------------------------

    def submit(
        self,
        kind: str,
        name: str,
        settings: Mapping[str, Any],
        *,
        base_model_id: int | None = None,
        data_set_id: int | None = None,
        start_adapter_id: int | None = None,
        key: str | None = None,
        grid: str | None = None,
        mixture: Sequence[tuple[int, float]] = (),
        device: str | None = None,
        who: str = "person",
    ) -> Job:
        """Put a job at the end of the queue. With a `key`, asking again gives the job made the first time.

        `mixture` are the numbers of all data sets a run learns from, the first one `data_set_id`, each with its weight;
        () for that one alone. `start_adapter_id` is the adapter a run starts from; None: the base model. Runs with the
        same `grid` belong together. `device` is the one chosen for it; None: any. StoreError for an unknown kind or an
        empty name, NotFound for an unknown base model, data set or adapter, QueueFull if no further job may wait.
        """
        if kind not in KINDS:
            raise StoreError(f"{kind!r} is not a kind of job: {', '.join(KINDS)}.")
        job = Job(kind=kind, name=checked_name(name), settings=dict(settings), **_unclaimed(self.clock()))
        job.key, job.grid, job.wanted_device = key, grid, device
        with self._database.writing() as session:
            before = session.scalar(select(Job).where(Job.key == key)) if key is not None else None
            if before is not None:
                return before
            check_room(session)
            job.base_model_id = found(session, BaseModel, base_model_id).id if base_model_id is not None else None
            job.data_set_id = found(session, DataSet, data_set_id).id if data_set_id is not None else None
            job.portions = [
                Portion(place=place, data_set_id=found(session, DataSet, id).id, weight=weight)
                for place, (id, weight) in enumerate(mixture)
            ]
            if start_adapter_id is not None:
                job.start_adapter_id = found(session, Adapter, start_adapter_id).id
            added(session, job)
            job.place = job.id
            self._note(session, job, None, who, "")
            return settled(session, job)

    def claim(self, job_id: int, owner: Owner, device: str | None = None) -> Job | None:
        """Take a queued job for `owner`, who works on `device`: its state becomes starting and its token rises.

        None if another was first.
        """
        now = self.clock()
        # One statement, so that not even a transaction begun too late could hand the job out twice.
        taking = (
            update(Job)
            .where(Job.id == job_id, Job.state == "queued")
            .values(state="starting", attempt=Job.attempt + 1, token=Job.token + 1, stop=None, why="")
            .values(pid=owner.pid, pid_started=owner.started, boot_id=owner.boot, heartbeat_at=now, started_at=now)
            .values(device=device)
            .returning(Job.id)
        )
        with self._database.writing() as session:
            if session.scalar(taking) is None:
                return None
            job = found(session, Job, job_id)
            self._note(session, job, "queued", f"worker {owner.pid}", "")
            return job

    def choose_device(self, job_id: int, device: str | None) -> Job:
        """Say on which device a job is to run, when its turn comes; None: on whichever is free. StoreError if it has
        begun, or ended."""
        with self._database.writing() as session:
            job = found(session, Job, job_id)
            if job.state not in ("queued", "paused", "interrupted"):
                raise StoreError(f"{job.name} is {job.state}. A device is chosen for a job that waits.")
            job.wanted_device = device
            self._note(session, job, job.state, "person", f"to run on {device or 'whichever device is free'}")
            return settled(session, job)

    # --- changing state -------------------------------------------------------------------------------------------

    def move(self, job_id: int, to: str, *, who: str, why: str = "", token: int | None = None) -> Job:
        """Move a job to the state `to`, and note who did it and why.

        A worker shows its `token`, and is refused with LeaseLost when the job is no longer its own. StoreError for a
        move that TRANSITIONS does not have. Back to queued, a job goes back to its newest checkpoint, if it has one:
        what was measured after it is dropped. Ended for good, it needs its checkpoints no more; pinned ones stay.
        """
        with self._database.writing() as session:
            job = found(session, Job, job_id)
            if token is not None:
                check_token(job, token)
            if not allowed(job.state, to):
                raise StoreError(_forbidden(job, to))
            free = self._shift(session, job, to, who, why)
            if to == "queued":
                _forget_attempt(session, job)
            moved = settled(session, job)
        self._discard(free)
        return moved

    def begin_again(self, job_id: int, token: int, why: str, **settings: Any) -> Job:
        """Queue the job that is held under `token` once more, with other `settings`; for `why` its attempt has ended.

        Interrupted and queued, or neither. LeaseLost as `move`.
        """
        with self._database.writing() as session:
            job = found(session, Job, job_id)
            check_token(job, token)
            self._shift(session, job, "interrupted", "worker", why)
            self._shift(session, job, "queued", "worker", why)
            job.settings = {**job.settings, **settings}
            _forget_attempt(session, job)
            return settled(session, job)

    def request_stop(self, job_id: int, how: Literal["keep", "cancel", "pause"], who: str = "person") -> Job:
        """Ask for the end of a job: "keep" what it learned so far, or "cancel" it; or "pause" it.

        A queued job is cancelled or paused at once, and a paused or interrupted one cancelled, if it is not to be
        continued. A job that has ended is left as it is, and a worker sees the wish in `job.stop`. The first wish
        stands, but "cancel" outweighs the others.
        """
        if how not in ("keep", "cancel", "pause"):
            raise StoreError(f'{how!r} is not a way to stop a job: "keep", "cancel" or "pause".')
        free: list[str] = []
        with self._database.writing() as session:
            job = found(session, Job, job_id)
            if job.state == "queued" and how == "pause":
                self._shift(session, job, "paused", who, "Paused while it waited.")
            elif job.state == "queued" or (job.state in _CANCELLED and how == "cancel"):
                free = self._shift(session, job, "cancelled", who, _why_cancelled(job))
            elif job.state in LIVE and (job.stop is None or (how == "cancel" and job.stop != how)):
                job.stop = how
                self._note(session, job, job.state, who, f"asked to stop: {how}")
            asked = settled(session, job)
        self._discard(free)
        return asked

    # --- reporting ------------------------------------------------------------------------------------------------

    def beat(self, job_id: int, token: int) -> None:
        """Say that the worker lives. LeaseLost if the job is no longer its own."""
        with self._database.writing() as session:
            _renew(session, job_id, token, self.clock())

    def report(
        self,
        job_id: int,
        token: int,
        *,
        metrics: Sequence[Mapping[str, Any]] = (),
        progress: Mapping[str, Any] | None = None,
    ) -> None:
        """Write what was measured, and merge `progress` into the job's, all or nothing; counts as a heartbeat.

        Each of `metrics` has a "step" and any of the other columns of Metric; a step told again replaces what was told
        before. LeaseLost if the job is no longer the caller's.
        """
        with self._database.writing() as session:
            _renew(session, job_id, token, self.clock())
            if metrics:
                session.execute(_upsert(), [_as_row(job_id, metric) for metric in metrics])
            if progress:
                job = found(session, Job, job_id)
                job.progress = {**job.progress, **progress}
            if metrics or progress:
                mark_changed(session, "progress")

    # --- within a transaction -------------------------------------------------------------------------------------

    def _shift(self, session: Session, job: Job, to: str, who: str, why: str) -> list[str]:
        """Change the state; the folders of checkpoints that are free with it, to be deleted after the commit."""
        before, job.state, job.why = job.state, to, why
        if to in (*FINAL, "interrupted", "paused"):
            job.finished_at = self.clock()
        self._note(session, job, before, who, why)
        free = drop_rows(session, job.id) if to in FINAL else []
        for other in given_up_with(session, job) if to == "failed" else []:
            reason = f"{job.name}, a run of the same grid, failed, and the grid was to stop then."
            free += self._shift(session, other, "cancelled", who, reason)
        return free


def _renew(session: Session, job_id: int, token: int, now: float) -> None:
    held = (Job.id == job_id, Job.token == token, Job.state.in_(LIVE))
    renewing = update(Job).where(*held).values(heartbeat_at=now).returning(Job.id)
    if session.scalar(renewing) is None:
        check_token(found(session, Job, job_id), token)


def _forget_attempt(session: Session, job: Job) -> None:
    forget_after(session, job, job.checkpoint_step)
    job.stop = None
    job.pid = job.pid_started = job.boot_id = job.heartbeat_at = job.started_at = job.finished_at = None


def _unclaimed(now: float) -> dict[str, Any]:
    return {"state": "queued", "why": "", "attempt": 0, "token": 0, "progress": {}, "created_at": now}


def _as_row(job_id: int, metric: Mapping[str, Any]) -> dict[str, Any]:
    """Every column, so that all rows of a batch go through one statement. StoreError for a column there is not."""
    unknown = set(metric) - {*MEASURED, "step"}
    if unknown or "step" not in metric:
        raise StoreError(f"A metric has a step and any of {', '.join(MEASURED)}; got {', '.join(sorted(metric))}.")
    return {"job_id": job_id, "step": metric["step"]} | {name: metric.get(name) for name in MEASURED}


def _upsert() -> Any:
    adding = insert(Metric)
    return adding.on_conflict_do_update(
        index_elements=["job_id", "step"], set_={name: adding.excluded[name] for name in MEASURED}
    )


def _why_cancelled(job: Job) -> str:
    if job.kind == "suite" and job.state != "queued":
        return _ANSWERED
    return _CANCELLED[job.state] + ("; its pinned checkpoints stay." if job.pinned else ".")


def _forbidden(job: Job, to: str) -> str:
    following = TRANSITIONS.get(job.state, frozenset())
    after = ", ".join(sorted(following)) or "nothing"
    return f"Job {job.id} is {job.state} and cannot become {to}; after {job.state} comes {after}."
