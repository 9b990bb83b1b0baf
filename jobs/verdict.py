"""What becomes of a job whose worker ended without a word of its own, and why, in words.

From the row and the exit status alone; who sees a worker end is in `runner.py`.
"""

from __future__ import annotations

from adapters_store.tables import Job
from jobs import process
from jobs.progress import again, cancelled
from jobs.queue import missing_end


def verdict(job: Job, returncode: int | None, same_boot: bool = True) -> tuple[str, str]:
    """The state, and the reason in words, of a job whose worker ended without a word of its own.

    `returncode` is the worker's, minus the number of a signal; None when nobody saw it end.
    """
    if end := missing_end(job):
        return end, ""
    if job.stop == "cancel":
        return "cancelled", cancelled(job.kind, job.pinned)
    what_next = again(job.kind, job.checkpoint_step)
    if job.stop == "pause" and job.state != "finishing":
        return "paused", f"Its worker was gone before it had paused. {what_next}"
    if not same_boot:
        return "interrupted", f"The machine was restarted in the middle of this job. {what_next}"
    if job.stop == "keep":
        return "interrupted", f"It did not come to a stop, and its worker had to be ended. {what_next}"
    if returncode is None:
        return "interrupted", f"The worker is gone, and nobody saw how it ended. {what_next}"
    how = f"The worker {process.how_it_ended(returncode)}."
    if returncode < 0:
        return "interrupted", f"{how} {what_next}"
    how = f"{how} Its log, job-{job.id}, has the details."
    # What a checkpoint has is not given up: the cause may be mended.
    return ("failed", how) if job.checkpoint_step is None else ("interrupted", f"{how} {what_next}")
