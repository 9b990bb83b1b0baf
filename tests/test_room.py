"""Whether there is room to answer: estimates against real models, and refusals that name what is missing."""

import gc
import json
import queue
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from transformers.cache_utils import Cache

from adapters_store.store import Store
from adapters_store.tables import BaseModel, DataSet, Owner
from engine import models
from engine.methods.lora import Wrapped
from engine.models import Hardware
from jobs import answerer, room
from jobs.answerer import Desk
from jobs.ask import Answerer
from jobs.requests import KINDS
from jobs.room import Memory, NoRoom
from studio.page import Studio
from tests.workshop import shared_tiny_model

ASKED = [{"role": "user", "content": "What is rain?"}]
SAMPLING = {"seed": 7, "temperature": 0.0, "top_p": 0.95, "max_tokens": 4}
GB = 10**9


def payload(**more: Any) -> dict[str, Any]:
    seats = [{"adapter": None, "messages": ASKED, "sampling": SAMPLING}]
    return {"base_path": str(shared_tiny_model()), "seats": seats, **more}


def has(monkeypatch: pytest.MonkeyPatch, free: dict[str, int]) -> None:
    """This machine has so much memory free by the kind of device, a GPU among them where one is named."""
    monkeypatch.setattr(room, "memory", lambda kind: Memory(free[kind], 10 * GB))
    name = "A GPU" if "cuda" in free else ""
    monkeypatch.setattr(models, "find_hardware", lambda: Hardware(cuda_name=name, cuda_bf16=True))


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_bytes_of_a_base_are_those_of_its_parameters(kind: str) -> None:
    path = shared_tiny_model(kind)
    loaded = models.load(path)
    held = sum(parameter.nbytes for parameter in loaded.model.parameters())
    assert room.base_bytes(path, "full", 4) == pytest.approx(held, rel=0.05)
    assert room.base_bytes(path, "full", 2) == room.base_bytes(path, "full", 4) // 2


def test_the_bytes_of_answers_are_those_of_the_caches_they_fill() -> None:
    loaded = models.load(shared_tiny_model())
    with torch.inference_mode():
        cache = loaded.model(input_ids=torch.ones((3, 20), dtype=torch.long), use_cache=True).past_key_values
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    logits = 3 * 4 * loaded.model.config.vocab_size
    assert room.answers_bytes(loaded.path, room.Answers(3, 20), 4) == held + logits


def test_as_many_answer_at_the_same_time_as_half_of_the_free_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    base = models.load(shared_tiny_model())
    each = room.answers_bytes(base.path, room.Answers(1, 100), 4)
    reserved = int(room.SPARE_SHARE * 10 * GB)
    for free, rows in ((0, 1), (reserved + 10 * each, 5), (9 * GB, room.MOST_ROWS["cpu"])):
        has(monkeypatch, {"cpu": free})
        assert room.rows_at_once(base, 100, beside=GB) == rows


def test_too_little_memory_is_refused_before_the_base_is_loaded_with_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    has(monkeypatch, {"cpu": 100_000})
    monkeypatch.setattr(models, "load", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(NoRoom, match=r"this machine has 0 MB free: about 300 MB are missing.*Close other"):
        list(KINDS["compare"](Desk(), payload(), lambda: False))


def test_beside_a_run_on_the_only_gpu_the_ways_out_are_named_and_the_cpu_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    has(monkeypatch, {"cuda": GB, "cpu": 8 * GB})
    desk, beside = Desk(), payload(run="long run", spare_bytes=2 * GB)
    with pytest.raises(NoRoom, match=r"the GPU has 1\.00 GB free: about 1\.30 GB are missing") as refused:
        list(KINDS["compare"](desk, beside, lambda: False))
    assert "long run is under way and keeps its memory" in str(refused.value)
    assert "pause or stop it, or answer on the CPU" in str(refused.value)
    assert refused.value.about == {"no_room": "cuda", "run": "long run"}
    *_, last = KINDS["compare"](desk, {**beside, "device": "cpu"}, lambda: False)
    assert (last["device"], last["tokens"]) == ("cpu", [4])


@pytest.mark.parametrize(
    ("more", "cancelled_after", "kept"),
    [
        ({}, None, True),
        ({}, 2, True),
        ({"run": "long run"}, None, False),
        ({"run": "long run", "keep_base": True}, None, True),
        ({"run": "long run", "keep_base": True}, 2, False),
    ],
)
def test_beside_a_run_the_base_is_given_back_as_soon_as_it_has_answered_or_was_cancelled(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], cancelled_after: int | None, kept: bool
) -> None:
    has(monkeypatch, {"cpu": 8 * GB})
    desk, line = Desk(), Spoken(cancelled_after)
    answerer.answer(desk, line, {"id": 1, "kind": "compare", **payload(**more)})  # type: ignore[arg-type]
    assert ("error" in line.said[-1], "cancelled" in line.said[-1].get("result", {})) == (False, bool(cancelled_after))
    assert (desk._base is not None) == kept


