"""A checkpoint: everything a run needs to go on, bit for bit, after a whole optimizer step.

Tensors are in one safetensors file, all else in one JSON; nothing in them is code. Beside the run's position stand the
best step so far and the course of the run as its caller knows it, what the run was set up with (`run`), and the machine
that computed it. Knows nothing about where checkpoints lie or how many are kept, and cannot see a changed bit: whoever
publishes the folder keeps its hashes.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from engine.methods.fitted import Named
from engine.position import Position, StepReport

TENSORS, FACTS = "checkpoint.safetensors", "checkpoint.json"
GROUPS = ("trained", "optimizer", "generators", "kept")
VERSION = 1

# In words, what of a machine decides how sums are rounded.
ROUNDING = {
    "torch": "the version of torch",
    "transformers": "the version of transformers",
    "threads": "the number of threads",
    "capability": "the instructions of the processor",
    "machine": "the kind of processor",
    "device": "the device",
}


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used. The message says in a sentence why."""


@dataclass(frozen=True)
class Checkpoint:
    """A run after a whole step.

    Attributes:
        report: of that step.
        told: whether the run's consumer had that report already, with the validation loss where one is due.
        tensors: by group: trained, optimizer and generators as `Position` has them; kept, the best step's adapter.
        course: what the run's consumer wants back; JSON.
        run: what the run was set up with: settings, hashes of data and base. Another run cannot go on from here.
        machine: what decides how sums are rounded. Where it differs, the rest of the run may differ in the last bits.
    """

    report: StepReport
    told: bool
    tensors: dict[str, Named]
    course: dict[str, Any]
    run: dict[str, Any]
    machine: dict[str, Any]

    @property
    def step(self) -> int:
        """The last whole step."""
        return self.report.step

    def resume(self, position: Position) -> None:
        """Put a freshly begun position of the same run where this one was.

        Raises:
            CheckpointError: if it belongs to a run of another shape; nothing is changed then.
        """
        try:
            position.restore(self.report, self.told, self.tensors)
        except ValueError as error:
            raise CheckpointError(f"The checkpoint of step {self.step} is of another run: {error}") from error


def taken(
    position: Position, *, kept: Named, course: Mapping[str, Any], run: Mapping[str, Any], device: str
) -> Checkpoint:
    """A checkpoint of where a run stands. It shares the run's memory: write it before the run goes on.

    Raises:
        ValueError: before the first whole step there is nothing to keep.
    """
    if position.report is None:
        raise ValueError("Before its first step a run has nothing that a checkpoint could keep.")
    tensors = {**position.tensors(), "kept": kept}
    return Checkpoint(position.report, position.told, tensors, dict(course), dict(run), machine(device))


def machine(device: str) -> dict[str, Any]:
    """What decides how sums are rounded when this process computes on `device`, a name."""
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "device": device,
    }


def rounding_differs(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In words, each with both values, what differs between two machines; empty where a run stays equal to the bit."""
    return [
        f"{words} ({before.get(name)} then, {now[name]} now)"
        for name, words in ROUNDING.items()
        if before.get(name) != now[name]
    ]


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the two files of a checkpoint into an existing folder.

    Raises:
        CheckpointError, OSError: the disk did not take it.
    """
    flat = {f"{group}/{name}": tensor for group, part in checkpoint.tensors.items() for name, tensor in part.items()}
    facts = {
        "version": VERSION,
        "report": asdict(checkpoint.report),
        "told": checkpoint.told,
        "course": checkpoint.course,
        "run": checkpoint.run,
        "machine": checkpoint.machine,
        "tensors": {group: len(part) for group, part in checkpoint.tensors.items()},
    }
    try:
        save_file(flat, folder / TENSORS)
    except SafetensorError as error:
        raise CheckpointError(f"{TENSORS} could not be written: {error}.") from error
    (folder / FACTS).write_text(json.dumps(facts, indent=1), "utf-8")


def read(folder: Path) -> Checkpoint:
    """The checkpoint in `folder`.

    Raises:
        CheckpointError: naming what is missing or damaged.
    """
    facts = _facts(folder / FACTS)
    tensors = _tensors(folder / TENSORS)
    try:
        for group, count in facts["tensors"].items():
            if len(tensors[group]) != count:
                raise CheckpointError(f"{TENSORS} has {len(tensors[group])} tensors of {group} where {count} belong.")
        report = StepReport(**facts["report"])
        course, run, made_on = dict(facts["course"]), dict(facts["run"]), dict(facts["machine"])
        return Checkpoint(report, bool(facts["told"]), tensors, course, run, made_on)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{FACTS} is damaged: it has not all that belongs to a checkpoint.") from error


def read_run(folder: Path) -> dict[str, Any]:
    """What the run was set up with that wrote a checkpoint. CheckpointError as `read`."""
    return dict(_facts(folder / FACTS).get("run") or {})


def read_trained(folder: Path) -> Named:
    """What the run had trained, and nothing of what it takes to go on. CheckpointError as `read`."""
    return _tensors(folder / TENSORS, ("trained",))["trained"]


def _facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{FACTS} is missing.") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{FACTS} is damaged: it cannot be read.") from error
    version = facts.get("version") if isinstance(facts, dict) else None
    if version != VERSION:
        raise CheckpointError(f"{FACTS} is in version {version!r}; only version {VERSION} is known.")
    return dict(facts)


def _tensors(path: Path, wanted: Collection[str] = GROUPS) -> dict[str, Named]:
    groups: dict[str, Named] = {group: {} for group in GROUPS}
    try:
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118  it is no mapping
                group, _, name = key.partition("/")
                if group not in groups:
                    raise CheckpointError(f"{TENSORS} holds {key!r}, which belongs to no checkpoint.")
                if group in wanted:
                    groups[group][name] = file.get_tensor(key)
    except FileNotFoundError as error:
        raise CheckpointError(f"{TENSORS} is missing.") from error
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{TENSORS} is damaged: {error}.") from error
    return groups
