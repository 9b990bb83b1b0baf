"""What is kept for the day on which a library is damaged, and how a start of the studio meets that day."""

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from adapters_store import copies
from adapters_store.errors import StoreDamaged
from adapters_store.store import Store
from jobs.runner import Runner
from studio import launch
from studio.edge import CommandFailed
from tests.damages import page_of_noise
from tests.furnish import add_adapter, furnish


def test_the_studio_offers_to_rebuild_when_it_is_started(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page_of_noise(0.5)(root / "studio.db")
    opened: list[list[str]] = []

    def look_through(store: Store, *_: object) -> None:
        monkeypatch.chdir(root / "temp")  # as the page does; the folder was named from elsewhere
        store.check_pages()
        opened.append(store.integrity())

    monkeypatch.setattr(launch, "_serve", look_through)
    with pytest.raises(StoreDamaged, match="python -m studio rebuild"):
        launch.serve(root, port=0)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    with pytest.raises(CommandFailed, match="Nothing was changed"):
        launch.serve(root, port=0)
    assert "is damaged" in capsys.readouterr().out
    monkeypatch.setattr("builtins.input", lambda question: "y")
    monkeypatch.chdir(root.parent)
    launch.serve(Path(root.name), port=0)
    assert opened == [[]]
    assert "made anew" in capsys.readouterr().out


def test_a_page_that_is_started_on_a_damaged_library_ends_with_a_sentence(root: Path) -> None:
    page_of_noise(0.5)(root / "studio.db")
    command = [sys.executable, "app.py", "--data-dir", str(root), "--port", "0", "--no-browser"]
    told = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == 1
    assert "python -m studio rebuild" in told.stderr
    assert "Traceback" not in told.stderr + told.stdout
    assert "closed" not in told.stdout, "it never was open"


def test_a_copy_is_made_once_a_day_and_the_newest_three_stay(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = root / "studio.db"
    for day in range(1, 6):
        monkeypatch.setattr("time.strftime", lambda form, day=day: f"2026-01-0{day}")
        monkeypatch.setattr("time.time", lambda day=day: 2e9 + day * 86400.0)
        made = copies.keep_copy(library)
        assert made == root / "copies" / f"studio-2026-01-0{day}.db"
        assert copies.keep_copy(library) is None, "nothing was written since"
        with closing(sqlite3.connect(library)) as connection:
            connection.execute("UPDATE setting SET value = value")
            connection.execute("PRAGMA user_version = " + str(day))
        library.touch()
    assert [path.stem[-1] for path in copies.daily(library)] == ["5", "4", "3"]
    assert (root / "copies").stat().st_mode & 0o077 == 0


def test_a_runner_keeps_a_copy_and_goes_on_without_one(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(root)
    Runner(store).step()
    assert len(copies.daily(root / "studio.db")) == 1
    (root / "studio.db").touch()
    monkeypatch.setattr(copies, "copy_whole", _full)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    Runner(store).step()
    assert "no copy of the library was made" in caplog.text
    assert len(copies.daily(root / "studio.db")) == 1
    store.close()


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_what_is_not_described_in_its_folder_is_described_later(store: Store) -> None:
    adapter = add_adapter(store, *furnish(store))
    told = store.adapter_path(adapter) / "about.json"
    before = told.read_text()
    told.unlink()
    store.describe_all()
    assert told.read_text() == before
