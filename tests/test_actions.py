"""What a person can ask for is checked as a whole, kept once, and handed to the queue."""

import io
import shutil
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters_store import store_line
from adapters_store.errors import QueueFull
from adapters_store.store import Store
from adapters_store.tables import BaseModel, DataSet, Owner
from engine.data.check import DataError
from engine.settings import SettingsError
from jobs import runner
from studio import actions
from studio.actions import ActionError
from studio.words import clean_name, file_name, free_name
from tests.furnish import add_adapter

ROWS = '{"prompt": "What is rain?", "completion": "Water."}\n{"prompt": "And snow?", "completion": "Ice."}\n'


@pytest.fixture(autouse=True)
def ensured(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The data folders a runner was asked for; none is started here."""
    asked: list[Path] = []
    monkeypatch.setattr(runner, "ensure", asked.append)
    return asked


def start(store: Store, furnished: tuple[BaseModel, DataSet], key: str | None = None, **values: object) -> int:
    base, data = furnished
    return actions.start_run(store, base_model_id=base.id, data_set_id=data.id, values=values, key=key).id


def test_the_samples_are_imported_once(store: Store) -> None:
    actions.import_samples(store)
    first = store.data_sets()
    actions.import_samples(store)
    assert [data.id for data in store.data_sets()] == [data.id for data in first]
    assert {data.source for data in first} == {"sample"}
    assert all(store.rows_path(data).is_file() for data in first)
    assert store.orphans() == []


def test_the_same_rows_are_one_data_set_and_other_rows_get_a_name_of_their_own(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "weather.jsonl"
    file.write_text(ROWS)
    first = actions.import_file(store, file, "weather.jsonl")
    again = actions.import_file(store, file, "other.jsonl")
    file.write_text(ROWS.replace("rain", "hail"))
    other = actions.import_file(store, file, "weather.jsonl")
    assert (first.name, first.rows) == ("weather", 2)
    assert again.id == first.id
    assert other.id != first.id
    assert other.name == "weather-2"
    assert store.orphans() == []


def test_a_file_that_cannot_be_learned_from_leaves_nothing_behind(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"prompt": "a"}\n{"prompt": "b", "completion": 3}\n')
    with pytest.raises(DataError):
        actions.import_file(store, file, "bad.jsonl")
    assert store.data_sets() == []
    assert store.orphans() == []
    assert list((store.files.root / "temp").iterdir()) == []


@pytest.mark.parametrize("name", ["../../evil.jsonl", "/etc/passwd", "a\nb\x1b[31m.csv", "..", "", "x" * 500])
def test_a_hostile_file_name_becomes_a_plain_name(store: Store, tmp_path: Path, name: str) -> None:
    file = tmp_path / "rows"
    file.write_text(ROWS)
    data = actions.import_file(store, file, name)
    assert data.name
    assert data.name.isprintable()
    assert len(data.name) <= 80
    assert store.rows_path(data).is_relative_to(store.files.root / "datasets")


def test_a_run_starts_from_the_defaults_of_its_data_set(
    store: Store, furnished: tuple[BaseModel, DataSet], ensured: list[Path]
) -> None:
    job = store.job(start(store, furnished, rank=4))
    assert job.state == "queued"
    assert job.name == "pirate-style-r4"
    assert job.settings["rank"] == 4
    assert job.settings["batch_size"] == 8, "a small set gets the smaller batch"
    assert store.files.root in ensured


def test_all_problems_of_a_run_are_told_at_once(store: Store, furnished: tuple[BaseModel, DataSet]) -> None:
    with pytest.raises(SettingsError) as caught:
        start(store, furnished, rank="many", epochs=0, trust_remote_code=True, target_modules=["q_proj", "nose"])
    said = " ".join(caught.value.problems)
    assert len(caught.value.problems) == 4
    assert "many" in said
    assert "trust_remote_code" in said
    assert "nose" in said
    assert "q_proj, v" in said, "it names what the model has"
    assert store.jobs() == []


def test_asking_twice_with_one_key_queues_one_run(store: Store, furnished: tuple[BaseModel, DataSet]) -> None:
    assert start(store, furnished, key="click-1") == start(store, furnished, key="click-1")
    assert start(store, furnished, key="click-2") != start(store, furnished, key="click-1")


def test_a_run_whose_rows_are_gone_is_refused_in_words(store: Store, furnished: tuple[BaseModel, DataSet]) -> None:
    store.rows_path(furnished[1]).unlink()
    with pytest.raises(ActionError, match="Upload the file again"):
        start(store, furnished)


def test_a_full_queue_refuses_more(
    store: Store, furnished: tuple[BaseModel, DataSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_line, "MOST_WAITING", 2)
    start(store, furnished)
    second = start(store, furnished, key="click")
    with pytest.raises(QueueFull, match="2 jobs are waiting already"):
        start(store, furnished)
    assert start(store, furnished, key="click") == second, "what is queued already needs no room"


def test_the_starter_model_is_asked_for_once(store: Store) -> None:
    first, second = actions.fetch_starter(store), actions.fetch_starter(store)
    assert first is not None
    assert second is not None
    assert first.id == second.id
    store.request_stop(first.id, "cancel")
    retry = actions.fetch_starter(store)
    assert retry is not None
    assert retry.id != first.id, "after a fetch that ended without a model, asking again is a retry"


def test_a_fetch_that_was_interrupted_begins_again(store: Store) -> None:
    first = actions.fetch_starter(store)
    assert first is not None
    store.claim(first.id, _nobody())
    store.move(first.id, "interrupted", who="runner")
    again = actions.fetch_starter(store)
    assert again is not None
    assert (again.id, again.state) == (first.id, "queued")


def test_a_run_for_which_the_disk_is_too_small_is_refused_with_both_figures_before_it_is_queued(
    store: Store, furnished: tuple[BaseModel, DataSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = namedtuple("free", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free(10**12, 10**12, 12_000_000))
    with pytest.raises(ActionError, match=r"The disk has 12 MB free, and this run wants [1-9][0-9,]* MB\. Free some"):
        start(store, furnished)
    assert store.jobs() == []
    monkeypatch.undo()
    assert start(store, furnished)


def test_a_starter_model_that_is_here_is_not_fetched(store: Store, furnished: tuple[BaseModel, DataSet]) -> None:
    assert actions.fetch_starter(store) is None
    assert store.jobs() == []


def test_a_folder_without_a_model_is_refused_at_once(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ActionError, match=r"config\.json"):
        actions.add_model(store, str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    job = actions.add_model(store, str(tmp_path), "mine")
    assert job.settings == {"source": "folder", "path": str(tmp_path), "name": "mine"}


def test_what_is_typed_is_a_folder_a_file_or_a_model_on_a_hub(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tiny.Q4_0.gguf"
    file.write_bytes(b"GGUF....")
    assert actions.add_model(store, str(file)).settings == {"source": "gguf", "path": str(file), "name": "tiny.Q4_0"}
    hub = {"source": "hub", "id": "org/far", "revision": "main", "name": "far"}
    assert actions.add_model(store, " org/far ").settings == hub
    assert actions.add_model(store, "org/far", "mine", "v1").settings == {**hub, "revision": "v1", "name": "mine"}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "far").mkdir(parents=True)
    (tmp_path / "org" / "far" / "config.json").write_text("{}")
    assert actions.add_model(store, "org/far").settings["source"] == "folder", "what is on this disk goes first"


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("", "Give a folder"),
        ("nothing", "neither a folder nor a GGUF file on this machine, nor the id of a model"),
        ("/nowhere/at/all", "There is no /nowhere/at/all on this machine"),
        ("https://huggingface.co/org/far", "nor the id of a model on a hub, which looks like organisation/name"),
        ("org/../far", "neither a folder"),
        ("{here}/notes.txt", "is no GGUF file"),
        ("{here}/whole/model.safetensors", "Give the folder it lies in: {here}/whole."),
        ("{here}/outer", "It holds {here}/outer/inner. Give that."),
    ],
)
def test_what_names_no_model_is_refused_with_what_would(store: Store, tmp_path: Path, typed: str, told: str) -> None:
    (tmp_path / "notes.txt").write_text("no model")
    for place in ("whole", "outer/inner"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "config.json").write_text('{"model_type": "llama"}')
        (tmp_path / place / "model.safetensors").write_bytes(b"")
    with pytest.raises(ActionError) as refused:
        actions.add_model(store, typed.format(here=tmp_path))
    assert told.format(here=tmp_path) in str(refused.value)
    assert store.jobs() == []


def test_an_export_holds_the_adapter_and_nothing_else(store: Store, furnished: tuple[BaseModel, DataSet]) -> None:
    adapter = add_adapter(store, *furnished, name="déjà vu / $(rm)")
    target = io.BytesIO()
    assert actions.zip_adapter(store, adapter.id, target) == "deja-vu-rm.zip"
    with zipfile.ZipFile(target) as archive:
        assert sorted(archive.namelist()) == ["adapter_config.json", "adapter_model.safetensors"]
        whole = b"".join(archive.read(name) for name in archive.namelist())
    assert str(store.files.root).encode() not in whole


def test_a_damaged_or_deleted_adapter_is_not_exported(store: Store, furnished: tuple[BaseModel, DataSet]) -> None:
    damaged, deleted = add_adapter(store, *furnished), add_adapter(store, *furnished)
    file = store.adapter_path(damaged) / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    store.delete_adapter(deleted.id)
    with pytest.raises(ActionError, match="damaged"):
        actions.zip_adapter(store, damaged.id, io.BytesIO())
    with pytest.raises(ActionError, match="deleted"):
        actions.zip_adapter(store, deleted.id, io.BytesIO())


def test_a_curve_leaves_as_numbers_alone(store: Store, furnished: tuple[BaseModel, DataSet]) -> None:
    job = store.submit("train", "=cmd|' /C calc'!A0", {})
    claimed = store.claim(job.id, _nobody())
    assert claimed is not None
    store.report(job.id, claimed.token, metrics=[{"step": 0, "validation_loss": 3.5}, {"step": 1, "loss": 3.25}])
    text, name = actions.metrics_csv(store, job.id)
    lines = text.splitlines()
    assert lines[0].startswith("step,loss,validation_loss")
    assert lines[1].startswith("0,,3.5,")
    assert lines[2].startswith("1,3.25,,")
    assert name == "cmd-C-calc-A0-metrics.csv"


def _nobody() -> Owner:
    return Owner(1, 0.0, "another boot")


@settings(deadline=None, max_examples=50)
@given(st.text())
def test_a_file_name_is_safe_whatever_the_name_was(name: str) -> None:
    safe = file_name(name)
    assert safe
    assert len(safe) <= 80
    assert safe[0] not in ".-"
    assert all(c.isascii() and (c.isalnum() or c in "._-") for c in safe)


@settings(deadline=None, max_examples=50)
@given(st.text())
def test_a_clean_name_is_one_printable_line(name: str) -> None:
    clean = clean_name(name, "fallback")
    assert clean == clean.strip()
    assert 1 <= len(clean) <= 80
    assert "\n" not in clean
    assert clean_name(clean, "fallback") == clean


@settings(deadline=None, max_examples=50)
@given(st.sets(st.sampled_from(["a", "a-2", "a-3", "b"])))
def test_a_free_name_is_never_taken(taken: set[str]) -> None:
    assert free_name("a", taken) not in taken
