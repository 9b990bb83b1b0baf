"""Who may write to a job: the worker that shows the job's newest token, while the job is worked on.

Knows nothing about processes: whether a worker still lives is for others to find out.
"""

from sqlalchemy.orm import Session

from adapters_store.errors import LeaseLost
from adapters_store.shelf import found
from adapters_store.states import LIVE
from adapters_store.tables import Job


def check_lease(session: Session, job_id: int, token: int) -> None:
    """LeaseLost unless the job is worked on under this token. Holds until the end of a writing transaction."""
    check_token(found(session, Job, job_id), token)


def check_token(job: Job, token: int) -> None:
    """LeaseLost unless `job` is worked on under this token."""
    if job.token != token or job.state not in LIVE:
        raise LeaseLost(
            f"Job {job.id} is {job.state} under token {job.token}; the worker with token {token} no longer holds it."
        )
