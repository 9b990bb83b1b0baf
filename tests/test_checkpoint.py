"""A run that was broken off goes on bit for bit: after any step, in the middle of one, in the middle of measuring.

pytest tests/test_checkpoint.py
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import checkpoint, models
from engine.checkpoint import CheckpointError
from engine.methods import fit
from engine.methods.fitted import Fitted
from engine.position import Position, StepReport
from engine.settings import RunSettings
from engine.train import Prepared, prepare, train
from tests.tiny import make_tiny_model, tiny_rows

pytestmark = pytest.mark.usefixtures("one_thread_each")

CPU = models.Device("cpu", "CPU", torch.float32, "a test")
# Dropout, shuffling, three epochs, micro-batches of which the last is smaller, LoRA+, decay, and a measurement a step.
VALUES = {
    "rank": 2,
    "alpha": 4,
    "dropout": 0.2,
    "learning_rate": 1e-2,
    "weight_decay": 0.01,
    "epochs": 3,
    "batch_size": 5,
    "micro_batch": 2,
    "validation_share": 0.2,
}
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"b_ratio": 4.0},
    "dora": {},
    "pissa": {"method": "lora", "start": "pissa"},
    "blocks": {"method": "blocks", "blocks": 1},
    "norms": {"method": "norms"},
    "bottleneck": {"method": "bottleneck", "bottleneck": 4},
    "prompt": {"method": "prompt", "prompt_tokens": 3},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


class Run:
    """One process's share of a run: everything in it is made anew."""

    def __init__(self, folder: Path, **values: Any) -> None:
        self.settings = RunSettings.model_validate(VALUES | values)
        self.base = models.load(folder, CPU)
        self.prepared: Prepared = prepare(self.base.tokenizer, tiny_rows(15), self.settings, 256)
        self.fitted: Fitted = fit(self.base.model, self.settings)
        self.position = Position(self.fitted, self.settings)
        torch.manual_seed(hash(self) % 2**32)  # whatever this process drew before must not matter

    def go_on(self, state: Path) -> Run:
        checkpoint.read(state).resume(self.position)
        return self

    def reports(
        self,
        should_stop: Callable[[], bool] = lambda: False,
        interruptible: Callable[[], Any] | None = None,
    ) -> Iterator[StepReport]:
        more = {"interruptible": interruptible} if interruptible else {}
        return train(self.base, self.fitted, self.prepared, self.settings, should_stop, self.position, **more)

    def keep(self, into: Path) -> Path:
        into.mkdir(parents=True)
        state = checkpoint.taken(self.position, kept={}, course={}, run={"seed": 0}, device="CPU")
        checkpoint.write(into, state)
        return into


def timeless(report: StepReport) -> StepReport:
    return replace(report, seconds=0.0, tokens_per_second=None)


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


class Broken(BaseException):
    """What a signal raises."""


@pytest.mark.parametrize("method", ["lora", "blocks", "bottleneck"])
def test_a_run_broken_off_after_any_step_ends_as_if_it_had_not_been(method: str, folder: Path, tmp_path: Path) -> None:
    values = {"method": method, **METHODS[method]}
    whole = Run(folder, **values)
    said = []
    for report in whole.reports():
        said.append(timeless(report))
        if report.step:
            whole.keep(tmp_path / str(report.step))
    assert len(said) == 10  # nine steps, and the base before them
    for step in range(1, 10):
        later = Run(folder, **values).go_on(tmp_path / str(step))
        assert [timeless(report) for report in later.reports()] == said[step + 1 :]
        assert same(whole.fitted.tensors(), later.fitted.tensors()), f"resumed after step {step}"


@pytest.mark.parametrize("method", ["dora", "pissa", "norms", "prompt"])
def test_every_other_method_goes_on_in_the_middle_of_an_epoch(method: str, folder: Path, tmp_path: Path) -> None:
    values = {"method": method, **METHODS[method]}
    whole = Run(folder, **values)
    said = [timeless(report) for report in whole.reports()]
    first = Run(folder, **values)
    next(report for report in first.reports() if report.step == 5)
    later = Run(folder, **values).go_on(first.keep(tmp_path / "state"))
    assert [timeless(report) for report in later.reports()] == said[6:]
    assert same(whole.fitted.tensors(), later.fitted.tensors())


