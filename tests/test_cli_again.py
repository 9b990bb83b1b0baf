"""The command line goes on: `train --from`, `jobs again` with and without more epochs, and interrupted runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters_store.store import Owner, Store
from tests.terminal import Terminal
from tests.test_cli import FAST
from tests.tiny import tiny_rows
from tests.workshop import add_base, one_thread


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A data folder with the tiny model, and one adapter that was trained by command: pirate, number 1."""
    with one_thread():
        shell = Terminal(tmp_path_factory.mktemp("cli") / "data")
        store = Store(shell.data_dir)
        add_base(store)
        store.close()
        file = rows_file(shell.data_dir.parent / "pirates.jsonl", 24)
        trained = shell.json("train", "--data", str(file), "--model", "tiny", "--name", "pirate", *FAST)
        assert trained["adapter"]["name"] == "pirate"
        yield shell


def rows_file(path: Path, count: int) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in tiny_rows(count)))
    return path


def test_training_goes_on_from_an_adapter_by_its_name_alone(shell: Terminal) -> None:
    made = shell.json("train", "--from", "pirate", "--epochs", "1")
    assert (made["adapter"]["rank"], made["adapter"]["alpha"]) == (4, 8)
    assert made["adapter"]["from"] == "pirate"
    assert (made["adapter"]["name"], made["job"]["from"]) == ("pirate-2", "pirate")
    assert (made["job"]["base"], made["job"]["data"]) == ("tiny", "pirates")


def test_a_finished_run_is_given_more_epochs_and_the_schedule_is_said_to_start_anew(shell: Terminal) -> None:
    done = shell.run("jobs", "again", "1", "--epochs", "3", "--detach", "--json")
    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)
    assert (job["settings"]["epochs"], job["settings"]["rank"], job["from"]) == (3, 4, "pirate")
    assert "Goes on from pirate. The learning rate schedule starts anew" in done.stderr
    assert shell.json("jobs", "again", "1", "--detach")["from"] is None


def test_a_run_is_duplicated_with_some_settings_changed_and_all_else_as_it_was(shell: Terminal) -> None:
    before = shell.json("jobs", "show", "1")["settings"]
    job = shell.json("jobs", "duplicate", "1", "--rank", "2", "--dropout", "0.2", "--name", "other", "--detach")
    assert job["settings"] == {**before, "rank": 2, "dropout": 0.2}
    assert (job["name"], job["base"], job["data"], job["from"]) == ("other", "tiny", "pirates", None)
    refused = shell.run("jobs", "duplicate", "1", "--rank", "none", "--dropout", "7")
    assert refused.returncode == 2
    assert "Rank (r) is none" in refused.stderr
    assert "Dropout is 7" in refused.stderr


def test_what_contradicts_the_adapter_is_refused_with_the_value_it_has(shell: Terminal) -> None:
    refused = shell.run("train", "--from", "pirate", "--rank", "8", "--method", "dora")
    assert refused.returncode == 2
    assert "Rank (r) is 8, but pirate has 4" in refused.stderr
    assert "Method is DoRA, but pirate has LoRA" in refused.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train"], "Give the data to learn from: --data NAME_OR_FILE."),
        (["train", "--from", "nobody"], "There is no adapter nobody."),
        (["jobs", "again", "1", "--epochs", "none"], "Epochs is none, but should be a whole number from 1 to 1000."),
        (["jobs", "again", "99"], "There is no job with the number 99."),
    ],
)
def test_what_cannot_be_is_told_in_words(shell: Terminal, words: list[str], told: str) -> None:
    refused = shell.run(*words)
    assert refused.returncode in (1, 2)
    assert told in refused.stderr
    assert "Traceback" not in refused.stderr


def test_interrupted_runs_go_on_by_themselves_unless_told_otherwise(shell: Terminal) -> None:
    assert shell.json("jobs", "auto-resume") == {"auto_resume": True}
    assert shell.run("jobs", "auto-resume", "off").stdout.strip() == "Interrupted runs wait for a person."
    assert shell.json("jobs", "auto-resume") == {"auto_resume": False}
    assert "up to 3 attempts" in shell.run("jobs", "auto-resume", "on").stdout


def test_an_interrupted_run_is_continued_by_command(shell: Terminal) -> None:
    store = Store(shell.data_dir)
    job = store.submit(
        "train", "night", {**store.job(1).settings}, base_model_id=1, data_set_id=store.job(1).data_set_id
    )
    store.claim(job.id, Owner(2**22 + 1, 1.0, "boot"))
    store.move(job.id, "interrupted", who="test", why="Killed.")
    assert "is completed. Only a paused or interrupted job" in shell.run("jobs", "continue", "1").stderr
    made = shell.json("jobs", "continue", str(job.id))
    assert (made["job"]["id"], made["job"]["state"], made["adapter"]["name"]) == (job.id, "completed", "night")
    store.close()
