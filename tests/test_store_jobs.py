"""Jobs: queued once, claimed once, moved only along the table, and written to only by whoever holds them."""

import math
from itertools import pairwise, product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters_store.states import FINAL, LIVE, TRANSITIONS, allowed
from adapters_store.store import Job, LeaseLost, NotFound, Owner, Store, StoreError

ME, OTHER = Owner(101, 1000.5, "boot-a"), Owner(202, 2000.5, "boot-a")

WAY_TO: dict[str, tuple[str, ...]] = {
    "starting": (),
    "running": ("running",),
    "finishing": ("running", "finishing"),
    "completed": ("running", "finishing", "completed"),
    "stopped": ("running", "finishing", "stopped"),
    "paused": ("paused",),
    "interrupted": ("interrupted",),
    "cancelled": ("cancelled",),
    "failed": ("failed",),
}


def claimed(store: Store, owner: Owner = ME) -> Job:
    job = store.claim(store.submit("train", "run", {"rank": 4}).id, owner)
    assert job is not None
    return job


def in_state(store: Store, state: str) -> Job:
    if state == "queued":
        return store.submit("train", "run", {})
    job = claimed(store)
    for step in WAY_TO[state]:
        job = store.move(job.id, step, who="test")
    return job


def everything(store: Store, job_id: int) -> tuple[object, ...]:
    job = store.job(job_id)
    columns = tuple(getattr(job, name) for name in Job.__table__.columns.keys())  # noqa: SIM118
    return columns, len(store.metrics(job_id)), len(store.job_events(job_id)), store.revision()


# --- queueing ---------------------------------------------------------------------------------------------------------


def test_a_job_waits_with_all_it_was_given(store: Store) -> None:
    base = store.add_base_model(
        name="tiny", source="folder", path="/m", folder=None, fingerprint="f", facts={"layers": 2}
    )
    job = store.submit("train", "  pirate \n style ", {"rank": 16, "target_modules": None}, base_model_id=base.id)
    assert (job.name, job.state, job.settings) == ("pirate style", "queued", {"rank": 16, "target_modules": None})
    assert job.base_model is not None
    assert job.base_model.facts == {"layers": 2}
    assert (job.data_set, job.adapter_id, job.owner, job.progress) == (None, None, None, {})


def test_the_same_key_is_the_same_job_whatever_else_was_said(store: Store) -> None:
    first = store.submit("train", "run", {"rank": 4}, key="click-1")
    before = store.revision()
    again = store.submit("train", "other", {"rank": 8}, key="click-1")
    assert (again.id, again.settings, store.revision()) == (first.id, {"rank": 4}, before)
    assert store.submit("train", "run", {}, key="click-2").id != first.id
    assert store.submit("train", "run", {}).id != store.submit("train", "run", {}).id


def test_what_makes_no_sense_is_not_queued(store: Store) -> None:
    with pytest.raises(StoreError, match="not a kind of job: train, fetch"):
        store.submit("dance", "run", {})
    with pytest.raises(StoreError, match="at least one character"):
        store.submit("train", " \n", {})
    with pytest.raises(NotFound, match="no base model with the number 7"):
        store.submit("train", "run", {}, base_model_id=7)
    with pytest.raises(NotFound, match="no data set with the number 8"):
        store.submit("train", "run", {}, data_set_id=8)
    assert (store.jobs(), store.revision()) == ([], 0)


def test_jobs_are_listed_newest_first_and_waiting_ones_in_their_turn(store: Store) -> None:
    first, second, third = (store.submit(kind, "run", {}).id for kind in ("train", "fetch", "train"))
    store.claim(second, ME)
    assert [job.id for job in store.jobs()] == [third, second, first]
    assert [job.id for job in store.jobs(kinds=["train"], limit=1)] == [third]
    assert [job.id for job in store.jobs(states=["starting"])] == [second]
    assert [job.id for job in store.waiting()] == [first, third]
    assert store.waiting(["fetch"]) == []
    assert [job.id for job in store.running_jobs()] == [second]


