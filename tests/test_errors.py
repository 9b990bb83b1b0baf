"""What went wrong, in sentences that say what to do."""

import os
import sqlite3
import tempfile
from pathlib import Path

import pytest
from safetensors import SafetensorError

from adapters_store.database import said_in_words
from adapters_store.errors import StoreError
from jobs.errors import own_sentence


def test_a_full_disk_is_told_with_how_to_free_some_space() -> None:
    for error in (OSError(28, "No space left on device"), OSError(122, "Disk quota exceeded")):
        said = own_sentence(error) or ""
        assert said.startswith("The disk is full. ")
        assert "Delete files that are not needed" in said
        assert said == own_sentence(SafetensorError(f"Error while serializing: I/O error: x (os error {error.errno})"))


def test_a_path_one_may_not_touch_is_named() -> None:
    said = own_sentence(PermissionError(13, "Permission denied", "/data/adapters")) or ""
    assert "/data/adapters" in said
    assert "may not" in said
    assert "may not" in (own_sentence(SafetensorError("I/O error: Permission denied (os error 13)")) or "")


def test_a_drive_that_can_only_be_read_is_told_apart_from_a_lack_of_rights() -> None:
    said = own_sentence(OSError(30, "Read-only file system", "/data/adapters")) or ""
    assert said.startswith("The drive of /data/adapters can only be read now")
    assert "Make it writable again" in said
    unnamed = own_sentence(SafetensorError("Error while serializing: I/O error: x (os error 30)"))
    assert unnamed == said.replace("/data/adapters", "the data folder")


@pytest.mark.parametrize(("number", "words"), [(30, "can only be read now"), (28, "reported an error")])
def test_a_library_on_a_drive_that_can_only_be_read_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refused(**_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    trouble = sqlite3.OperationalError("disk I/O error")
    trouble.sqlite_errorcode = sqlite3.SQLITE_IOERR
    with pytest.raises(StoreError, match=words), said_in_words(tmp_path / "studio.db"):
        raise trouble


def test_other_trouble_of_files_has_no_sentence_of_its_own() -> None:
    assert own_sentence(OSError(5, "Input/output error")) is None
    assert own_sentence(SafetensorError("invalid header")) is None
