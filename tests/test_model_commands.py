"""`python -m studio models ...`: from a hub, from a GGUF file, and what lies on this disk."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hub import COMMIT, StandIn, hub
from tests.terminal import Terminal
from tests.tiny_gguf import write_tiny_gguf
from tests.workshop import one_thread, shared_tiny_model


@pytest.fixture(scope="module")
def far() -> Iterator[StandIn]:
    with one_thread(), hub() as stand_in:
        stand_in.models["org/far"] = shared_tiny_model("gpt2")
        yield stand_in


def run(far: StandIn, data_dir: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The finished command, of a person with an empty home and a cache beside the data folder."""
    own = {"HF_ENDPOINT": far.endpoint, "HOME": str(data_dir.parent)}
    return Terminal(data_dir, own).run("models", *words)


def answer(far: StandIn, data_dir: Path, *words: str) -> Any:
    done = run(far, data_dir, *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_model_is_fetched_once_by_its_id_and_shown_with_its_commit(far: StandIn, data_dir: Path) -> None:
    added = answer(far, data_dir, "add", "org/far", "--revision", "v1", "--name", "mine")
    assert (added["name"], added["source"]) == ("mine", "hub")
    assert added["hub"] == {"id": "org/far", "commit": COMMIT}
    assert Path(added["path"]).is_relative_to(data_dir)
    far.asked.clear()
    assert answer(far, data_dir, "add", "org/far")["id"] == added["id"]
    assert far.files_asked_for() == []
    wrong = run(far, data_dir, "add", "org/far", "--revision", "v9")
    assert wrong.returncode == 1
    assert "org/far has no revision v9" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_a_gguf_file_is_added_and_a_missing_one_is_said_to_be_missing(
    far: StandIn, data_dir: Path, tmp_path: Path
) -> None:
    file = write_tiny_gguf(tmp_path / "tiny.gguf", shared_tiny_model())
    added = answer(far, data_dir, "add", str(file))
    assert (added["name"], added["source"], added["remarks"]) == ("tiny", "gguf", [])
    refused = run(far, data_dir, "add", str(tmp_path / "nothing.gguf"))
    assert refused.returncode == 2
    assert f"There is no {tmp_path / 'nothing.gguf'} on this machine." in refused.stderr


def test_what_lies_on_this_disk_is_listed_and_nothing_is_added(far: StandIn, data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    file = write_tiny_gguf(tmp_path / "models" / "tiny.gguf", shared_tiny_model())
    (found,) = answer(far, data_dir, "find", str(tmp_path / "models"))
    assert found == {
        "name": "tiny",
        "kind": "gguf",
        "path": str(file),
        "size_bytes": file.stat().st_size,
        "usable": True,
        "why_not": "",
    }
    nothing = run(far, data_dir, "find")
    assert nothing.stdout.startswith("None found.")
    assert not (data_dir / "studio.db").exists()
