"""How a page takes its place from the one before it, and looks after its runner."""

import threading
from pathlib import Path

import pytest
from filelock import FileLock

from jobs import runner
from studio import launch
from studio.edge import CommandFailed


def test_a_page_that_is_started_while_the_last_one_goes_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    going, lock = FileLock(tmp_path / "page.lock"), FileLock(tmp_path / "page.lock")
    looks = iter([lambda: None, going.release])
    monkeypatch.setattr(launch, "address", lambda root: next(looks)())
    going.acquire()
    assert launch.take_place(tmp_path, lock) is None
    assert lock.is_locked
    lock.release()


def test_a_lock_that_nobody_lets_go_of_is_given_up_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "STARTING_SECONDS", 0.0)
    with FileLock(tmp_path / "page.lock"), pytest.raises(CommandFailed, match="does not say where it is"):
        launch.take_place(tmp_path, FileLock(tmp_path / "page.lock"))


def test_an_open_page_goes_on_looking_for_a_runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed, started = threading.Event(), list[Path]()

    def ensure(root: Path) -> None:
        started.append(root)
        if len(started) == 2:
            closed.set()
        raise OSError("no more processes")

    monkeypatch.setattr(runner, "ensure", ensure)
    monkeypatch.setattr(launch, "RUNNER_SECONDS", 0.001)
    launch.keep_runner(tmp_path, closed)
    assert started == [tmp_path, tmp_path]
