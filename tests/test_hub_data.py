"""Data sets on a hub: their subsets and splits, and one of them fetched. The hub is a stand-in on loopback."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from adapters_store.store import Store
from adapters_store.tables import Job
from engine import hub_beginning
from engine.data.check import read_rows
from engine.hub_data import CONVERTED
from jobs import hub_data
from jobs.ending import Ending
from jobs.hub_data import HubDataError
from jobs.worker import do
from studio.cli import main
from studio.data_hub import questions
from studio.runs_tab import answered
from tests.far import TOKEN
from tests.hub import COMMIT, StandIn, hub
from tests.terminal import Terminal

pytestmark = pytest.mark.usefixtures("no_runner")

ID, AT = "org/talk", "datasets/org/talk"
Write = Callable[..., Path]


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A hub with an empty data set. The environment points there."""
    for name in ("HF_TOKEN", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "on-the-hub"
    folder.mkdir()
    with hub() as stand_in:
        stand_in.models[AT] = folder
        monkeypatch.setenv("HF_ENDPOINT", stand_in.endpoint)
        yield stand_in


@pytest.fixture
def write(far: StandIn) -> Write:
    """Put a file of rows into the data set, by its name."""

    def put(name: str, *words: str) -> Path:
        file = far.models[AT] / name
        file.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"prompt": f"What is {word}?", "completion": f"A {word}."} for word in words]
        if name.endswith(".parquet"):
            parquet.write_table(pyarrow.Table.from_pylist(rows), file)
        elif name.endswith(".gz"):
            file.write_bytes(gzip.compress("".join(f"{json.dumps(row)}\n" for row in rows).encode()))
        else:
            file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return file

    return put


def parts() -> list[tuple[str, str, list[str]]]:
    listing = hub_data.look_up(hub_data.read(ID))
    return [(part.subset, part.split, [file.name for file in part.files]) for part in listing.parts]


def queued(store: Store, subset: str = "", split: str = "", **more: Any) -> Job:
    listing = hub_data.look_up(hub_data.read(f"hub:{ID}"))
    given = {"columns": None, "skip_bad": False, **more}
    made = hub_data.add(store, listing, hub_data.chosen(listing, subset, split), "talk", **given)
    assert isinstance(made, Job)
    return made


def done(store: Store, job: Job) -> Job:
    do(store, job.id, Ending())
    return store.job(job.id)


# --- subsets and splits ---------------------------------------------------------------------------------------------


def test_the_card_says_what_a_subset_consists_of(far: StandIn, write: Write) -> None:
    for name in ("en/a/train-0.jsonl", "en/train-1.jsonl", "en/held.jsonl", "de/x.parquet", "README.md", "other.csv"):
        write(name, "bay")
    far.cards[AT] = [
        {"config_name": "english", "data_dir": "en", "data_files": [
            {"split": "train", "path": ["**/train-*.jsonl"]}, {"split": "test", "path": "held.jsonl"}]},
        {"config_name": "german", "data_files": "de/*.parquet"},
        {"config_name": "gone", "data_files": {"train": "nowhere/*"}},
        {"config_name": "odd", "data_files": "*" * 400},
        "nothing",
    ]  # fmt: skip
    assert parts() == [
        ("english", "train", ["en/a/train-0.jsonl", "en/train-1.jsonl"]),
        ("english", "test", ["en/held.jsonl"]),
        ("german", "train", ["de/x.parquet"]),
    ]


def test_without_a_card_names_of_files_and_folders_say_it(write: Write) -> None:
    for name in ("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/dev.parquet"):
        write(name, "bay")
    write("plain_text/test/0000.parquet", "bay")
    write("plain_text/partial-train/0000.parquet", "bay")
    for name in ("dataset_infos.json", ".hidden/train.jsonl", "weights.bin", "notes.md", "run.py"):
        write(name, "bay")
    assert parts() == [
        ("default", "validation", ["data/dev.parquet"]),
        ("default", "train", ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]),
        ("plain_text", "train", ["plain_text/partial-train/0000.parquet"]),
        ("plain_text", "test", ["plain_text/test/0000.parquet"]),
    ]


