"""A sentence in the log of a job by somebody else than its worker: the runner, or a notice.

Written as the worker's own lines are. Knows nothing about what is said.
"""

from __future__ import annotations

from datetime import datetime

from adapters_store.store import Store
from adapters_store.tables import Job


def write(store: Store, job: Job, sentence: str, who: str = "runner", warning: bool = False) -> None:
    """Append it to the log of the job. OSError where that cannot be written."""
    at = datetime.now().strftime("%Y-%m-%d %H:%M:%S,%f")[:-3]
    with store.files.log(f"job-{job.id}").open("a", encoding="utf-8") as file:
        file.write(f"{at} {who} {'WARNING' if warning else 'INFO'} {sentence}\n")
