"""Whether there is memory to answer with, asked before a base model is loaded: a run beside it is never endangered.

What is needed is estimated from the files of the model and its config: the weights in the dtype they are computed in,
and keys and values of every answer. Knows nothing about requests, or about what a run needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

if TYPE_CHECKING:
    from engine.models import Device, LoadedBase

SPARE_SHARE = 0.03  # of all memory that is left alone in any case
MOST_ROWS = {"cpu": 16, "cuda": 64}  # answers at the same time; above that little is gained
BITS = {"nf4": 0.75, "int8": 1.25}  # bytes a weight, what stays in full among them


class NoRoom(RuntimeError):
    """There is too little memory. The message says how much is missing, and `about` on which device."""

    def __init__(self, message: str, about: dict[str, Any]) -> None:
        super().__init__(message)
        self.about = about


class Answers(NamedTuple):
    """How much is answered at once."""

    rows: int
    tokens: int  # of the longest prompt, about, and its answer


class Memory(NamedTuple):
    """Bytes of a device."""

    free: int
    total: int


def memory(kind: str) -> Memory:
    """What the device of this kind (cuda, mps or cpu) has, as it says itself."""
    if kind == "cuda":
        import torch

        return Memory(*torch.cuda.mem_get_info())
    machine = psutil.virtual_memory()
    return Memory(machine.available, machine.total)


def check(path: Path, precision: str, device: Device, answers: Answers, loaded: bool, run: str, spare: int) -> None:
    """NoRoom unless the device has room for the base at `path` and the answers, with `spare` bytes left alone.

    Args:
        loaded: whether the base is in memory already.
        run: what the run or suite is called that is under way; "" where none is.
    """
    of_base = 0 if loaded else base_bytes(path, precision, device.dtype.itemsize)
    needed = of_base + answers_bytes(path, answers, device.dtype.itemsize)
    found = memory(device.kind)
    missing = needed + spare + int(SPARE_SHARE * found.total) - found.free
    if missing > 0:
        place = "the GPU" if device.kind == "cuda" else "this machine"
        said = (
            f"Answering takes about {_size(needed)} of memory, and {place} has {_size(found.free)} free: "
            f"about {_size(missing)} are missing, with some left for what else runs. "
        )
        raise NoRoom(said + _what_to_do(device.kind, run), {"no_room": device.kind, "run": run})


def rows_at_once(base: LoadedBase, tokens: int, beside: int) -> int:
    """How many answers at the same time have room beside a base that is loaded: at least one, at most `MOST_ROWS`.

    Half of what is free is theirs; the other half is for what a prompt takes while it is read.

    Args:
        tokens: of the longest prompt and its answer.
        beside: bytes of the largest adapter, which on a GPU is there once for every row (`engine/methods/rowwise.py`).
    """
    kind = base.device.kind
    found = memory(kind)
    each = answers_bytes(base.path, Answers(1, tokens), base.device.dtype.itemsize) + (beside if kind != "cpu" else 0)
    free = found.free - SPARE_SHARE * found.total
    return max(1, min(MOST_ROWS.get(kind, MOST_ROWS["cpu"]), int(free / 2 / each)))


def base_bytes(path: Path, precision: str, itemsize: int) -> int:
    """What the weights in a folder take in memory."""
    from engine.quantised import stored_dtype

    numbers = sum(file.stat().st_size for file in path.glob("*.safetensors")) / stored_dtype(path).itemsize
    return int(numbers * BITS.get(precision, itemsize))


def answers_bytes(path: Path, answers: Answers, itemsize: int) -> int:
    """What keys and values of all answers take (two vectors a layer and token), with a logit row for each."""
    from engine import base_config

    config: Any = base_config.read(path).get_text_config()
    heads = getattr(config, "num_attention_heads", None) or 1
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    kept = 2 * config.num_hidden_layers * width * (getattr(config, "num_key_value_heads", None) or heads)
    return int(answers.rows * (answers.tokens * kept * itemsize + 4 * config.vocab_size))


def _what_to_do(kind: str, run: str) -> str:
    if not run:
        return "Close other programs, ask fewer contestants at once, or ask for fewer tokens."
    elsewhere = ", or answer on the CPU" if kind == "cuda" else ""
    return f"{run} is under way and keeps its memory. Wait until it has ended, pause or stop it{elsewhere}."


def _size(count: float) -> str:
    return f"{count / 1e9:,.2f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"