def test_a_job_there_never_was_is_not_found(store: Store) -> None:
    for ask in (store.job, lambda id: store.move(id, "running", who="x"), lambda id: store.request_stop(id, "keep")):
        with pytest.raises(NotFound, match="no job with the number 99"):
            ask(99)
    with pytest.raises(NotFound):
        store.beat(99, 1)
    assert store.claim(99, ME) is None


# --- claiming and the token -------------------------------------------------------------------------------------------


def test_a_claim_names_its_owner_and_is_given_once(store: Store) -> None:
    job = claimed(store)
    assert (job.state, job.attempt, job.token, job.owner) == ("starting", 1, 1, ME)
    assert job.started_at == job.heartbeat_at is not None
    assert store.claim(job.id, OTHER) is None
    assert store.job(job.id).owner == ME


def test_a_stale_token_writes_nothing(store: Store) -> None:
    stale = claimed(store)
    store.move(stale.id, "interrupted", who="runner")
    store.move(stale.id, "queued", who="runner")
    current = store.claim(stale.id, OTHER)
    assert current is not None
    assert current.token == stale.token + 1
    assert_writes_nothing(store, stale.id, stale.token)
    store.report(stale.id, current.token, metrics=[{"step": 0, "loss": 2.0}])
    assert len(store.metrics(stale.id)) == 1


@pytest.mark.parametrize("state", sorted({*FINAL, "interrupted", "paused"}))
def test_the_token_of_a_job_nobody_works_on_any_more_writes_nothing(store: Store, state: str) -> None:
    job = in_state(store, state)
    assert_writes_nothing(store, job.id, job.token)


def assert_writes_nothing(store: Store, job_id: int, token: int) -> None:
    before = everything(store, job_id)
    with pytest.raises(LeaseLost, match="no longer holds it"):
        store.beat(job_id, token)
    with pytest.raises(LeaseLost):
        store.report(job_id, token, metrics=[{"step": 9, "loss": 1.0}], progress={"step": 9})
    with pytest.raises(LeaseLost):
        store.move(job_id, "running", who="old worker", token=token)
    assert everything(store, job_id) == before


def test_a_heartbeat_is_noted_but_is_no_news(data_dir: Path) -> None:
    now = 1000.0
    store = Store(data_dir, clock=lambda: now)
    job = claimed(store)
    before, now = store.revision(), 1060.0
    store.beat(job.id, job.token)
    assert (store.job(job.id).heartbeat_at, store.revision()) == (1060.0, before)
    now = 1090.0
    store.report(job.id, job.token, progress={"step": 1})
    assert store.job(job.id).heartbeat_at == 1090.0
    store.close()


# --- changing state ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "to"), list(product(TRANSITIONS, TRANSITIONS)))
def test_a_job_moves_along_the_table_and_no_other_way(store: Store, state: str, to: str) -> None:
    job = in_state(store, state)
    before = everything(store, job.id)
    if allowed(state, to):
        assert store.move(job.id, to, who="test", why="because").state == to
        event = store.job_events(job.id)[-1]
        assert (event.state_from, event.state_to, event.who, event.why) == (state, to, "test", "because")
    else:
        with pytest.raises(StoreError, match=f"is {state} and cannot become {to}; after {state} comes"):
            store.move(job.id, to, who="test")
        assert everything(store, job.id) == before


def test_a_state_that_there_is_not_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="cannot become asleep"):
        store.move(claimed(store).id, "asleep", who="test")


def test_the_events_of_a_job_tell_its_whole_life(store: Store) -> None:
    job = claimed(store)
    for to in ("running", "finishing", "completed"):
        store.move(job.id, to, who="worker", token=job.token)
    told = [(event.state_from, event.state_to) for event in store.job_events(job.id)]
    chain = ["queued", "starting", "running", "finishing", "completed"]
    assert told == list(zip([None, *chain], chain, strict=False))
    assert store.job(job.id).finished_at is not None


