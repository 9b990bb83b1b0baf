"""`python -m studio adapters ...` and the edge of the command line: names, deletions taken back, and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters_store import store_adapters
from adapters_store.store import Store
from adapters_store.tables import Job
from jobs import runner
from studio import asking, opening
from studio.cli import main
from tests.furnish import add_adapter, furnish


@pytest.fixture
def library(store: Store, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A library with the adapters pirate (1) and poet (2), which is the data folder of the commands."""
    monkeypatch.setenv("LORA_STUDIO_DATA", str(data_dir))
    monkeypatch.setattr(opening, "log_to", lambda file: None)  # this process has its log already
    monkeypatch.setattr(runner, "ensure", lambda root: None)
    base, data = furnish(store)
    for name in ("pirate", "poet"):
        add_adapter(store, base, data, name)
    return store


def names(store: Store) -> list[str]:
    return sorted(adapter.name for adapter in store.adapters()[0])


def test_an_adapter_is_renamed_by_its_name_or_number(library: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adapters", "rename", "pirate", "sea dog"]) == 0
    assert "sea dog" in capsys.readouterr().out
    assert main(["adapters", "rename", "2", "bard", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "bard"
    assert names(library) == ["bard", "sea dog"]


@pytest.mark.parametrize("new", ["poet", "  ", "x" * 500])
def test_a_name_that_cannot_be_given_is_refused_with_code_2(library: Store, new: str) -> None:
    assert main(["adapters", "rename", "pirate", new]) == 2
    assert names(library) == ["pirate", "poet"]


def test_a_deletion_is_taken_back_by_the_command_that_deleting_names(
    library: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["adapters", "delete", "pirate"]) == 0
    assert "python -m studio adapters restore 1" in capsys.readouterr().out
    assert main(["adapters", "restore", "1"]) == 0
    assert names(library) == ["pirate", "poet"]
    main(["adapters", "delete", "poet"])
    assert main(["adapters", "restore", "poet"]) == 0
    assert names(library) == ["pirate", "poet"]


def test_of_several_deleted_ones_of_a_name_the_last_comes_back(library: Store) -> None:
    main(["adapters", "delete", "pirate"])
    main(["adapters", "rename", "poet", "pirate"])
    main(["adapters", "delete", "pirate"])
    assert main(["adapters", "restore", "pirate"]) == 0
    assert [adapter.id for adapter in library.adapters()[0]] == [2]


def test_what_was_not_deleted_is_not_brought_back_and_the_deleted_ones_are_named(
    library: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["adapters", "restore", "poet"]) == 2
    assert "poet is in the library already." in capsys.readouterr().err
    main(["adapters", "delete", "pirate"])
    assert main(["adapters", "restore", "nobody"]) == 2
    assert "There is no deleted adapter nobody. Deleted: pirate (1)." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["models", "add", "nope"], "nope is neither a folder"),
        (["models", "find", "/nope"], "There is no folder /nope."),
        (["adapters", "import", "/nope"], "There is nothing at /nope. Give the adapter's folder, or a zip of it."),
        (["adapters", "merge", "poet", "--to", "."], "is there already and not empty"),
        (["train", "--data", "poems", "--from", "pirate", "--model", "other"], "leave --model out"),
        (["jobs", "again", "1"], "did not train"),
    ],
)
def test_a_request_for_what_cannot_be_ends_with_code_2(
    library: Store, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    library.submit("fetch", "model", {})
    library.add_base_model(
        name="other", source="folder", path=str(library.files.root), folder=None, fingerprint="sha256:o", facts={}
    )
    poems = library.files.root.parent / "poems.jsonl"
    poems.write_text('{"prompt": "a", "completion": "b"}\n' * 20)
    assert main([str(poems) if word == "poems" else word for word in words]) == 2
    assert told in capsys.readouterr().err


def test_a_soft_prompt_is_not_merged_and_says_what_to_do_with_code_2(
    library: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    base, data = library.base_models()[0], library.data_sets()[0]
    add_adapter(library, base, data, "soft", settings={"method": "prompt"})
    assert main(["adapters", "merge", "soft"]) == 2
    assert "stands beside the weights, so it cannot be merged. Download it as it is." in capsys.readouterr().err


def test_what_only_cannot_be_as_things_are_ends_with_code_1(
    library: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (library.adapter_path(library.adapter(1)) / "adapter_model.safetensors").unlink()
    assert main(["adapters", "export", "pirate", "--to", str(tmp_path / "out.zip")]) == 1
    assert "damaged on disk" in capsys.readouterr().err


def test_each_command_takes_a_data_folder(library: Store, tmp_path: Path) -> None:
    assert main(["models", "find", str(tmp_path), "--data-dir", str(tmp_path / "elsewhere")]) == 0


def test_an_adapter_is_found_beyond_those_that_a_listing_reads(
    library: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_adapters, "within", lambda limit: 1)
    assert main(["adapters", "rename", "pirate", "sea dog"]) == 0
    assert main(["adapters", "rename", "1", "pirate"]) == 0
    assert main(["adapters", "restore", "pirate"]) == 2
    assert "is in the library already" in capsys.readouterr().err


def test_after_a_merge_the_command_that_adds_the_model_is_said(
    library: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def done(store: Store, job: Job) -> Job:
        job.state, job.progress = "completed", {"dtype": "fp32"}
        return job

    monkeypatch.setattr(asking, "wait", done)
    assert main(["adapters", "merge", "pirate", "--to", str(tmp_path / "my merged")]) == 0
    told = capsys.readouterr()
    assert told.out == f"{tmp_path / 'my merged'} (fp32)\n"
    assert f"To use it here: python -m studio models add '{tmp_path / 'my merged'}'" in told.err