def test_what_there_is_to_choose_is_told_where_it_was_not_chosen(write: Write) -> None:
    for name in ("a/train/0.jsonl", "a/test/0.jsonl", "b/train/0.jsonl"):
        write(name, "bay")
    listing = hub_data.look_up(hub_data.read(ID))
    for given, told in [
        (("", ""), "org/talk has several subsets. Choose the subset: a, b."),
        (("c", ""), "org/talk has no subset c. Choose the subset: a, b."),
        (("a", ""), "org/talk has several splits. Choose the split: test, train."),
        (("a", "x"), "org/talk has no split x. Choose the split: test, train."),
    ]:
        with pytest.raises(HubDataError) as refused:
            hub_data.chosen(listing, *given)
        assert refused.value.problems == [told]
    assert hub_data.chosen(listing, "b", "").split == "train"


# --- what is refused ------------------------------------------------------------------------------------------------


def gated(far: StandIn) -> None:
    far.faults.gated = True


def test_a_data_set_that_needs_its_own_code_is_refused_and_nothing_of_it_is_fetched(far: StandIn, write: Write) -> None:
    write("talk.py", "evil")
    write("train.jsonl", "bay")
    with pytest.raises(HubDataError) as refused:
        parts()
    assert "a script of its own, talk.py, and LoRA Studio runs no code" in refused.value.problems[0]
    assert f"{ID}@{CONVERTED}" in refused.value.problems[0]
    assert far.files_asked_for() == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("org/talk", "has no files that can be read: Parquet, JSON, JSONL, CSV, TSV or text, also gzipped. There are"),
        ("org/nothing", "has no data set org/nothing, or a private one."),
        ("org/talk@v9", "org/talk has no revision v9."),
        ("talk", "talk is not the id of a data set on a hub"),
        ("http://elsewhere.example/a", "is not the id of a data set on a hub"),
        ("../a", "is not the id of a data set on a hub"),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_refused_in_words(far: StandIn, write: Write, text: str, told: str) -> None:
    write("data.arrow", "bay")
    with pytest.raises(HubDataError, match=told.replace(".", r"\.")):
        hub_data.look_up(hub_data.read(text))


