"""A library whose file is damaged is refused in words, kept, and made anew from what is left of it.

The damages are those of disks and of hands: pages that hold something else, a head of zeros, files cut short, emptied,
deleted or exchanged. What the disk holds is the measure: afterwards exactly that is listed.
"""

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from adapters_store import copies, rebuild
from adapters_store.store import Store
from jobs import process
from studio import launch
from tests.damages import ADAPTERS, DAMAGES, PAGE, STEPS, Damage, cut_to, on_disk, write, zeros
from tests.furnish import FACTS, add_adapter
from tests.terminal import Terminal


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_what_is_listed_after_a_rebuild_is_what_lies_on_the_disk(root: Path, damage: Damage) -> None:
    library, terminal, held = root / "studio.db", Terminal(root), on_disk(root)
    damage(library)
    damaged = library.read_bytes() if library.exists() else None
    told = terminal.run("adapters", "list")
    assert told.returncode in (0, 1)
    assert "Traceback" not in told.stderr
    assert told.returncode == 0 or "python -m studio rebuild" in told.stderr
    assert "python -m studio rebuild" in terminal.run("doctor").stdout
    made = terminal.json("rebuild")
    assert made["rows"]["adapters"] == ADAPTERS
    kept = Path(made["damaged"]) / "studio.db"
    assert (kept.read_bytes() if kept.exists() else None) == damaged
    store = Store(root)
    listed, total = store.adapters(limit=1000)
    assert total == ADAPTERS
    assert {adapter.folder for adapter in listed} == held
    assert {adapter.name for adapter in listed} == {f"adapter {number}" for number in range(ADAPTERS)}
    assert all(store.files.digest("adapters", adapter.folder) == adapter.sha256 for adapter in listed)
    assert {adapter.base_model.fingerprint for adapter in listed} == {"sha256:tiny"}
    store.close()
    checked = terminal.json("doctor")
    assert checked["healthy"], checked
    assert "nothing to rebuild" in terminal.run("rebuild").stderr


def test_the_rows_around_a_damaged_page_are_kept(root: Path) -> None:
    """A page holds some dozens of steps: all the others are still there."""
    library = root / "studio.db"
    with closing(sqlite3.connect(library)) as connection:
        root_page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'metric'").fetchone()[0]
    head = library.read_bytes()[(root_page - 1) * PAGE :][:PAGE]
    some_leaf = int.from_bytes(head[8:12], "big")  # the right-most child of the table's first page
    write(library, (some_leaf - 1) * PAGE, random.Random(3).randbytes(PAGE))
    made = Terminal(root).json("rebuild")
    assert made["not_read_in_full"] == ["metric"]
    assert STEPS - 400 < made["rows"]["measured steps"] < STEPS
    store = Store(root)
    assert [metric.loss for metric in store.metrics(1, limit=100)] == [1 / (1 + step) for step in range(100)]
    assert store.job(1).state == "failed"
    store.close()


def _damage_table(root: Path, name: str) -> None:
    """Noise in the first page of a table."""
    with closing(sqlite3.connect(root / "studio.db")) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0]
    write(root / "studio.db", (page - 1) * PAGE, random.Random(page).randbytes(PAGE))


def test_adapters_outlive_the_row_of_a_base_model_that_lies_elsewhere(tmp_path: Path) -> None:
    """Nothing in the data folder tells of such a model but its adapters."""
    store = Store(tmp_path / "data")
    base = store.add_base_model(
        name="mine", source="folder", path=str(tmp_path), folder=None, fingerprint="sha256:mine", facts=FACTS
    )
    made = [add_adapter(store, base, None, f"adapter {number}") for number in range(3)]
    store.close()
    _damage_table(tmp_path / "data", "base_model")
    assert Terminal(tmp_path / "data").json("rebuild")["rows"]["adapters"] == 3
    store = Store(tmp_path / "data")
    assert {adapter.id for adapter in store.adapters()[0]} == {adapter.id for adapter in made}
    assert {adapter.base_model.path for adapter in store.adapters()[0]} == {str(tmp_path)}
    store.close()


def test_checkpoints_of_a_run_whose_row_is_lost_are_put_aside(root: Path) -> None:
    store = Store(root)
    job = store.submit("train", "half done", {}, base_model_id=store.base_models()[0].id)
    token = store.claim(job.id, process.identify()).token  # type: ignore[union-attr]
    with store.files.draft("checkpoints") as draft:
        (draft.path / "state").write_bytes(b"numbers")
        key = draft.publish()
    store.add_checkpoint(job.id, token, step=1, folder=key)
    store.close()
    _damage_table(root, "job")
    made = Terminal(root).json("rebuild")
    assert made["put_aside"] == [f"checkpoints/{key}"]
    assert (Path(made["damaged"]) / "checkpoints" / key / "state").read_bytes() == b"numbers"


