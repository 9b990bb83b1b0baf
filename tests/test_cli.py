"""The command line, in processes of its own, from a model folder and a file of rows to answers side by side."""

import inspect
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapters_store.store import Store
from engine.settings import RunSettings
from studio.options import with_settings
from studio.terminal import plain, side_by_side, table
from tests.at_hand import AtHand
from tests.terminal import Terminal
from tests.tiny import tiny_rows
from tests.workshop import ENDLESS, one_thread, shared_tiny_model, wait_for

ROOT = Path(__file__).parent.parent
FAST = ["--epochs", "2", "--rank", "4", "--alpha", "8", "--learning-rate", "5e-3", "--batch-size", "4"]


@dataclass
class Shell:
    """A person at a terminal, with a data folder."""

    data_dir: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The finished command; its output is kept apart by stream."""
        return subprocess.run(
            self.command(*words), cwd=ROOT, capture_output=True, text=True, timeout=150, check=False, env=self.env()
        )

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "studio", *words]

    def env(self) -> dict[str, str]:
        return {**os.environ, "LORA_STUDIO_DATA": str(self.data_dir)}

    def json(self, *words: str) -> Any:
        """The one JSON value on stdout of a command that succeeds."""
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A data folder in which the tiny model was added and trained by command."""
    with one_thread():
        shell = Shell(tmp_path_factory.mktemp("cli") / "data")
        yield shell
        shell.run("jobs", "stop", "1", "--cancel")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("rows") / "pirates.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in tiny_rows(24)))
    return file


@pytest.fixture(scope="module")
def trained(shell: Shell, rows: Path) -> dict[str, Any]:
    """What `train --json` printed, after `models add`."""
    model = shell.json("models", "add", str(shared_tiny_model()), "--name", "tiny")
    assert model["present"] is True
    made = shell.json("train", "--data", str(rows), "--model", "tiny", "--name", "first", *FAST)
    assert isinstance(made, dict)
    return made


@pytest.fixture
def terminal(shell: Shell, trained: dict[str, Any]) -> Terminal:
    """The same data folder, for commands that need no process of their own."""
    return Terminal(shell.data_dir)


# --- the whole way ------------------------------------------------------------------------------------------------


def test_train_waits_and_tells_job_and_adapter(trained: dict[str, Any]) -> None:
    assert trained["job"]["state"] == "completed"
    assert trained["job"]["settings"]["rank"] == 4
    assert trained["adapter"]["name"] == "first"
    assert trained["adapter"]["data"] == "pirates"
    assert trained["adapter"]["validation_loss"] < trained["adapter"]["base_validation_loss"]


def test_jobs_are_listed_and_shown_with_their_curve(shell: Shell, trained: dict[str, Any]) -> None:
    listed = shell.json("jobs", "list")
    assert [job["kind"] for job in listed] == ["train", "fetch"]
    shown = shell.json("jobs", "show", str(trained["job"]["id"]))
    steps = [metric["step"] for metric in shown["metrics"]]
    assert steps == list(range(trained["adapter"]["steps"] + 1))
    text = shell.run("jobs", "list")
    assert text.returncode == 0
    assert "first" in text.stdout


def test_an_adapter_is_listed_and_exported(shell: Shell, trained: dict[str, Any], tmp_path: Path) -> None:
    assert [a["sha256"] for a in shell.json("adapters", "list", "--search", "fir")] == [trained["adapter"]["sha256"]]
    assert shell.json("adapters", "list", "--search", "nobody") == []
    exported = shell.json("adapters", "export", "first", "--to", str(tmp_path))
    with zipfile.ZipFile(exported["file"]) as archive:
        assert sorted(archive.namelist()) == ["README.md", "adapter_config.json", "adapter_model.safetensors"]
    again = shell.run("adapters", "export", "first", "--to", str(tmp_path))
    assert again.returncode == 2
    assert "--force" in again.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["first.zip"]