def test_an_interrupted_job_that_is_queued_again_begins_anew(store: Store) -> None:
    job = claimed(store)
    store.request_stop(job.id, "keep")
    store.report(job.id, job.token, metrics=[{"step": 5, "loss": 1.0}], progress={"step": 5})
    store.move(job.id, "interrupted", who="runner", why="killed by signal 9")
    kept = store.job(job.id)
    assert (kept.why, kept.progress, len(store.metrics(job.id))) == ("killed by signal 9", {"step": 5}, 1)
    again = store.move(job.id, "queued", who="person")
    assert (again.progress, again.stop, again.owner, again.started_at, again.finished_at) == (
        {},
        None,
        None,
        None,
        None,
    )
    assert store.metrics(job.id) == []
    assert [waiting.id for waiting in store.waiting()] == [job.id]
    second = store.claim(job.id, OTHER)
    assert second is not None
    assert (second.attempt, second.token) == (2, 2)


# --- asking to stop ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["keep", "cancel"])
def test_a_queued_job_is_cancelled_at_once(store: Store, how: str) -> None:
    job = store.request_stop(in_state(store, "queued").id, how)  # type: ignore[arg-type]
    assert (job.state, job.why, job.stop) == ("cancelled", "Cancelled before it began.", None)
    assert store.claim(job.id, ME) is None


@pytest.mark.parametrize("state", sorted(LIVE))
def test_a_worker_sees_that_it_is_asked_to_stop(store: Store, state: str) -> None:
    job = store.request_stop(in_state(store, state).id, "keep", "page")
    assert (job.state, job.stop) == (state, "keep")
    event = store.job_events(job.id)[-1]
    assert (event.state_from, event.state_to, event.who, event.why) == (state, state, "page", "asked to stop: keep")


def test_cancel_outweighs_keep_and_asking_again_is_no_news(store: Store) -> None:
    job = claimed(store)
    assert [store.request_stop(job.id, how).stop for how in ("keep", "cancel", "keep")] == ["keep", "cancel", "cancel"]
    before = everything(store, job.id)
    store.request_stop(job.id, "cancel")
    assert everything(store, job.id) == before
    with pytest.raises(StoreError, match="not a way to stop"):
        store.request_stop(job.id, "gently")  # type: ignore[arg-type]


@pytest.mark.parametrize("state", sorted(FINAL))
def test_a_job_that_nobody_works_on_is_left_as_it_is(store: Store, state: str) -> None:
    job = in_state(store, state)
    before = everything(store, job.id)
    store.request_stop(job.id, "cancel")
    assert everything(store, job.id) == before


def test_a_queued_job_is_paused_at_once_and_goes_on_where_it_was(store: Store) -> None:
    first, second = in_state(store, "queued"), in_state(store, "queued")
    paused = store.request_stop(first.id, "pause")
    assert (paused.state, paused.why) == ("paused", "Paused while it waited.")
    assert store.claim(first.id, ME) is None
    assert store.request_stop(first.id, "keep").state == "paused"
    store.move(first.id, "queued", who="person")
    assert [job.id for job in store.waiting()] == [first.id, second.id]


def test_the_first_wish_stands_but_cancel_outweighs_all(store: Store) -> None:
    job = claimed(store)
    assert [store.request_stop(job.id, how).stop for how in ("pause", "keep", "cancel", "pause")] == [
        "pause",
        "pause",
        "cancel",
        "cancel",
    ]
    kept = claimed(store)
    assert [store.request_stop(kept.id, how).stop for how in ("keep", "pause")] == ["keep", "keep"]


def test_a_paused_job_that_is_not_to_be_continued_keeps_nothing(store: Store) -> None:
    job = store.request_stop(in_state(store, "paused").id, "cancel")
    assert (job.state, job.why) == ("cancelled", "Not to be continued. Nothing was kept.")


