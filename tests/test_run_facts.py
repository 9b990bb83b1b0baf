"""What the Runs tab says about jobs: groups in order, readings that were measured, buttons that make sense."""

import json
from typing import Any

from adapters_store.tables import Job
from studio import run_facts


def job(id: int = 1, state: str = "running", kind: str = "train", **more: Any) -> Job:
    facts: dict[str, Any] = {
        "name": f"run-{id}",
        "why": "",
        "stop": None,
        "settings": {"rank": 16, "alpha": 32, "learning_rate": 2e-4},
        "progress": {},
        "created_at": 1000.0 + id,
        "started_at": 2000.0,
        "finished_at": None,
        "attempt": 1,
        "adapter_id": None,
        "base_model": None,
        "data_set": None,
    }
    return Job(id=id, state=state, kind=kind, **{**facts, **more})


def test_the_list_shows_what_runs_then_the_queue_in_its_order_then_the_newest_done() -> None:
    first, second = job(3, "queued"), job(5, "queued")
    jobs = [job(6, "failed", why="The disk is full. Free some space."), second, job(4), first, job(2, "completed")]
    rows = run_facts.rows(jobs, [first, second])
    assert [(row["group"], row["key"]) for row in rows] == [
        ("Now", 4),
        ("Queue", 3),
        ("Queue", 5),
        ("Done", 6),
        ("Done", 2),
    ]
    assert [row["fact"] for row in rows] == ["starting", "next", "second", "The disk is full", ""]


def test_a_running_job_shows_how_far_it_is_and_what_was_measured() -> None:
    seen = {"step": 55, "steps": 90, "loss": 1.42, "seconds_left": 250, "tokens_per_second": 412.4}
    opened = run_facts.opened(job(progress=seen))
    figures = {figure["key"]: figure["value"] for figure in opened["figures"]}
    assert figures == {"Loss": "1.42", "Validation": "–", "Tokens/s": "412", "Time left": "4:10"}
    assert opened["share"] == 55 / 90
    assert run_facts.rows([job(progress=seen)], [])[0]["fact"] == "step 55 of 90"


def test_a_finished_run_shows_its_best_validation_and_how_long_it_took() -> None:
    seen = {"step": 90, "steps": 90, "loss": 1.1, "validation_loss": 1.4, "best_validation_loss": 1.31, "best_step": 80}
    done = job(state="completed", progress=seen, adapter_id=7, finished_at=2000.0 + 3850)
    opened = run_facts.opened(done)
    figures = {figure["key"]: figure["value"] for figure in opened["figures"]}
    assert (figures["Best validation"], figures["Took"]) == ("1.31", "1:04:10")
    assert (opened["adapter"], opened["again"], opened["live"]) == (7, True, False)


def test_a_run_is_told_by_its_method() -> None:
    settings = {"method": "blocks", "blocks": 2, "rank": 16, "learning_rate": 5e-5}
    assert run_facts.opened(job(settings=settings))["about"] == "Last blocks, 2 trained, learning rate 5e-5"


def test_a_queued_run_has_no_figures_and_can_only_be_cancelled() -> None:
    opened = run_facts.opened(job(state="queued", started_at=None))
    assert opened["figures"] == []
    assert (opened["waiting"], opened["live"], opened["again"]) == (True, False, False)


def test_a_download_shows_bytes_and_no_curve() -> None:
    seen = {"stage": "Downloading the starter model", "done_bytes": 41_000_000, "total_bytes": 92_000_000}
    fetch = job(kind="fetch", progress=seen)
    assert run_facts.rows([fetch], [])[0]["fact"] == "model, 41 of 92 MB"
    opened = run_facts.opened(fetch)
    assert (opened["train"], opened["figures"]) == (False, [])
    assert abs(opened["share"] - 41 / 92) < 1e-9


def test_all_of_it_is_plain_json() -> None:
    states = [
        "queued",
        "starting",
        "running",
        "finishing",
        "completed",
        "stopped",
        "cancelled",
        "failed",
        "interrupted",
    ]
    for state in states:
        one = job(state=state, finished_at=3000.0)
        json.dumps([run_facts.opened(one), run_facts.rows([one], [])], allow_nan=False)


def test_an_interrupted_run_says_from_which_step_it_can_be_continued() -> None:
    why = "The worker was killed by signal 9, probably out of memory. Continue it from step 40."
    with_one, without = job(state="interrupted", why=why, checkpoint_step=40), job(state="interrupted", why="Gone.")
    assert (run_facts.opened(with_one)["go_on"], run_facts.opened(with_one)["sentence"]) == (40, why)
    assert run_facts.opened(without)["go_on"] is None
    assert run_facts.opened(job(state="running", checkpoint_step=40))["go_on"] is None


def test_what_an_interruption_cost_is_said_with_the_run() -> None:
    seen = {"step": 55, "steps": 90, "resumed": "Continued from step 40.", "checkpoint_problem": "The disk is full."}
    assert run_facts.opened(job(progress=seen))["sentence"] == (
        "Step 55 of 90. Continued from step 40. The disk is full."
    )


def test_a_row_says_what_the_job_is_if_it_is_no_run() -> None:
    jobs = [
        job(1, kind="train"),
        job(2, kind="fetch", progress={"stage": "Downloading"}),
        job(3, "queued", kind="import"),
        job(4, "completed", kind="export"),
        job(5, "failed", kind="import", why="The zip is empty. Choose another."),
    ]
    facts = {row["key"]: row["fact"] for row in run_facts.rows(jobs, [jobs[2]])}
    assert facts == {
        1: "starting", 2: "model, Downloading", 3: "import, next", 4: "merge", 5: "import, The zip is empty"
    }  # fmt: skip