def test_contestants_answer_side_by_side_are_proven_and_replayed(
    terminal: Terminal, trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.ask.Answerer", lambda log: AtHand())
    names = [word for name in ("base", "first", "first@0.5", "first@0") for word in ("--contestant", name)]
    answered = terminal.json("compare", "--prompt", "What is rain?", *names, "--max-tokens", "8", "--seed", "3")
    base, first, half, mute = answers = answered["answers"]
    assert [one["name"] for one in answers] == ["base", "first", "first@0.5", "first@0"]
    assert (first["identity"], first["strength"]) == (trained["adapter"]["sha256"], 1.0)
    assert base["text"] == mute["text"] != first["text"]
    assert base["divergence"] is None
    assert mute["divergence"] == 0 < half["divergence"] < first["divergence"]
    assert len({one["weights"] for one in answers}) == 4
    assert all(0 < one["tokens"] <= 8 for one in answers)
    assert (answered["how"]["device"], answered["how"]["batches"]) == ("cpu", [[0, 1, 2, 3]])
    replayed = terminal.run("comparisons", "replay", str(answered["id"]), "--json")
    assert "all 4 answers exactly as before" in replayed.stderr
    assert [one["text"] for one in json.loads(replayed.stdout)["answers"]] == [one["text"] for one in answers]
    assert len(terminal.json("comparisons", "list", "--search", "rain")) == 2
    assert terminal.json("votes", "list", "--contestant", "base", "--contestant", "first")["rows"] == []


def test_doctor_finds_nothing_and_then_the_damage(shell: Shell, trained: dict[str, Any]) -> None:
    assert shell.json("doctor", "--deep")["healthy"] is True
    file = next((shell.data_dir / "adapters").glob("*/adapter_model.safetensors"))
    whole = file.read_bytes()
    try:
        file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        found = shell.run("doctor", "--json")
        assert found.returncode == 1
        assert json.loads(found.stdout)["healthy"] is False
    finally:
        file.write_bytes(whole)


def test_detach_prints_the_number_and_nothing_else(terminal: Terminal, trained: dict[str, Any]) -> None:
    detached = terminal.run("train", "--data", "pirates", "--model", "tiny", "--name", "alone", "--detach", *FAST)
    assert detached.returncode == 0, detached.stderr
    assert detached.stdout.strip().isdecimal()
    assert terminal.json("jobs", "show", detached.stdout.strip())["name"] == "alone"
    assert terminal.run("adapters", "delete", "alone").returncode == 0


def test_ctrl_c_stops_the_waiting_and_not_the_run_and_stop_keeps_what_was_learned(
    shell: Shell, trained: dict[str, Any]
) -> None:
    options = [word for key in ENDLESS for word in (f"--{key.replace('_', '-')}", str(ENDLESS[key]))]
    words = ("train", "--data", "pirates", "--model", "tiny", "--name", "watched", *options)
    store = Store(shell.data_dir)
    with subprocess.Popen(
        shell.command(*words), cwd=ROOT, env=shell.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as waiting:
        job = wait_for(lambda: next((j for j in store.jobs() if j.name == "watched"), None), 30, "the job")
        assert job is not None
        number = job.id
        wait_for(lambda: (store.job(number).progress.get("step") or 0) > 1, 90, "the run to be under way")
        waiting.send_signal(signal.SIGINT)
        out, err = waiting.communicate(timeout=20)
    assert waiting.returncode == 130
    assert out == ""
    assert f"jobs stop {number}" in err
    assert "Traceback" not in err
    assert store.job(number).state == "running"
    assert shell.json("jobs", "stop", str(number))["id"] == number
    stopped = wait_for(lambda: (j := store.job(number)).state == "stopped" and j, 60, "the run to stop")
    assert stopped
    assert stopped.adapter_id is not None
    assert shell.run("adapters", "delete", "watched").returncode == 0
    assert [adapter.name for adapter in store.adapters()[0]] == ["first"]
    store.close()


# --- refusals -----------------------------------------------------------------------------------------------------


def test_all_bad_values_are_told_at_once_with_code_2(terminal: Terminal) -> None:
    words = (
        "train",
        "--data",
        "pirates",
        "--model",
        "tiny",
        "--rank",
        "many",
        "--epochs",
        "0",
        "--target-modules",
        "nose",
    )
    refused = terminal.run(*words)
    assert refused.returncode == 2
    assert refused.stdout == ""
    for part in ("Rank (r) is many", "Epochs is 0", "nose"):
        assert part in refused.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("train",),
        ("train", "--data", "pirates", "--model", "unheard-of"),
        ("train", "--data", "no-such-file.jsonl", "--model", "tiny"),
        ("jobs", "show", "999"),
        ("adapters", "export", "unheard-of"),
        ("compare", "--prompt", "hello", "--contestant", "unheard-of"),
        ("comparisons", "show", "999"),
        ("no-such-command",),
    ],
)
def test_what_cannot_be_is_refused_with_code_2_and_a_sentence(terminal: Terminal, words: tuple[str, ...]) -> None:
    refused = terminal.run(*words)
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr.strip()
    assert "Traceback" not in refused.stderr


def test_bad_rows_are_named_by_line(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"prompt": "a", "completion": "b"}\n{"prompt": "a"}\n{"prompt": "", "completion": "x"}\n')
    refused = terminal.run("train", "--data", str(file), "--model", "tiny")
    assert refused.returncode == 2
    assert "Line 2" in refused.stderr
    assert "Line 3" in refused.stderr


def test_a_library_of_another_kind_is_refused_with_code_1(tmp_path: Path) -> None:
    (tmp_path / "studio.db").write_bytes(b"not a database" * 100)
    refused = Shell(tmp_path).run("jobs", "list")
    assert refused.returncode == 1
    assert "damaged" in refused.stderr
    assert "Traceback" not in refused.stderr


# --- pieces -------------------------------------------------------------------------------------------------------


def test_each_setting_is_an_option_with_its_help_and_bounds() -> None:
    def command(own: str, **values: object) -> None: ...

    parameters = inspect.signature(with_settings(command)).parameters
    assert list(parameters) == ["own", *RunSettings.model_fields]
    assert "1 to 512" in parameters["rank"].annotation.__metadata__[0].help


def test_what_a_model_says_cannot_command_the_terminal() -> None:
    assert plain("a\x1b[31mb\x07c\r\n\td") == "a?[31mb?c?\n\td".replace("?", "\N{REPLACEMENT CHARACTER}")
    assert "\x1b" not in side_by_side(["a"], ["\x1b]8;;http://x\x1b\\"], 40)
    assert "\x1b" not in table(["a"], [["\x1b[2J"]])


def test_columns_stand_next_to_each_other() -> None:
    text = side_by_side(["left", "right"], ["one two three four five", "six"], 43)
    lines = text.splitlines()
    assert lines[0] == f"{'left':<20} | right"
    assert lines[2] == f"{'one two three four':<20} | six"
    assert all(len(line) <= 43 for line in lines)


def test_a_table_aligns_its_columns() -> None:
    assert table(["N", "Loss"], [[1, 1.23456], [20, None]]) == "N   Loss\n1   1.235\n20"
