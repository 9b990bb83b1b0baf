"""Runs that start from an adapter, by real workers on the tiny model: they go on from it, and say where they cannot.

pytest tests/test_start_adapter.py
"""

from __future__ import annotations

from typing import Any

import pytest

from adapters_store.store import Store
from adapters_store.tables import Adapter, Job
from jobs import process, start_adapter
from jobs.ending import Ending
from jobs.worker import do
from tests.workshop import QUICK, add_base, add_rows, submit_run, wait_for_state

pytestmark = pytest.mark.usefixtures("one_thread_each", "forked")


def finished(store: Store, job: Job) -> Adapter:
    """The adapter of a run that is done here and now."""
    do(store, job.id, Ending())
    return store.adapter(wait_for_state(store, job.id, "completed").adapter_id or 0)


def trained(store: Store, **settings: Any) -> Adapter:
    return finished(store, submit_run(store, **settings))


def submit_from(store: Store, start: Adapter, rows: int = 24, **settings: object) -> Job:
    values: dict[str, Any] = {**start_adapter.shape_of(start).model_dump(mode="json"), **QUICK, **settings}
    values |= {
        name: value
        for name, value in start_adapter.shape_of(start).model_dump(mode="json").items()
        if name in ("rank", "alpha") and name not in settings
    }
    return store.submit(
        "train",
        "more",
        values,
        base_model_id=start.base_model_id,
        data_set_id=add_rows(store, rows).id,
        start_adapter_id=start.id,
    )


def failed(store: Store, job: Job) -> str:
    do(store, job.id, Ending())
    return wait_for_state(store, job.id, "failed").why


def test_a_worker_goes_on_from_an_adapter_and_what_it_makes_knows_its_parent(store: Store) -> None:
    parent = trained(store)
    job = submit_from(store, parent)
    command = process.module_command("jobs.worker", str(job.id), "--data-dir", str(store.files.root))
    assert process.start_detached(command, store.files.log(f"job-{job.id}")).wait(120) == 0
    done = wait_for_state(store, job.id, "completed")
    child = store.adapter(done.adapter_id or 0)
    assert (child.parent_id, child.parent_name) == (parent.id, parent.name)
    assert child.sha256 != parent.sha256
    assert child.base_validation_loss == pytest.approx(parent.base_validation_loss)
    first = store.metrics(job.id)[0]
    assert first.step == 0
    assert first.validation_loss == pytest.approx(parent.validation_loss, rel=1e-4)
    assert (child.validation_loss or 9) < (parent.validation_loss or 0)


@pytest.mark.parametrize(
    "way",
    [
        {"start": "pissa"},
        {"method": "dora", "bias": "lora_only"},
        {"method": "prompt", "rank": 16, "alpha": 32, "prompt_tokens": 4, "learning_rate": 0.05},
        {"method": "blocks", "rank": 16, "alpha": 32, "blocks": 1},
    ],
    ids=["pissa", "dora", "prompt", "blocks"],
)
def test_every_kind_of_adapter_can_be_trained_on_and_the_base_s_loss_stays_its_own(
    store: Store, way: dict[str, object]
) -> None:
    parent = trained(store, **way)
    job = submit_from(store, parent, learning_rate=1e-4)
    child = finished(store, job)
    assert child.base_validation_loss == pytest.approx(parent.base_validation_loss)
    assert store.metrics(job.id)[0].validation_loss == pytest.approx(parent.validation_loss, rel=1e-4)
    assert start_adapter.shape_of(child) == start_adapter.shape_of(child).model_copy(
        update={name: getattr(start_adapter.shape_of(parent), name) for name in ("rank", "alpha", "method", "start")}
    )


def test_the_same_start_data_and_settings_give_the_same_adapter(store: Store) -> None:
    parent = trained(store)
    one, two = (finished(store, submit_from(store, parent)) for _ in range(2))
    assert one.sha256 == two.sha256
    assert one.name != two.name


def test_a_run_that_cannot_better_its_start_says_so(store: Store) -> None:
    from jobs.progress import job_sentence

    parent = trained(store, epochs=12)
    job = submit_from(store, parent, learning_rate=1.0, epochs=1)
    child = finished(store, job)
    assert (child.validation_loss or 0) > (parent.validation_loss or 9)
    assert "no better than" in job_sentence(store.job(job.id))


def test_an_adapter_that_was_deleted_or_changed_is_not_trained_on(store: Store) -> None:
    parent = trained(store)
    job, other = submit_from(store, parent), submit_from(store, parent)
    store.delete_adapter(parent.id)
    assert f"{parent.name} was deleted. Bring it back" in failed(store, job)
    store.restore_adapter(parent.id)
    file = store.adapter_path(parent) / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"abcd")
    assert "damaged on disk" in failed(store, other)


def test_a_run_of_another_base_or_another_shape_is_refused_in_words(store: Store, tmp_path: Any) -> None:
    from tests.tiny import make_tiny_model

    parent = trained(store)
    told = failed(store, submit_from(store, parent, rank=8, target_modules=["q_proj"]))
    assert f"Rank (r) is 8, but {parent.name} has 4" in told
    assert f"Target modules is q_proj, but {parent.name} has every linear layer" in told
    gpt2 = add_base(store, make_tiny_model(tmp_path / "gpt2", "gpt2"))
    values = {**QUICK}
    job = store.submit(
        "train", "odd", values, base_model_id=gpt2.id, data_set_id=add_rows(store).id, start_adapter_id=parent.id
    )
    assert "belongs to tiny" in failed(store, job)
