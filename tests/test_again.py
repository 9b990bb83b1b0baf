"""Runs that go on from an adapter, asked for by a person: what shape they get, and what is refused in words."""

from __future__ import annotations

from typing import Any

import pytest

from adapters_store.store import Store
from adapters_store.tables import Adapter, BaseModel, DataSet, Job, Owner
from engine.settings import RunSettings, SettingsError, parse
from engine.shape import SHAPE
from studio import actions, again
from studio.actions import ActionError
from tests.furnish import FACTS, add_adapter

pytestmark = pytest.mark.usefixtures("no_runner")

LORA = {"rank": 4, "alpha": 8, "target_modules": ["q_proj"]}


def adapter(store: Store, furnished: tuple[BaseModel, DataSet], job: Job | None = None, **settings: Any) -> Adapter:
    """An adapter as a run with these settings leaves it."""
    chosen = parse({**LORA, **settings})
    facts: dict[str, Any] = {"rank": chosen.rank, "alpha": chosen.alpha, "settings": chosen.model_dump(mode="json")}
    return add_adapter(store, *furnished, name="pirate", job_id=job.id if job else None, **facts)


def done(store: Store, furnished: tuple[BaseModel, DataSet], state: str = "completed", **settings: Any) -> Job:
    """A run that has ended in `state`, and left an adapter if such a run does."""
    base, data = furnished
    job = actions.start_run(
        store, base_model_id=base.id, data_set_id=data.id, values={**LORA, **settings}, name="pirate"
    )
    assert store.claim(job.id, Owner(1, 1.0, "boot")) is not None
    for step in ("running", "finishing"):
        store.move(job.id, step, who="test")
    if state in again.ENDED_WITH_ADAPTER:
        adapter(store, furnished, job, **settings)
    return store.move(job.id, state, who="test")


def start(store: Store, furnished: tuple[BaseModel, DataSet], start: Adapter, **values: object) -> Job:
    base, data = furnished
    return actions.start_run(
        store, base_model_id=base.id, data_set_id=data.id, values=values, start_adapter_id=start.id
    )


def test_a_run_takes_its_shape_from_the_adapter_it_starts_from(
    store: Store, furnished: tuple[BaseModel, DataSet]
) -> None:
    parent = adapter(store, furnished, method="dora", bias="lora_only", rank_stabilised=True, seed=7)
    job = start(store, furnished, parent, epochs=5)
    settings = parse(job.settings)
    assert {name: getattr(settings, name) for name in SHAPE} == {
        name: getattr(parse(parent.settings), name) for name in SHAPE
    }
    assert (settings.epochs, settings.seed) == (5, 7)
    assert (job.start_adapter_id, job.start_adapter_name, job.name) == (parent.id, "pirate", "pirate-2")


def test_a_copy_with_new_data_is_named_after_both(store: Store, furnished: tuple[BaseModel, DataSet]) -> None:
    parent = adapter(store, furnished, seed=7)
    other = store.data_sets()[1]
    job = start(store, (furnished[0], other), parent)
    assert job.name == f"pirate-{other.name}"
    assert job.settings["seed"] == RunSettings().seed


def test_all_that_contradicts_the_adapter_is_told_at_once(store: Store, furnished: tuple[BaseModel, DataSet]) -> None:
    parent = adapter(store, furnished)
    with pytest.raises(SettingsError) as refused:
        start(store, furnished, parent, rank="8", alpha="8", method="dora", target_modules=["v"], epochs="many")
    assert refused.value.problems == [
        "Method is DoRA, but pirate has LoRA, and a run that starts from it keeps its shape. Leave Method as it is.",
        "Rank (r) is 8, but pirate has 4, and a run that starts from it keeps its shape. Leave Rank (r) as it is.",
        "Target modules is v, but pirate has q_proj, and a run that starts from it keeps its shape. "
        "Leave Target modules as it is.",
        "Epochs is many, but should be a whole number from 1 to 1000.",
    ]
    assert store.jobs() == []


def test_an_adapter_of_another_base_or_a_deleted_one_is_no_start(
    store: Store, furnished: tuple[BaseModel, DataSet]
) -> None:
    parent = adapter(store, furnished)
    other = store.add_base_model(
        name="other", source="folder", path=str(store.files.root), folder=None, fingerprint="sha256:o", facts=FACTS
    )
    with pytest.raises(
        ActionError, match=r"so a run of other cannot start from it\. Choose tiny, or leave --model out\."
    ):
        start(store, (other, furnished[1]), parent)
    (store.adapter_path(parent) / "adapter_model.safetensors").unlink()
    with pytest.raises(ActionError, match="gone from disk"):
        start(store, furnished, parent)
    store.delete_adapter(parent.id)
    with pytest.raises(
        ActionError, match=r"pirate was deleted\. Bring it back first: python -m studio adapters restore \d+$"
    ):
        start(store, furnished, parent)


@pytest.mark.parametrize("state", ["completed", "stopped"])
def test_more_epochs_start_from_what_the_run_has_left(
    store: Store, furnished: tuple[BaseModel, DataSet], state: str
) -> None:
    job = done(store, furnished, state, learning_rate=1e-3, seed=3)
    more = again.more_epochs(store, job, 7, key="once")
    assert more.start_adapter_id == job.adapter_id
    assert more.settings == {**job.settings, "epochs": 7}
    assert (more.base_model_id, more.data_set_id, more.name) == (job.base_model_id, job.data_set_id, "pirate-2")
    assert again.more_epochs(store, job, 7, key="once").id == more.id
    assert again.more_epochs(store, job, 7).name == "pirate-3"  # the one that waits has its name already


def test_more_epochs_after_a_pissa_start_go_on_as_lora(store: Store, furnished: tuple[BaseModel, DataSet]) -> None:
    job = done(store, furnished, start="pissa")
    more = again.more_epochs(store, job, 2)
    assert (more.settings["start"], more.settings["rank"], more.settings["alpha"]) == ("gaussian", 8, 16)


def test_what_cannot_go_on_says_why(store: Store, furnished: tuple[BaseModel, DataSet]) -> None:
    with pytest.raises(ActionError, match=r"is failed\. Only a run that is completed"):
        again.more_epochs(store, done(store, furnished, "failed"), 1)
    with pytest.raises(ActionError, match="did not train"):
        again.more_epochs(store, store.submit("fetch", "model", {}), 1)
    job = done(store, furnished)
    with pytest.raises(SettingsError, match="Epochs is 0"):
        again.more_epochs(store, job, 0)
    store.delete_adapter(job.adapter_id or 0)
    with pytest.raises(
        ActionError, match=r"pirate was deleted\. Bring it back first: python -m studio adapters restore \d+$"
    ):
        again.more_epochs(store, store.job(job.id), 1)
    assert not again.can_go_on(store.job(job.id))


def test_the_same_run_again_keeps_its_start(store: Store, furnished: tuple[BaseModel, DataSet]) -> None:
    parent = adapter(store, furnished)
    job = start(store, furnished, parent, epochs=2)
    repeated = again.from_the_beginning(store, job)
    assert (repeated.settings, repeated.start_adapter_id) == (job.settings, parent.id)