# --- reporting --------------------------------------------------------------------------------------------------------


def test_metrics_are_read_by_step_and_from_any_step_on(store: Store) -> None:
    job = claimed(store)
    store.report(
        job.id, job.token, metrics=[{"step": 2, "loss": 1.5, "tokens": 64}, {"step": 0, "validation_loss": 3.0}]
    )
    store.report(job.id, job.token, metrics=[{"step": 1, "loss": 2.0}])
    assert [(m.step, m.loss, m.validation_loss) for m in store.metrics(job.id)] == [
        (0, None, 3.0),
        (1, 2.0, None),
        (2, 1.5, None),
    ]
    assert [m.step for m in store.metrics(job.id, after_step=0, limit=1)] == [1]
    assert store.metrics(job.id, after_step=2) == store.metrics(claimed(store).id) == []


def test_a_step_told_again_replaces_what_was_told_before(store: Store) -> None:
    job = claimed(store)
    store.report(job.id, job.token, metrics=[{"step": 1, "loss": 2.0, "tokens": 64}])
    store.report(job.id, job.token, metrics=[{"step": 1, "loss": 1.9}])
    assert [(m.loss, m.tokens) for m in store.metrics(job.id)] == [(1.9, None)]


def test_progress_is_merged_and_metrics_and_progress_are_written_together_or_not_at_all(store: Store) -> None:
    job = claimed(store)
    store.report(job.id, job.token, progress={"stage": "loading", "steps": 90})
    store.report(job.id, job.token, progress={"stage": None, "step": 1})
    assert store.job(job.id).progress == {"stage": None, "steps": 90, "step": 1}
    before = everything(store, job.id)
    with pytest.raises(StoreError, match="A metric has a step and any of loss, "):
        store.report(job.id, job.token, metrics=[{"step": 2}, {"step": 3, "weather": "fine"}], progress={"step": 3})
    assert everything(store, job.id) == before


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_kept_as_none_and_breaks_no_reader(store: Store, number: float) -> None:
    job = claimed(store)
    store.report(
        job.id, job.token, metrics=[{"step": 1, "loss": number}], progress={"loss": number, "all": [{"x": number}]}
    )
    assert store.metrics(job.id)[0].loss is None
    assert store.job(job.id).progress == {"loss": None, "all": [{"x": None}]}


# --- any order of events ----------------------------------------------------------------------------------------------

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("claim"), st.sampled_from([ME, OTHER])),
        st.tuples(st.just("move"), st.sampled_from(sorted(TRANSITIONS))),
        st.tuples(st.just("stop"), st.sampled_from(["keep", "cancel", "pause"])),
        st.tuples(st.just("report"), st.integers(0, 4)),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ACTIONS)
def test_whatever_happens_to_a_job_its_events_are_one_unbroken_allowed_way(
    store: Store, actions: list[tuple[str, object]]
) -> None:
    job_id = store.submit("train", "run", {}).id
    for action in actions:
        act(store, job_id, *action)
    events = store.job_events(job_id)
    assert events[0].state_from is None
    for before, after in pairwise(events):
        assert after.state_from == before.state_to
        assert allowed(before.state_to, after.state_to) or after.why.startswith("asked to stop: ")
    job = store.job(job_id)
    assert job.state == events[-1].state_to
    assert job.token == job.attempt == sum(event.state_to == "starting" and event.why == "" for event in events)


def act(store: Store, job_id: int, what: str, how: object) -> None:
    try:
        if what == "claim" and isinstance(how, Owner):
            store.claim(job_id, how)
        elif what == "move":
            store.move(job_id, str(how), who="test", why="moved")
        elif what == "stop":
            store.request_stop(job_id, how)  # type: ignore[arg-type]
        elif isinstance(how, int):
            store.report(job_id, how, progress={"step": 1})
    except StoreError:
        pass