def test_a_run_broken_off_again_and_again_at_any_moment_is_still_the_same_run(folder: Path, tmp_path: Path) -> None:
    whole = Run(folder)
    said = [timeless(report) for report in whole.reports()]
    heard: list[StepReport] = []
    state: Path | None = None
    runs = 0
    while not heard or heard[-1].step < said[-1].step:
        runs += 1
        run = Run(folder) if state is None else Run(folder).go_on(state)
        entered = 0

        @contextmanager
        def broken_later() -> Iterator[None]:
            nonlocal entered
            entered += 1
            yield  # the work is done, and then nobody hears of it: the worst moment
            if entered == 6:
                raise Broken

        with pytest.raises(Broken) if run.prepared.steps - run.position.step > 1 else _nothing():
            for report in run.reports(interruptible=broken_later):
                heard.append(timeless(report))
        state = run.keep(tmp_path / str(runs))
    assert runs > 4
    assert heard == said
    assert same(whole.fitted.tensors(), run.fitted.tensors())


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def test_a_stop_asked_for_after_going_on_measures_the_last_whole_step(folder: Path, tmp_path: Path) -> None:
    first = Run(folder)
    before = next(report for report in first.reports() if report.step == 4)
    later = Run(folder).go_on(first.keep(tmp_path / "state"))
    (last,) = later.reports(lambda: True)
    assert (last.step, last.loss, last.validation_loss, last.stopped) == (4, before.loss, before.validation_loss, True)


def test_the_time_limit_counts_all_of_a_run(folder: Path, tmp_path: Path) -> None:
    first = Run(folder)
    next(report for report in first.reports() if report.step == 2)
    assert first.position.report is not None
    first.position.report = replace(first.position.report, seconds=100.0)
    later = Run(folder, max_seconds=99.0).go_on(first.keep(tmp_path / "state"))
    (last,) = later.reports()
    assert last.stopped
    assert last.seconds > 100


# --- files --------------------------------------------------------------------------------------------------------


@pytest.fixture
def state(folder: Path, tmp_path: Path) -> Path:
    run = Run(folder)
    next(report for report in run.reports() if report.step == 2)
    return run.keep(tmp_path / "state")


def test_what_is_written_is_what_is_read(folder: Path, tmp_path: Path) -> None:
    run = Run(folder)
    next(report for report in run.reports() if report.step == 2)
    kept, course = {"a": torch.ones(2)}, {"best": {"step": 1, "loss": 0.1 + 0.2}}
    taken = checkpoint.taken(run.position, kept=kept, course=course, run={"data": "x"}, device="CPU")
    checkpoint.write(tmp_path, taken)
    read = checkpoint.read(tmp_path)
    assert replace(read, tensors={}) == replace(taken, tensors={})
    assert all(same(taken.tensors[group], read.tensors[group]) for group in checkpoint.GROUPS)
    assert read.machine == checkpoint.machine("CPU")
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {checkpoint.TENSORS, checkpoint.FACTS}


@pytest.mark.parametrize("name", [checkpoint.TENSORS, checkpoint.FACTS])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut short"])
def test_a_damaged_checkpoint_is_refused_and_says_what_is_damaged(state: Path, name: str, damage: str) -> None:
    file = state / name
    whole = file.read_bytes()
    file.unlink()
    if damage != "missing":
        file.write_bytes(b"" if damage == "empty" else whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=rf"{name} is (missing|damaged)"):
        checkpoint.read(state)


@pytest.mark.parametrize("fact", ["report", "told", "course", "run", "machine", "tensors"])
def test_a_checkpoint_without_one_of_its_facts_is_refused(state: Path, fact: str) -> None:
    facts = json.loads((state / checkpoint.FACTS).read_text())
    del facts[fact]
    (state / checkpoint.FACTS).write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.read(state)


def test_a_checkpoint_of_a_later_version_is_refused(state: Path) -> None:
    facts = json.loads((state / checkpoint.FACTS).read_text())
    (state / checkpoint.FACTS).write_text(json.dumps({**facts, "version": 2}))
    with pytest.raises(CheckpointError, match="version 2; only version 1 is known"):
        checkpoint.read(state)


def test_a_checkpoint_of_another_shape_changes_nothing(state: Path, folder: Path) -> None:
    other = Run(folder, rank=3)
    before = other.fitted.tensors()
    with pytest.raises(CheckpointError, match="step 2 is of another run"):
        other.go_on(state)
    assert same(before, other.fitted.tensors())
    assert (other.position.step, other.position.optimizer.state) == (0, {})


def test_before_the_first_step_there_is_no_checkpoint(folder: Path) -> None:
    with pytest.raises(ValueError, match="Before its first step"):
        checkpoint.taken(Run(folder).position, kept={}, course={}, run={}, device="CPU")


def test_another_machine_is_told_in_words_with_both_values() -> None:
    here = checkpoint.machine("CPU")
    assert checkpoint.rounding_differs(here, here) == []
    there = {**here, "threads": 7, "torch": "2.0"}
    now = {**here, "threads": 2}
    version, threads = checkpoint.rounding_differs(there, now)
    assert threads == "the number of threads (7 then, 2 now)"
    assert version.startswith("the version of torch (2.0 then, 2.")