def test_a_closed_data_set_says_how_to_open_it_and_names_no_token(
    far: StandIn, write: Write, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("train.jsonl", "bay")
    job = queued(store)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    gated(far)
    why = done(store, job).why or ""
    assert f"org/talk is gated, and HF_TOKEN does not open it. Accept its terms at {far.endpoint}/{AT}" in why
    assert TOKEN not in why


# --- what is fetched ------------------------------------------------------------------------------------------------


def test_the_chosen_files_become_a_data_set_pinned_to_the_commit(far: StandIn, write: Write, store: Store) -> None:
    write("data/train-0.parquet", "bay", "rain")
    write("data/train-1.parquet", "moth")
    write("data/test-0.parquet", "heron")
    job = done(store, queued(store, split="train"))
    assert (job.state, job.why or "") == ("completed", "")
    data = store.data_set(job.progress["data_set"])
    assert [row["messages"][1]["content"] for row in read_rows(store.rows_path(data))] == [
        "A bay.",
        "A rain.",
        "A moth.",
    ]
    assert (data.name, data.source) == ("talk", "hub")
    assert data.facts["hub"] == {"id": ID, "commit": COMMIT, "subset": "default", "split": "train"}
    assert data.facts["file"] == f"org/talk, default, train, commit {COMMIT[:12]}"
    assert {name.rpartition("/")[2] for name in far.files_asked_for()} == {"train-0.parquet", "train-1.parquet"}
    assert all(f"/resolve/{COMMIT}/" in one.path for one in far.asked if "/resolve/" in one.path)
    assert list(store.files.temporary.iterdir()) == []
    far.asked.clear()
    listing = hub_data.look_up(hub_data.read(ID))
    again = hub_data.add(store, listing, hub_data.chosen(listing, "", "train"), "talk", None, False)
    assert getattr(again, "content_hash", None) == data.content_hash, "it is here already"
    assert far.files_asked_for() == []


def test_what_broke_off_goes_on_where_it_stopped_and_what_arrives_damaged_is_not_kept(
    far: StandIn, write: Write, store: Store
) -> None:
    file = write("train.jsonl.gz", *(f"bay{number}" for number in range(400)))
    far.faults.false_hash = file.name
    assert "arrived damaged" in (done(store, queued(store)).why or "")
    far.faults.false_hash = ""
    far.faults.broken[file.name] = [100, 0, 0, 0]
    failed = done(store, queued(store))
    assert failed.why == "The connection to 127.0.0.1 broke off. Retry: it goes on where it stopped."
    far.asked.clear()
    assert done(store, queued(store)).state == "completed"
    assert [one.headers.get("range") for one in far.asked if one.file == file.name] == ["bytes=100-"]
    assert store.data_sets()[0].rows == 400


def test_bad_rows_and_strange_columns_are_told_and_files_that_are_here_are_not_fetched_again(
    far: StandIn, write: Write, store: Store
) -> None:
    far.models[AT].joinpath("train.csv").write_text("from_them,from_us\nWhat?,That.\nWho?,\n")
    assert "The columns from_them, from_us are not understood." in (done(store, queued(store)).why or "")
    far.asked.clear()
    mapped = {"prompt": "from_them", "answer": "from_us"}
    assert "Line 3: the column from_us is empty." in (done(store, queued(store, columns=mapped)).why or "")
    finished = done(store, queued(store, skip_bad=True))
    assert finished.state == "completed", "the mapping is remembered"
    assert store.data_set(finished.progress["data_set"]).facts["bad"]["total"] == 1
    assert far.files_asked_for() == []


# --- command and page -----------------------------------------------------------------------------------------------


def test_the_command_adds_one_and_says_what_there_is_to_choose(
    write: Write, store: Store, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("en/train/0.jsonl", "bay")
    write("en/test/0.jsonl", "rain")
    terminal = Terminal(data_dir)
    refused = terminal.run("data", "add", f"hub:{ID}")
    assert (refused.returncode, refused.stderr) == (2, "org/talk has several splits. Choose the split: test, train.\n")
    made = terminal.json("data", "add", f"hub:{ID}@v1", "--subset", "en", "--split", "test", "--name", "rainy")
    assert (made["name"], made["source"], made["rows"]) == ("rainy", "hub", 1)
    wrong = terminal.run("data", "add", str(data_dir), "--split", "test")
    assert (wrong.returncode, "Only a data set on a hub" in wrong.stderr) == (2, True)
    monkeypatch.setenv("LORA_STUDIO_DATA", str(data_dir))
    assert main(["data", "add", "hub:nothing"]) == 2


def test_the_page_lists_what_there_is_and_queues_what_was_chosen(far: StandIn, write: Write, store: Store) -> None:
    write("en/train/0.jsonl", "bay")
    write("de/train/0.jsonl", "rain")
    ask = {fn.__name__: answered(fn) for fn in questions(store)}
    found = ask["data_hub_look"]({"id": ID})
    assert [part[:2] for part in found["parts"]] == [["de", "train"], ["en", "train"]]
    assert (found["id"], found["name"], found["more"]) == (f"{ID}@{COMMIT}", "talk", 0)
    chosen = {"id": found["id"], "subset": "en", "split": "train", "name": "english"}
    job = store.job(ask["data_hub_add"]({**chosen, "columns": {"prompt": "q", "answer": "r"}})["job"])
    assert (job.kind, job.name, job.settings["columns"]) == ("data", "english", {"prompt": "q", "answer": "r"})
    assert job.settings["hub"] == {"id": ID, "commit": COMMIT, "subset": "en", "split": "train"}
    assert "no subset fr" in ask["data_hub_add"]({**chosen, "subset": "fr"})["problem"]
    assert "is not the id" in ask["data_hub_look"]({"id": ["org/talk"]})["problem"]
    assert "is not the id" in ask["data_hub_look"](None)["problem"]


# --- the beginning, before all of it is fetched ---------------------------------------------------------------------

STRANGE = [
    {"from_them": f"What is {word}?", "from_us": f"A {word}.", "n": number} for number, word in enumerate("abcd")
]
MAPPED = {"prompt": "from_them", "answer": "from_us"}


def strange(name: str) -> bytes:
    """200 rows whose columns say nothing, as a file of the kind that its name tells."""
    rows = [{**STRANGE[number % 4], "n": sha256(bytes([number])).hexdigest()} for number in range(200)]
    if name.endswith(".parquet"):
        out = pyarrow.BufferOutputStream()
        parquet.write_table(pyarrow.Table.from_pylist(rows), out, row_group_size=50)
        return bytes(out.getvalue())
    if name.endswith(".json"):
        return json.dumps(rows).encode()
    lines = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    return gzip.compress(lines) if name.endswith(".gz") else lines


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("name", ["train.jsonl", "train.jsonl.gz", "train.parquet", "train.json"])
def test_the_columns_of_a_split_are_mapped_with_its_first_rows_shown_before_it_is_fetched(
    name: str, large: bool, far: StandIn, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr(hub_beginning, "SMALL", 2000)
        monkeypatch.setattr(hub_beginning, "FIRST", 1000)
        monkeypatch.setattr(hub_beginning, "PIECE", 1000)
    far.models[AT].joinpath(name).write_bytes(strange(name))
    ask = {fn.__name__: answered(fn) for fn in questions(store)}
    chosen = {"id": f"{ID}@{COMMIT}", "subset": "default", "split": "train"}
    seen = ask["data_hub_rows"](chosen)
    assert (seen["file"], seen["names"], seen["rows"]) == ("org/talk, default, train", [*STRANGE[0]], [])
    assert "The columns from_them, from_us, n are not understood." in seen["problems"][0]
    asked = len(far.asked)
    seen = ask["data_hub_rows"]({**chosen, "columns": MAPPED})
    assert [[piece["text"] for piece in row["pieces"]] for row in seen["rows"]] == [
        [f"What is {word}?", f"A {word}."] for word in "abc"
    ]
    assert seen["mapped"]
    assert len([one for one in far.asked[asked:] if one.file]) == 0, "what was looked at is kept"
    pieces = [one for one in far.asked if one.file and one.headers.get("range")]
    assert bool(pieces) == large, "a small file is fetched whole"

    finished = done(store, store.job(ask["data_hub_add"]({**chosen, "columns": MAPPED})["job"]))
    data = store.data_set(finished.progress["data_set"])
    assert (data.rows, data.facts["columns"]) == (200, MAPPED)
    far.models[AT].joinpath("test.jsonl").write_bytes(strange("test.jsonl"))
    seen = ask["data_hub_rows"]({**chosen, "split": "test"})
    assert (seen["columns"], seen["mapped"], len(seen["rows"])) == (MAPPED, False, 3), "the mapping is remembered"


def test_what_cannot_be_shown_beforehand_is_said_and_can_be_fetched_all_the_same(
    far: StandIn, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_beginning, "SMALL", 100)
    monkeypatch.setattr(hub_beginning, "FIRST", 120)
    file = far.models[AT] / "train.json"
    file.write_text(json.dumps({"data": [{"prompt": row["from_them"], "completion": "b"} for row in STRANGE]}))
    ask = {fn.__name__: answered(fn) for fn in questions(store)}
    chosen = {"id": f"{ID}@{COMMIT}", "subset": "default", "split": "train"}
    seen = ask["data_hub_rows"](chosen)
    assert seen["blind"]
    assert seen["problems"][0].startswith("Its first file is one JSON object, of which no part can be shown")
    assert done(store, store.job(ask["data_hub_add"](chosen)["job"])).state == "completed"
    far.models[AT].joinpath("test.parquet").write_bytes(b"PAR1" + bytes(200_000) + b"PAR1")
    assert "damaged Parquet" in ask["data_hub_rows"]({**chosen, "split": "test"})["problems"][0]
    far.faults.ranges = False
    assert "gives out whole files only" in ask["data_hub_rows"]({**chosen, "split": "test"})["problems"][0]


def test_the_command_says_that_columns_are_not_understood_before_it_fetches(
    far: StandIn, store: Store, data_dir: Path
) -> None:
    far.models[AT].joinpath("train.jsonl").write_bytes(strange("train.jsonl"))
    terminal = Terminal(data_dir)
    refused = terminal.run("data", "add", f"hub:{ID}")
    assert refused.returncode == 2
    assert "The columns from_them, from_us, n are not understood." in refused.stderr
    assert store.jobs() == []
    mapping = ["--map", "prompt=from_them", "--map", "answer=from_us"]
    made = terminal.json("data", "add", f"hub:{ID}", *mapping)
    assert (made["rows"], made["source"]) == (200, "hub")