def test_a_schema_that_is_no_text_is_a_damaged_library(root: Path) -> None:
    library = root / "studio.db"
    write(library, library.read_bytes().index(b"tablemetricmetric") + 5, b"\xd8\x20")
    for words in (["adapters", "list"], ["doctor"]):
        told = Terminal(root).run(*words)
        assert told.returncode == 1
        assert "python -m studio rebuild" in told.stdout + told.stderr
        assert "Traceback" not in told.stderr
    assert Terminal(root).json("rebuild")["rows"]["adapters"] == ADAPTERS


def test_folders_whose_rows_went_with_the_log_stay_and_are_listed_again(root: Path) -> None:
    shutil.copyfile(root / "studio.db", root.parent / "before")
    store = Store(root)
    add_adapter(store, store.base_models()[0], None, "made later")
    store.close()
    shutil.copyfile(root.parent / "before", root / "studio.db")
    store = Store(root)
    store.clear_strays()
    store.trash_orphans(0)
    store.close()
    assert "python -m studio rebuild" in Terminal(root).run("doctor").stdout
    assert Terminal(root).json("rebuild")["rows"]["adapters"] == ADAPTERS + 1


def test_one_who_dies_while_rebuilding_leaves_the_damaged_library_in_its_place(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        assert (root / "studio.db").exists()
        raise KeyboardInterrupt

    zeros(0, PAGE)(root / "studio.db")
    monkeypatch.setattr("adapters_store.rebuild._check", dies)
    with pytest.raises(KeyboardInterrupt):
        rebuild.rebuild(root)


def test_what_cannot_be_read_comes_from_the_newest_good_copy(root: Path) -> None:
    library = root / "studio.db"
    assert copies.keep_copy(library) is not None
    bad = root / "copies" / "studio-9999-01-01.db"
    shutil.copyfile(library, bad)
    cut_to(0.5)(bad)
    zeros(0, PAGE)(library)
    made = Terminal(root).json("rebuild")
    assert Path(made["copy"]) == copies.daily(library)[1]
    assert made["rows"]["measured steps"] == STEPS
    assert made["rows"]["adapters"] == ADAPTERS
    assert made["listed_by_their_folders"] == 0


def test_an_adapter_that_a_copy_does_not_know_is_listed_by_its_folder_under_its_last_name(root: Path) -> None:
    copies.keep_copy(root / "studio.db")
    store = Store(root)
    later = add_adapter(store, store.base_models()[0], None, "made later")
    store.rename_adapter(later.id, "named later")
    (gone,) = [adapter for adapter in store.adapters()[0] if adapter.name == "adapter 7"]
    store.delete_adapter(gone.id)
    store.close()
    (root / "studio.db").unlink()
    made = Terminal(root).json("rebuild")
    assert made["listed_by_their_folders"] == 1
    store = Store(root)
    assert [adapter.id for adapter in store.adapters(search="named later")[0]] == [later.id]
    assert "adapter 7" not in {adapter.name for adapter in store.adapters()[0]}
    store.close()


def test_what_came_of_it_is_told_in_words(root: Path) -> None:
    (root / "studio.db").unlink()
    told = Terminal(root).run("rebuild").stdout
    assert f"It holds {ADAPTERS} adapters, 1 base model, 3 data sets." in told
    assert "There is no good copy." in told
    assert f"Listed by what their folders say: {ADAPTERS + 1 + 3}." in told


def test_folders_that_nothing_is_known_of_are_put_aside_and_not_deleted(root: Path) -> None:
    mute = sorted(on_disk(root))[0]
    (root / "adapters" / mute / "about.json").unlink()
    (root / "studio.db").unlink()
    made = Terminal(root).json("rebuild")
    assert made["put_aside"] == [f"adapters/{mute}"]
    assert (Path(made["damaged"]) / "adapters" / mute / "manifest.json").is_file()
    assert made["rows"]["adapters"] == ADAPTERS - 1


def test_a_rebuild_that_fails_leaves_the_damaged_library_where_it_was(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zeros(0, PAGE)(root / "studio.db")
    damaged = (root / "studio.db").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("adapters_store.rebuild._settle", full)
    with pytest.raises(OSError, match="No space"):
        rebuild.rebuild(root)
    assert (root / "studio.db").read_bytes() == damaged
    assert list((root / "damaged").iterdir()) == []
    assert len(on_disk(root)) == ADAPTERS


def test_nobody_rebuilds_beside_a_page_a_runner_or_a_worker(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "studio.db").unlink()
    monkeypatch.setattr("studio.rebuild_command.LEAVING", 0)
    for name in ("page", "runner"):
        with launch.FileLock(root / f"{name}.lock").acquire(timeout=0):
            told = Terminal(root).run("rebuild")
        assert told.returncode == 1
        assert f"The {name} of {root} is open" in told.stderr

    class Worker:
        pid = 4711

        def cmdline(self) -> list[str]:
            return ["python", "-m", "jobs.worker", "1", "--data-dir", str(root)]

    monkeypatch.setattr("psutil.process_iter", lambda: [Worker()])
    assert "4711" in Terminal(root).run("rebuild").stderr
    assert not (root / "studio.db").exists()
