"""Folders are published whole or not at all, go to the trash and come back, and temp/ is kept clean."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from adapters_store.errors import StoreError
from adapters_store.files import DataFolder, locate

ROOT = Path(__file__).parents[1]

CONTENT = {
    "adapter_config.json": b'{"r": 16}',
    "adapter_model.safetensors": bytes(range(256)) * 400,
    "extra/notes": b"",
}

# Publishes a folder, and kills itself at the n-th call of anything that touches the disk for good.
KILLED_AT_CALL = """
import os, signal, sys
from pathlib import Path
from adapters_store.files import DataFolder

calls, last = 0, int(sys.argv[2])

def deadly(call):
    def counted(*arguments, **named):
        global calls
        calls += 1
        if calls == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **named)
    return counted

folder = DataFolder(Path(sys.argv[1]))
os.fsync, Path.open, Path.rename = deadly(os.fsync), deadly(Path.open), deadly(Path.rename)
with folder.draft("adapters") as draft:
    for name in ("one", "two"):
        with (draft.path / name).open("wb") as file:
            file.write(name.encode() * 1000)
    draft.publish()
"""


@pytest.fixture
def folder(data_dir: Path) -> DataFolder:
    return DataFolder(data_dir)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def published(folder: DataFolder, content: dict[str, bytes] = CONTENT) -> str:
    with folder.draft("adapters") as draft:
        for name, data in content.items():
            (draft.path / name).parent.mkdir(exist_ok=True)
            (draft.path / name).write_bytes(data)
        return draft.publish()


# --- where things are -------------------------------------------------------------------------------------------------


def test_the_folder_given_beats_the_environment_and_that_beats_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    assert locate(Path("/given")) == Path("/given")
    monkeypatch.setenv("LORA_STUDIO_DATA", "/asked")
    assert locate() == Path("/asked")
    monkeypatch.delenv("LORA_STUDIO_DATA")
    assert locate().name == "lora-studio"


def test_the_tree_is_made_for_its_owner_only(folder: DataFolder) -> None:
    names = {"models", "datasets", "adapters", "checkpoints", "logs", "temp", "trash"}
    assert {path.name for path in folder.root.iterdir()} == names
    assert {path.stat().st_mode & 0o777 for path in [folder.root, *folder.root.iterdir()]} == {0o700}


def test_a_folder_with_other_things_in_it_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").touch()
    tmp_path.chmod(0o755)
    DataFolder(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_place_that_cannot_be_a_folder_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot keep its data in .*file/data: .* --data-dir"):
        DataFolder(tmp_path / "file" / "data")


@pytest.mark.parametrize("key", ["", "..", "../../etc", "0" * 31, "0" * 33, "G" * 32, "0" * 32 + "\n", "/" + "0" * 31])
def test_only_a_key_becomes_a_path(folder: DataFolder, key: str) -> None:
    with pytest.raises(ValueError, match="is not a key"):
        folder.path("adapters", key)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", "a\0", "-rf", "x" * 81, "ü", "a\n"])
def test_only_a_plain_name_becomes_a_log_file(folder: DataFolder, name: str) -> None:
    with pytest.raises(ValueError, match="is not a name for a log file"):
        folder.log(name)


def test_a_kind_of_folder_that_there_is_not_is_refused(folder: DataFolder) -> None:
    with pytest.raises(ValueError, match="is not a kind of folder"):
        folder.path("trash", "0" * 32)  # type: ignore[arg-type]


# --- publishing -------------------------------------------------------------------------------------------------------


def test_what_is_published_is_whole_and_its_manifest_tells_all_of_it(folder: DataFolder) -> None:
    key = published(folder)
    assert folder.problems("adapters", key) == []
    assert set(folder.manifest("adapters", key)) == set(CONTENT)
    assert folder.size("adapters", key) == sum(map(len, CONTENT.values()))
    assert folder.published("adapters") == [key]
    assert list((folder.root / "temp").iterdir()) == []


def test_the_digest_is_of_names_and_contents_and_nothing_else(folder: DataFolder) -> None:
    first, second = published(folder), published(folder, dict(reversed(CONTENT.items())))
    renamed = published(folder, {name + "x": data for name, data in CONTENT.items()})
    changed = published(folder, {**CONTENT, "extra/notes": b"!"})
    assert first != second
    assert folder.digest("adapters", first) == folder.digest("adapters", second)
    assert len({folder.digest("adapters", key) for key in (first, renamed, changed)}) == 3


def test_a_draft_that_is_not_published_leaves_nothing(folder: DataFolder) -> None:
    with folder.draft("models") as draft:
        (draft.path / "half").write_bytes(b"...")
    with pytest.raises(KeyError), folder.draft("models") as draft:
        raise KeyError
    assert list((folder.root / "temp").iterdir()) == list((folder.root / "models").iterdir()) == []


def test_publishing_twice_gives_the_same_key(folder: DataFolder) -> None:
    with folder.draft("models") as draft:
        (draft.path / "weights").write_bytes(b"...")
        assert draft.publish() == draft.publish() == draft.key


def test_an_empty_draft_and_a_link_in_a_draft_are_refused(folder: DataFolder) -> None:
    with folder.draft("models") as draft:
        with pytest.raises(ValueError, match="nothing to publish"):
            draft.publish()
        (draft.path / "passwd").symlink_to("/etc/passwd")
        with pytest.raises(ValueError, match="only plain files"):
            draft.publish()
    assert folder.published("models") == []


def test_kill_9_at_any_point_of_publishing_leaves_a_whole_folder_or_none_and_the_sweep_cleans_up(
    folder: DataFolder,
) -> None:
    outcomes = []
    for call in range(1, 40):
        command = [sys.executable, "-c", KILLED_AT_CALL, str(folder.root), str(call)]
        code = subprocess.run(command, cwd=ROOT, check=False, timeout=60).returncode
        visible = folder.published("adapters")
        assert all(folder.problems("adapters", key) == [] for key in visible)
        left = folder.leftovers()
        assert left == list((folder.root / "temp").iterdir()) == folder.sweep()
        assert list((folder.root / "temp").iterdir()) == []
        outcomes.append((code, len(visible), len(left)))
        for key in visible:
            folder.to_trash("adapters", key)
        if code == 0:
            break
    # Every kill before the rename left nothing to see and something to sweep; every kill after it, the reverse.
    assert set(outcomes[:-1]) == {(-signal.SIGKILL, 0, 1), (-signal.SIGKILL, 1, 0)}
    assert outcomes[-1] == (0, 1, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc which file a handle is")
def test_every_file_and_then_the_manifest_and_then_the_folders_are_put_on_the_disk(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, real = [], os.fsync

    def watched(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").readlink())
        real(handle)

    monkeypatch.setattr(os, "fsync", watched)
    key = published(folder)
    draft = synced[0].parent
    files = [draft / name for name in sorted(CONTENT)]
    assert synced[: len(files)] == files
    assert synced[len(files) :] == [
        draft / "extra",
        draft / "manifest.json",
        draft,
        folder.root / "adapters",
        folder.root / "temp",
    ]
    assert folder.problems("adapters", key) == []


# --- damage -----------------------------------------------------------------------------------------------------------


def test_a_flipped_bit_is_found(folder: DataFolder) -> None:
    key = published(folder)
    weights = folder.path("adapters", key) / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[50_000] ^= 1
    weights.write_bytes(data)
    assert folder.problems("adapters", key) == [
        "adapter_model.safetensors has changed since it was written (its SHA-256 differs)."
    ]


def test_a_cut_file_and_a_missing_file_are_both_named(folder: DataFolder) -> None:
    key = published(folder)
    os.truncate(folder.path("adapters", key) / "adapter_model.safetensors", 99)
    (folder.path("adapters", key) / "adapter_config.json").unlink()
    assert folder.problems("adapters", key) == [
        "adapter_config.json is missing.",
        "adapter_model.safetensors has 99 bytes where 102400 were written.",
    ]


def test_a_missing_folder_and_a_missing_or_senseless_manifest_are_problems(folder: DataFolder) -> None:
    absent = "0" * 32
    assert "the folder is missing" in folder.problems("adapters", absent)[0]
    key = published(folder)
    listing = folder.path("adapters", key) / "manifest.json"
    for nonsense in ("", "[]", '{"files": 3}', '{"files": {"a": {"size": "x"}}}', "\xff"):
        listing.write_text(nonsense, "latin-1")
        assert "manifest.json cannot be read" in folder.problems("adapters", key)[0]
    listing.unlink()
    assert "manifest.json is missing" in folder.problems("adapters", key)[0]
    with pytest.raises(StoreError):
        folder.digest("adapters", key)


@pytest.mark.parametrize("name", ["/etc/passwd", "../../studio.db", "a/../../b", "..\\x", "C:x", ""])
def test_a_manifest_that_points_outside_is_not_followed(folder: DataFolder, name: str) -> None:
    key = published(folder)
    listing = folder.path("adapters", key) / "manifest.json"
    listing.write_text(json.dumps({"files": {name: {"size": 1, "sha256": "0"}}}))
    assert "names a file outside the folder" in folder.problems("adapters", key)[0]


# --- trash ------------------------------------------------------------------------------------------------------------


def test_what_went_to_the_trash_comes_back_as_it_was(folder: DataFolder) -> None:
    key = published(folder)
    for _ in range(2):
        folder.to_trash("adapters", key)
    assert folder.published("adapters") == []
    for _ in range(2):
        folder.from_trash("adapters", key)
    assert folder.problems("adapters", key) == []


def test_the_trash_is_emptied_of_what_has_been_there_long_enough(folder: DataFolder) -> None:
    old, new = published(folder), published(folder)
    # Made long ago, but thrown away only now: the time in the trash is what counts.
    os.utime(folder.path("adapters", old), (0, 0))
    os.utime(folder.path("adapters", new), (0, 0))
    folder.to_trash("adapters", old)
    folder.to_trash("adapters", new)
    folder.empty_trash(older_than_s=3600)
    assert len(list((folder.root / "trash").iterdir())) == 2
    os.utime(folder.root / "trash" / f"adapters.{old}", (0, time.time() - 3700))
    folder.empty_trash(older_than_s=3600)
    folder.from_trash("adapters", new)
    with pytest.raises(StoreError, match="no longer in the trash"):
        folder.from_trash("adapters", old)
    assert list((folder.root / "temp").iterdir()) == []


def test_a_link_in_place_of_a_folder_is_neither_followed_nor_moved(folder: DataFolder, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "letter.txt").write_text("dear")
    key = "0" * 32
    folder.path("adapters", key).symlink_to(victim)
    with pytest.raises(StoreError, match="is a link"):
        folder.to_trash("adapters", key)
    (folder.root / "trash" / f"adapters.{key}").symlink_to(victim)
    folder.empty_trash(older_than_s=-1)
    assert (victim / "letter.txt").read_text() == "dear"


# --- sweeping ---------------------------------------------------------------------------------------------------------


def draft_of(folder: DataFolder, pid: int, started: float) -> Path:
    path = folder.root / "temp" / f"models.{pid}.{round(started * 1000)}.{'0' * 32}"
    path.mkdir()
    return path


def test_the_draft_of_a_living_process_is_left_alone_however_old(
    folder: DataFolder, sleeper: subprocess.Popen[bytes]
) -> None:
    theirs = draft_of(folder, sleeper.pid, psutil.Process(sleeper.pid).create_time())
    os.utime(theirs, (0, 0))
    with folder.draft("models") as mine:
        assert folder.sweep() == []
        assert mine.path.exists()
    assert theirs.exists()


def test_the_draft_of_a_dead_process_is_swept_even_while_its_parent_has_not_noticed(
    folder: DataFolder, sleeper: subprocess.Popen[bytes]
) -> None:
    theirs = draft_of(folder, sleeper.pid, psutil.Process(sleeper.pid).create_time())
    sleeper.kill()
    while psutil.Process(sleeper.pid).status() != psutil.STATUS_ZOMBIE:
        os.sched_yield()
    assert folder.sweep() == [theirs]


def test_a_draft_whose_process_number_passed_to_another_is_swept_after_a_day(folder: DataFolder) -> None:
    reused = draft_of(folder, os.getpid(), started=1_000_000)
    assert folder.sweep() == []
    os.utime(reused, (0, time.time() - 25 * 3600))
    assert folder.sweep() == [reused]


def test_a_stray_file_is_swept_after_a_day_and_a_link_without_its_target(folder: DataFolder, tmp_path: Path) -> None:
    stray, target = folder.root / "temp" / "upload.tmp", tmp_path / "target"
    stray.touch()
    target.mkdir()
    (target / "letter.txt").touch()
    link = folder.root / "temp" / "link"
    link.symlink_to(target)
    assert folder.sweep() == []
    for path in (stray, link):
        os.utime(path, (0, 0), follow_symlinks=False)
    assert folder.sweep() == [link, stray]
    assert (target / "letter.txt").exists()
