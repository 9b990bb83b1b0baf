"""The log of a job: read in stretches of whole lines, and nothing in it can steer what shows it."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import pytest

from adapters_store.store import Store
from jobs import job_notes
from studio import job_log, log_commands, opening
from studio.cli import main
from studio.job_log import escaped, stretch


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "job-1.log"


def test_stretch_after_stretch_is_the_whole_log(log: Path) -> None:
    log.write_bytes(b"one\ntwo\nthr")
    first = stretch(log)
    assert first == ("one\ntwo\n", 8, 0)
    with log.open("ab") as more:
        more.write(b"ee\nfour\n")
    assert stretch(log, first.end) == ("three\nfour\n", 19, 0)
    assert stretch(log, 19) == ("", 19, 0)


def test_of_a_long_log_the_newest_whole_lines_are_told(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_log, "MOST", 12)
    log.write_bytes(b"".join(b"line %d\n" % n for n in range(9)))
    found = stretch(log, 7)
    assert found == ("line 8\n", 63, 49)


def test_a_job_that_has_not_begun_has_an_empty_log(log: Path) -> None:
    assert stretch(log) == ("", 0, 0)


def test_no_character_steers_a_terminal_or_the_direction_of_writing(log: Path) -> None:
    log.write_bytes("a\tb\x1b]0;evil\x07 \r\x85 \u202ecod.exe Ä 漢 \U0001f600\n".encode() + b"\xff\xfe\n")
    text = stretch(log).text
    assert text == "a\tb\\x1b]0;evil\\x07 \\x0d\\x85 \\u202ecod.exe Ä 漢 \U0001f600\n\\xff\\xfe\n"
    every = "".join(map(chr, range(0x3000)))
    assert {c for c in escaped(every) if not c.isprintable()} <= {"\n", "\t"} | {
        c for c in every if ord(c) > 0x9F and not c.isprintable()
    }


def test_what_is_logged_is_one_json_object_a_line_and_is_told_as_text(store: Store) -> None:
    job, stream = store.submit("train", "run", {}), io.StringIO()
    log = store.files.log(f"job-{job.id}")
    own, lines = logging.Logger("training"), logging.StreamHandler(stream)
    lines.setFormatter(job_notes.Lines())
    own.addHandler(lines)
    own.info("rows of %s", "\u202etxt\nevil")
    try:
        raise ValueError("so\x1b[2J")
    except ValueError:
        own.exception("it failed")
    log.write_text(stream.getvalue() + "printed by a library\n")
    job_notes.write(store, job, "No progress.", warning=True)
    *objects, plain, last = log.read_text().splitlines()
    assert (plain, log.read_text().isascii()) == ("printed by a library", True)
    assert [json.loads(one)["says"] for one in (*objects, last)] == [
        "rows of \u202etxt\nevil",
        "it failed",
        "No progress.",
    ]
    told = stretch(log).text
    assert "".join(job_log.lines(log)) == told
    assert " training INFO rows of \\u202etxt\nevil\n" in told
    assert " training ERROR it failed\nTraceback (most recent call last):\n" in told
    assert "ValueError: so\\x1b[2J\nprinted by a library\n" in told
    assert told.endswith(" runner WARNING No progress.\n")


# --- the command --------------------------------------------------------------------------------------------------


@pytest.fixture
def logged(store: Store, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log of job 1, in the data folder of the commands."""
    monkeypatch.setenv("LORA_STUDIO_DATA", str(data_dir))
    monkeypatch.setattr(opening, "log_to", lambda file: None)  # this process has its log already
    store.submit("train", "run", {})
    return store.files.log("job-1")


def test_the_command_prints_the_log_or_says_that_there_is_none(
    logged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["jobs", "log", "1"]) == 0
    assert capsys.readouterr() == ("", "It has no log: no worker has begun with it yet.\n")
    logged.write_text("one\n\x1b[2Jtwo\nhal")
    assert main(["jobs", "log", "1"]) == 0
    assert capsys.readouterr().out == "one\n\\x1b[2Jtwo\nhal"
    assert main(["jobs", "log", "1", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record == {"number": 1, "file": str(logged), "lines": ["one", "\\x1b[2Jtwo", "hal"]}
    assert main(["jobs", "log", "1", "--json", "--follow"]) == 2
    assert main(["jobs", "log", "9"]) == 2


def test_followed_it_goes_on_until_the_job_has_ended(
    store: Store, logged: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logged.write_text("one\n")
    told = iter(["two\n", "three\nhal", "f\n"])

    def meanwhile(seconds: float) -> None:
        with logged.open("a") as log:
            log.write(next(told))
        if logged.read_text().endswith("half\n"):
            store.request_stop(1, "cancel")

    monkeypatch.setattr(log_commands.time, "sleep", meanwhile)
    assert main(["jobs", "log", "1", "--follow"]) == 0
    assert capsys.readouterr().out == "one\ntwo\nthree\nhalf\n"
