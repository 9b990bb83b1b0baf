"""What went wrong, in sentences that say what to do."""

from safetensors import SafetensorError

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
    assert own_sentence(OSError(30, "Read-only file system", "/data/adapters")) == said
    assert "may not" in (own_sentence(SafetensorError("I/O error: Permission denied (os error 13)")) or "")


def test_other_trouble_of_files_has_no_sentence_of_its_own() -> None:
    assert own_sentence(OSError(5, "Input/output error")) is None
    assert own_sentence(SafetensorError("invalid header")) is None
