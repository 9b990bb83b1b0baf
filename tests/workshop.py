"""What tests of jobs share: a store with the tiny model and some rows in it, and waiting without sleeping blindly.

Knows nothing about processes: tests start their own.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from adapters_store.errors import StoreBusy
from adapters_store.store import Store
from adapters_store.tables import BaseModel, DataSet, Job
from tests.tiny import make_tiny_model, tiny_rows

T = TypeVar("T")

QUICK = {"rank": 4, "alpha": 8, "learning_rate": 5e-3, "epochs": 2, "batch_size": 8, "micro_batch": 4}
ENDLESS = {**QUICK, "epochs": 1000, "batch_size": 1, "learning_rate": 1e-4}
FINAL = ("completed", "stopped", "cancelled", "interrupted", "failed")


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes with one thread, here and in children: on a busy machine threads of tiny tensors only wait."""
    import torch

    before, threads = os.environ.get("OMP_NUM_THREADS"), torch.get_num_threads()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    if before is None:
        del os.environ["OMP_NUM_THREADS"]
    else:
        os.environ["OMP_NUM_THREADS"] = before


@functools.cache
def shared_tiny_model(kind: str = "llama") -> Path:
    """One tiny model for all tests of this process; gone when it ends."""
    folder = Path(tempfile.mkdtemp(prefix="tiny-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return make_tiny_model(folder / kind, kind)


def add_base(store: Store, path: Path | None = None, source: str = "folder", name: str = "tiny") -> BaseModel:
    """List the shared tiny model, or the one at `path`, in the library. As "starter" none is fetched beside it."""
    from engine import models

    path = path or shared_tiny_model()
    facts, fingerprint = models.describe(path), models.fingerprint(path)
    return store.add_base_model(
        name=name, source=source, path=str(path), folder=None, fingerprint=fingerprint, facts=facts
    )


def add_rows(store: Store, count: int = 24) -> DataSet:
    """Publish `count` tiny rows as a data set."""
    from engine.data.check import write_rows

    with store.files.draft("datasets") as draft:
        content_hash = write_rows(tiny_rows(count), draft.path / "rows.jsonl")
        folder = draft.publish()
    return store.add_data_set(
        name=f"rows-{count}",
        source="file",
        format="messages",
        rows=count,
        content_hash=content_hash,
        folder=folder,
        facts={},
    )


def submit_run(
    store: Store, base: BaseModel | None = None, mixture: Sequence[tuple[int, float]] = (), **settings: object
) -> Job:
    """Queue a run of the tiny model, on tiny rows or a mixture; `settings` go over QUICK."""
    base = base or add_base(store)
    data = mixture[0][0] if mixture else add_rows(store).id
    values = {**QUICK, **settings}
    return store.submit("train", "tiny-run", values, base_model_id=base.id, data_set_id=data, mixture=mixture)


def busy_at_first(real: Callable[..., Any], times: int) -> Callable[..., Any]:
    """`real`, but the library is busy the first `times` times."""
    left = [times]

    def refusing(*args: Any, **kwargs: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise StoreBusy("busy")
        return real(*args, **kwargs)

    return refusing


def wait_for(look: Callable[[], T], seconds: float = 30, what: str = "") -> T:
    """Look again and again until the answer is true, and return it. Fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what or look}"
        time.sleep(0.02)
    return found


def wait_for_state(store: Store, job_id: int, *states: str, seconds: float = 30) -> Job:
    """Wait until the job is in one of `states`; fails early, with its reason, when it ended in another."""

    def look() -> Job | None:
        job = store.job(job_id)
        assert job.state in states or job.state not in FINAL, f"the job is {job.state}: {job.why}"
        return job if job.state in states else None

    found = wait_for(look, seconds, f"job {job_id} to be {' or '.join(states)}")
    assert found is not None
    return found
