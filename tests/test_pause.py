"""A run that is paused lets go of the device, waits for a person, and ends as if nobody had paused it.

pytest tests/test_pause.py
"""

from __future__ import annotations

import subprocess

import pytest

from adapters_store.store import Store
from jobs import process
from jobs.ending import Ending
from jobs.resuming import MOST_ATTEMPTS
from jobs.runner import Runner
from jobs.verdict import verdict
from jobs.worker import do
from studio import again, cli, line, run_facts
from studio.actions import ActionError
from tests.test_resume import VALUES, left, whole
from tests.test_runner import died, job_like
from tests.workshop import submit_run, wait_for, wait_for_state

pytestmark = pytest.mark.usefixtures("one_thread_each", "no_runner", "forked")


def test_a_paused_run_waits_for_a_person_and_leaves_the_adapter_of_one_that_was_not(
    store: Store, workers: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORA_STUDIO_CHECKPOINT_SECONDS", "3600")  # so only the one that the pause writes
    calm, job = whole(store, epochs=24), submit_run(store, **{**VALUES, "epochs": 24})
    command = process.module_command("jobs.worker", str(job.id), "--data-dir", str(store.files.root))
    workers.append(process.start_detached(command, store.files.log(f"job-{job.id}")))
    wait_for(lambda: store.job(job.id).progress.get("step"), 90, "a step")
    asked = line.pause_run(store, job.id)
    assert run_facts.opened(asked)["sentence"] == "Pausing after the last whole step."
    assert workers[-1].wait(20) == 0
    paused = store.job(job.id)
    (kept,) = store.checkpoints(job.id)
    assert (paused.state, paused.why) == ("paused", f"Paused after step {kept.step}.")
    assert 0 < kept.step < paused.progress["steps"]

    body = Runner(store)
    body.step()
    assert not body.busy()
    assert store.job(job.id).state == "paused", "not by itself, also not at the start of a runner"

    again.after_interruption(store, paused)
    do(store, job.id, Ending())
    done = store.job(job.id)
    assert (done.state, done.attempt) == ("completed", 2)
    assert done.progress["resumed"] == f"Continued from step {kept.step}."
    assert left(store, done) == left(store, calm)


def test_a_pause_before_the_first_step_keeps_nothing_and_loses_nothing(store: Store) -> None:
    job = submit_run(store, **VALUES)

    class Asked(Ending):
        """The person asks while the model is loaded."""

        def check(self) -> None:
            if store.job(job.id).stop is None:
                store.request_stop(job.id, "pause")
                wait_for(lambda: self._asked, 10, "the wish to arrive")
            super().check()

        def call_off(self) -> None:
            self._asked = True

    do(store, job.id, Asked())
    paused = store.job(job.id)
    assert (paused.state, paused.checkpoint_step) == ("paused", None)
    assert paused.why == "Paused before its first step was kept; it will begin there."
    store.move(job.id, "queued", who="person")
    do(store, job.id, Ending())
    assert left(store, store.job(job.id)) == left(store, whole(store))


@pytest.mark.parametrize("boot", ["the boot before", None])
def test_a_run_whose_worker_died_while_it_paused_stays_paused(store: Store, boot: str | None) -> None:
    job = submit_run(store)
    died(store, job.id, boot)
    line.pause_run(store, job.id)
    Runner(store).step()
    assert store.job(job.id).state == "paused"
    assert "gone before it had paused" in store.job(job.id).why


def test_what_is_being_saved_is_not_paused_any_more() -> None:
    assert verdict(job_like("finishing", "pause"), -9)[0] == "interrupted"


def test_pauses_are_no_attempts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Runner, "_start_next", lambda self: None)
    job = submit_run(store)
    for _ in range(MOST_ATTEMPTS):
        died(store, job.id)
        line.pause_run(store, job.id)
        Runner(store).step()
        again.after_interruption(store, store.job(job.id))
    died(store, job.id)
    Runner(store).step()
    assert store.job(job.id).state == "queued", "its first interruption: it goes on by itself"


def test_only_a_run_that_waits_or_trains_can_be_paused(store: Store) -> None:
    fetch = store.submit("fetch", "tiny", {})
    with pytest.raises(ActionError, match="tiny is no run"):
        line.pause_run(store, fetch.id)
    job = submit_run(store)
    store.request_stop(job.id, "cancel")
    with pytest.raises(ActionError, match=r"tiny-run is cancelled\. Only a run that waits or trains"):
        line.pause_run(store, job.id)


def test_a_paused_run_stands_in_the_queue_with_its_buttons(store: Store) -> None:
    job = line.pause_run(store, submit_run(store).id)
    (row,) = run_facts.rows([job], [])
    assert (row["group"], row["word"], row["fact"], row.get("up")) == (
        "Queue",
        "paused",
        "Paused while it waited",
        None,
    )
    opened = run_facts.opened(job)
    assert (opened["again"], opened["go_on"], opened["pause"], opened["live"]) == (True, 0, False, False)


def test_the_command_line_pauses_and_says_how_it_stands(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    job, folder = submit_run(store), ["--data-dir", str(store.files.root)]
    assert cli.main(["jobs", "pause", str(job.id), *folder]) == 0
    assert capsys.readouterr().out == "Paused while it waited.\n"
    assert cli.main(["jobs", "pause", str(job.id), *folder]) == 2
    line.pause_queue(store, True)
    assert cli.main(["jobs", "continue", str(job.id), "--detach", *folder]) == 0
    wait_for_state(store, job.id, "queued")
