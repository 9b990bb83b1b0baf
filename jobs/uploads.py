"""The page's own copy of a file, which a job takes over.

It is removed when its job has ended, unless that is an interruption: for a day the job can be started again. Knows
nothing about what the file is.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters_store.errors import LeaseLost
from jobs.ending import Ended
from jobs.queue import Lease


@contextmanager
def taken_over(lease: Lease, gone: Exception) -> Iterator[Path]:
    """The `path` of a job's settings while it is worked on; with "upload" in them it is the page's own copy.

    Raises:
        `gone`, if that copy is not there any more.
    """
    path, again = Path(lease.job.settings["path"]), False
    if not lease.job.settings.get("upload"):
        yield path
        return
    try:
        if not path.exists():
            raise gone
        yield path
    except (Ended, LeaseLost):
        again = lease.stop != "cancel"
        raise
    finally:
        if not again:
            shutil.rmtree(path.parent, ignore_errors=True)