class Spoken:
    """The line to somebody who takes the request back after so many parts."""

    def __init__(self, cancelled_after: int | None) -> None:
        self.said: list[dict[str, Any]] = []
        self._after = cancelled_after

    def cancelled(self, number: int) -> bool:
        return self._after is not None and len(self.said) >= self._after

    def say(self, number: int, **content: object) -> None:
        self.said.append(json.loads(json.dumps(content)))


def test_a_question_taken_back_leaves_no_cache_of_its_rows_and_the_next_is_answered_at_once(
    monkeypatch: pytest.MonkeyPatch, sound: Path
) -> None:
    has(monkeypatch, {"cpu": 8 * GB})
    desk, line = Desk(), Spoken(3)
    seats = [{"adapter": folder, "messages": ASKED} for folder in (None, str(sound), str(sound))]
    asked = {"id": 1, "kind": "compare", "base_path": str(shared_tiny_model())}
    long, short = ([{**seat, "sampling": {**SAMPLING, "max_tokens": most}} for seat in seats] for most in (200, 4))
    gc.collect()
    gc.disable()  # what only a collection would find stays until some later question
    try:
        answerer.answer(desk, line, {**asked, "seats": long})  # type: ignore[arg-type]
        caches = [one for one in gc.get_objects() if issubclass(type(one), Cache)]
    finally:
        gc.enable()
    assert [list(one) for one in line.said] == [["part"]] * 3 + [["result"]]  # within one token
    assert line.said[-1]["result"] == {"cancelled": True}
    assert caches == []
    loaded = desk._base[1].model
    assert [path for path, module in loaded.named_modules() if isinstance(module, Wrapped)] == []
    monkeypatch.setattr(models, "load", lambda *_, **__: pytest.fail("it was loaded again"))
    *_, last = KINDS["compare"](desk, {**asked, "seats": short}, lambda: False)
    monkeypatch.undo()
    *_, undisturbed = KINDS["compare"](Desk(), {**asked, "seats": short}, lambda: False)
    assert last["texts"] == undisturbed["texts"]


def test_what_can_be_done_about_a_refusal_reaches_whoever_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, {"cpu": 100_000})
    line = Spoken(None)
    answerer.answer(Desk(), line, {"id": 1, "kind": "compare", **payload(run="long run")})  # type: ignore[arg-type]
    assert line.said[-1]["about"] == {"no_room": "cpu", "run": "long run"}


def test_this_machine_says_what_it_has() -> None:
    found = room.memory("cpu")
    assert 0 < found.free <= found.total


class Noted(Answerer):
    """Notes what is asked in spare time."""

    def __init__(self) -> None:
        super().__init__(Path())
        self.asked: queue.Queue[str] = queue.Queue()

    def request_in_spare_time(self, kind: str, *, deadline: float, **payload: object) -> dict[str, Any]:
        self.asked.put(kind)
        return {}


def test_a_warm_base_is_given_back_when_a_run_has_begun_and_only_once(
    store: Store, furnished: tuple[BaseModel, DataSet]
) -> None:
    base, data = furnished
    noted = Noted()
    studio = Studio(store, noted, store.files.root)
    job = store.submit("train", "long run", {}, base_model_id=base.id, data_set_id=data.id)
    noted._child, noted._warm = cast(Any, object()), True
    studio.changes(-1)
    assert noted.asked.empty()
    store.claim(job.id, Owner(1, 2.0, "boot"))
    studio.changes(-1)
    assert noted.asked.get(timeout=30) == "rest"
    store.remember("anything", 1)
    studio.changes(-1)
    assert noted.asked.empty()


def test_resting_lets_the_base_go(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, {"cpu": 8 * GB})
    desk = Desk()
    list(KINDS["compare"](desk, payload(), lambda: False))
    assert desk._base is not None
    list(KINDS["rest"](desk, {}, lambda: False))
    assert desk._base is None
