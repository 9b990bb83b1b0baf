"""The lines of a job's log: one JSON object each, {"at", "who", "level", "says"} and, after an error, "trace".

Written by the job's worker and, about it, by the runner and by notices. Plain ASCII, so that nothing in a line can
steer what shows the file. What libraries print stands between them as it came. Knows nothing about what is said.
"""

from __future__ import annotations

import json
import logging
import time

from adapters_store.store import Store
from adapters_store.tables import Job


class Lines(logging.Formatter):
    """Makes such a line of what a worker logs."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        return _line(record.created, record.name, record.levelname, record.getMessage(), trace)


def write(store: Store, job: Job, sentence: str, who: str = "runner", warning: bool = False) -> None:
    """Append a sentence to the log of the job. OSError where that cannot be written."""
    with store.files.log(f"job-{job.id}").open("a", encoding="utf-8") as file:
        file.write(_line(time.time(), who, "WARNING" if warning else "INFO", sentence) + "\n")


def _line(at: float, who: str, level: str, says: str, trace: str = "") -> str:
    when = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(at))},{int(at % 1 * 1000):03}"
    return json.dumps({"at": when, "who": who, "level": level, "says": says, **({"trace": trace} if trace else {})})
