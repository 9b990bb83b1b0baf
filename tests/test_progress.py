"""The sentences about jobs, and the arithmetic behind them.

pytest tests/test_progress.py
"""

from types import SimpleNamespace
from typing import Any

import pytest

from jobs.progress import duration, job_sentence, loss_text, seconds_left, smooth

RUNNING = {"step": 55, "steps": 90, "loss": 1.42, "first_loss": 3.05, "seconds_left": 240.0}


def job(state: str, progress: dict[str, Any] | None = None, **fields: Any) -> Any:
    given = {"kind": "train", "why": "", "stop": None, "adapter_id": None, "started_at": None, "finished_at": None}
    return SimpleNamespace(**{**given, "state": state, "progress": progress or {}, **fields})


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (8.4, "8 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (240, "4 min"),
        (3599, "1 h"),
        (4800, "1 h 20 min"),
        (26 * 3600, "1 d 2 h"),
        (48 * 3600, "2 d"),
    ],
)
def test_a_length_of_time_is_said_as_people_say_it(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(("loss", "words"), [(3.0512, "3.05"), (0.1234, "0.123"), (0.00004, "4.0e-05")])
def test_a_small_loss_is_never_shown_as_zero(loss: float, words: str) -> None:
    assert loss_text(loss) == words


def test_an_even_pace_gives_the_exact_time_left() -> None:
    assert seconds_left(30, 90, elapsed=60, recent=2.0) == pytest.approx(120)
    assert seconds_left(90, 90, elapsed=60, recent=2.0) == 0


def test_before_the_first_step_nobody_knows_the_time_left() -> None:
    assert seconds_left(0, 90, elapsed=0, recent=None) is None


def test_a_slower_pace_is_followed_but_not_at_once() -> None:
    assert 120 < (seconds_left(30, 90, elapsed=60, recent=4.0) or 0) < 240
    assert 1 < smooth(1.0, 10.0) < 10
    assert smooth(None, 10.0) == 10


def test_a_running_job_tells_step_loss_validation_and_time_left() -> None:
    progress = {**RUNNING, "validation_loss": 1.38, "best_validation_loss": 1.38, "best_step": 50}
    assert job_sentence(job("running", progress)) == (
        "Step 55 of 90. Loss 1.42, down from 3.05. Validation 1.38, best so far. About 4 min left."
    )


def test_a_validation_that_rises_names_the_best_one() -> None:
    progress = {**RUNNING, "validation_loss": 1.5, "best_validation_loss": 1.38, "best_step": 50}
    assert "Validation 1.50; the best was 1.38 at step 50." in job_sentence(job("running", progress))


def test_a_loss_that_rises_is_not_said_to_fall() -> None:
    assert "Loss 4.00, up from 3.05." in job_sentence(job("running", {**RUNNING, "loss": 4.0}))


def test_without_validation_the_sentence_leaves_it_out() -> None:
    assert job_sentence(job("running", RUNNING)) == "Step 55 of 90. Loss 1.42, down from 3.05. About 4 min left."


def test_before_the_first_step_the_sentence_says_what_goes_on() -> None:
    assert job_sentence(job("queued")) == "Waiting for its turn."
    assert job_sentence(job("starting")) == "Starting."
    assert job_sentence(job("starting", {"stage": "Loading the base model"})) == "Loading the base model."
    first = job_sentence(job("running", {"step": 0, "steps": 90, "stage": ""}))
    assert first == "First steps. Loss and time left follow in a moment."


def test_a_stop_is_answered_at_once() -> None:
    assert job_sentence(job("running", RUNNING, stop="keep")).startswith("Stopping")
    assert job_sentence(job("running", RUNNING, stop="cancel")) == "Cancelling."


def test_a_finished_run_tells_time_and_best_step() -> None:
    progress = {**RUNNING, "first_validation_loss": 2.9, "best_validation_loss": 1.31, "best_step": 80}
    finished = job("completed", progress, started_at=1000.0, finished_at=1660.0, adapter_id=1)
    assert job_sentence(finished) == "Done in 11 min. Best validation 1.31 at step 80, kept."


def test_a_run_that_never_beat_its_base_says_so() -> None:
    progress = {**RUNNING, "first_validation_loss": 1.2, "best_validation_loss": 1.31, "best_step": 80}
    assert "no better than the base (1.20)" in job_sentence(job("completed", progress))


def test_a_finished_run_without_validation_tells_its_loss() -> None:
    assert job_sentence(job("completed", RUNNING)) == "Done. Loss 1.42, down from 3.05. The last step was kept."


def test_a_stopped_run_tells_where_it_stopped_and_what_was_kept() -> None:
    progress = {**RUNNING, "best_validation_loss": 1.31, "best_step": 50, "first_validation_loss": 2.9}
    stopped = job("stopped", progress, started_at=0.0, finished_at=300.0)
    assert job_sentence(stopped) == "Stopped at step 55 of 90 after 5 min. Best validation 1.31 at step 50, kept."


@pytest.mark.parametrize("state", ["failed", "interrupted", "cancelled"])
def test_an_unhappy_end_tells_its_reason(state: str) -> None:
    assert job_sentence(job(state, why="Because of this. Do that.")) == "Because of this. Do that."
    assert job_sentence(job(state))


def test_a_fetch_tells_its_megabytes_while_there_are_any() -> None:
    progress = {"stage": "Downloading", "done_bytes": 45_000_000, "total_bytes": 92_000_000}
    assert job_sentence(job("running", progress, kind="fetch")) == "Downloading: 45 of 92 MB."
    converting = {"stage": "Converting", "done_bytes": 92_000_000, "total_bytes": 92_000_000}
    assert job_sentence(job("running", converting, kind="fetch")) == "Converting."
    assert job_sentence(job("completed", kind="fetch", started_at=0.0, finished_at=61.0)) == "Done in 1 min."
