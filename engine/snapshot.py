"""Answers as they grow: the tokens and the text of each so far, and whether it has ended.

Knows nothing about how a token is chosen, or about adapters.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from engine.models import LoadedBase
from engine.sampling import Sampling


@dataclass(frozen=True)
class Snapshot:
    """The answers so far, one entry for each that was asked; and what they were computed with, for a replay."""

    texts: list[str]
    tokens: list[int]
    finished: list[bool]  # ended by itself, rather than by the limit
    over: list[bool]  # ended either way
    seconds: float  # since the prompt was given
    batches: list[list[int]]  # who answered together, by place; one batch after the other
    device: str  # cpu, cuda or mps
    dtype: str  # such as float32
    threads: int  # of the CPU
    ids: list[list[int]]  # the tokens of the answers; empty until all are done


class Answers:
    """What has been said so far, one answer for each that was asked."""

    def __init__(
        self,
        base: LoadedBase,
        drawn: Sequence[Sampling],
        batches: list[list[int]],
        ends: Sequence[set[int]],
        gaps: Sequence[str],
    ) -> None:
        """`ends` are the tokens that end the answer of each, `gaps` what a template puts before it and no one says."""
        self._gaps = gaps
        self.base, self.drawn, self.batches = base, drawn, batches
        self.began = time.monotonic()
        self.tokens: list[list[int]] = [[] for _ in drawn]
        self.finished, self.over = [False] * len(drawn), [False] * len(drawn)
        self._texts = [""] * len(drawn)
        self._ends = ends

    def add(self, place: int, token: int, most: int) -> None:
        """The next token of an answer, which may have `most` of them."""
        self.finished[place] = token in self._ends[place]
        if not self.finished[place]:
            self.tokens[place].append(token)
            said = self.base.tokenizer.decode(self.tokens[place], skip_special_tokens=True)
            said = said.removeprefix(self._gaps[place])
            self._texts[place] = before_stop(said, self.drawn[place].stop)
            self.finished[place] = len(self._texts[place]) < len(said)
        self.over[place] = self.finished[place] or len(self.tokens[place]) >= most

    def snapshot(self, done: bool = False) -> Snapshot:
        device = self.base.device
        return Snapshot(
            list(self._texts),
            [len(answer) for answer in self.tokens],
            list(self.finished),
            list(self.over),
            time.monotonic() - self.began,
            self.batches,
            device.kind,
            str(device.dtype).removeprefix("torch."),
            torch.get_num_threads(),
            [list(answer) for answer in self.tokens] if done else [],
        )


def before_stop(text: str, stop: Sequence[str]) -> str:
    """The text up to the first of the stop words in it."""
    found = [at for word in stop if (at := text.find(word)) >= 0]
    return text[: min(found)] if found else text
