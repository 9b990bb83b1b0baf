"""What a process that died had begun, or published and not listed, is cleared away; what somebody works on is not."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from adapters_store.files import Kind
from adapters_store.store import Store
from adapters_store.tables import Owner
from jobs.resuming import AUTO_RESUME
from jobs.runner import Runner
from studio import doctor

GONE = Owner(2**22 + 1, 1.0, "another boot")


def published(store: Store, kind: Kind) -> Path:
    with store.files.draft(kind) as draft:
        (draft.path / "weights").write_bytes(bytes(8))
        return store.files.path(kind, draft.publish())


def drafted(store: Store) -> Path:
    """Half of an adapter, by a process that is gone."""
    left = store.files.root / "temp" / f"adapters.{GONE.pid}.1000.{'0' * 32}"
    left.mkdir()
    (left / "weights").write_bytes(bytes(8))
    return left


def test_the_runner_clears_away_what_a_dead_worker_left(store: Store) -> None:
    job = store.claim(store.submit("train", "run", {}).id, GONE)
    assert job is not None
    store.remember(AUTO_RESUME, False)
    left = [published(store, "adapters"), published(store, "checkpoints"), drafted(store)]
    Runner(store).step()
    assert not any(path.exists() for path in left)
    assert [path.name for path in (store.files.root / "trash").iterdir()] == [f"adapters.{left[0].name}"]
    checks = {finding.check: finding.level for finding in doctor.run(store).findings}
    assert "orphans" not in checks
    assert checks["leftovers"] == "ok"


def test_the_runner_clears_away_what_a_worker_killed_after_its_last_word_left(store: Store) -> None:
    job = store.claim(store.submit("train", "run", {}).id, GONE)
    assert job is not None
    store.move(job.id, "failed", who="test")
    left = published(store, "checkpoints")
    Runner(store)._settle(job.id, -9)
    assert not left.exists()


@pytest.mark.parametrize(("kind", "maker"), [("adapters", "import"), ("adapters", "train"), ("models", "fetch")])
def test_what_a_living_job_may_be_about_to_list_is_left_alone(store: Store, kind: Kind, maker: str) -> None:
    job = store.submit(maker, "job", {})
    store.claim(job.id, GONE)
    folder = published(store, kind)
    store.clear_strays()
    assert folder.exists()
    store.move(job.id, "interrupted", who="test")
    store.clear_strays()
    assert not folder.exists()


def test_a_data_set_is_left_alone_since_the_page_lists_it_without_a_job(store: Store) -> None:
    folder = published(store, "datasets")
    store.clear_strays()
    assert folder.exists()


def test_a_folder_whose_publishing_failed_at_the_last_is_not_there(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def failing(handle: int) -> None:
        if Path(f"/proc/self/fd/{handle}").readlink().name == "adapters":
            raise OSError(errno.EIO, "Input/output error")
        real(handle)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="Input/output"):
        published(store, "adapters")
    assert store.files.published("adapters") == []
    assert list((store.files.root / "temp").iterdir()) == []


@pytest.mark.parametrize(("returncode", "state", "attempts"), [(-9, "interrupted", 3), (1, "failed", 1)])
def test_a_worker_killed_before_it_could_claim_its_job_is_replaced_like_any_other(
    store: Store, returncode: int, state: str, attempts: int
) -> None:
    job, runner = store.submit("train", "run", {}), Runner(store)
    while store.job(job.id).state == "queued":
        runner._settle(job.id, returncode)
    ended = store.job(job.id)
    assert (ended.state, ended.attempt) == (state, attempts)
    assert ended.why.startswith("The worker could not begin: it ")
