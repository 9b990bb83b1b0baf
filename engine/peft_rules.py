"""PEFT's rules for names: which layers of a model an adapter's config means, and what it gives each of them.

What is matched may come from outside: a name is compared, and a pattern is matched with bounded work (`patterns.py`).
Knows nothing about JSON or tensors; `peft_files.py` makes a `LoraConfig` of a file.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from engine.paths import last_name
from engine.patterns import Patience, Pattern, PatternError

ALL_LINEAR = "all-linear"
PLAIN = re.compile(r"[\w.-]+")  # a name or a path, which stands for itself


class ConfigError(ValueError):
    """A config that cannot be used. The message says why, in a sentence without a subject."""


@dataclass(frozen=True)
class LoraConfig:
    """What an adapter's config says that matters for what it computes.

    Attributes:
        targets: names of layers (a whole path, or its end), a pattern, "all-linear", or None where it is left open.
        excluded: names or a pattern of layers that get no adapter though `targets` fits them.
        layers: numbers of the blocks that get an adapter; None is all of them.
        block_lists: what the list of blocks is called (as a pattern), where `layers` should look at no other list.
        tied: whether a value trained in full also goes where its parameter is shared.
    """

    rank: int
    alpha: float
    targets: frozenset[str] | str | None
    excluded: frozenset[str] | str
    rank_stabilised: bool
    dora: bool
    bias: str
    modules_to_save: list[str]
    rank_pattern: dict[str, int]
    alpha_pattern: dict[str, float]
    layers: list[int] | None
    block_lists: list[str]
    dropout: float
    tied: bool
    patience: Patience = field(default_factory=Patience, compare=False)

    def rank_of(self, path: str) -> int:
        """The rank of the layer at `path`."""
        return int(self._by_pattern(self.rank_pattern, path, self.rank))

    def alpha_of(self, path: str) -> float:
        """The alpha of the layer at `path`."""
        return float(self._by_pattern(self.alpha_pattern, path, self.alpha))

    def scaling_of(self, path: str) -> float:
        """What B A of the layer at `path` is multiplied by."""
        rank = self.rank_of(path)
        return self.alpha_of(path) / (math.sqrt(rank) if self.rank_stabilised else rank)

    def selects(self, paths: Iterable[str], output: str) -> set[str] | None:
        """Those of `paths` (linear layers) that get an adapter by PEFT's rules; None where the config leaves it open.

        Args:
            output: the path of the output head, which "all-linear" leaves out.

        Raises:
            ConfigError: if a pattern is none, or takes too long.
        """
        if self.targets is None:
            return None
        self.patience.refill()
        return {path for path in paths if self._is_target(path, output) and not self._is_excluded(path)}

    def saves(self, path: str) -> bool:
        """Whether the parameter at `path` belongs to a module that was trained in full: PEFT looks at name endings."""
        owners = list(_beginnings(path))[:-1]
        return any(owner.endswith(name) for owner in owners for name in self.modules_to_save)

    def _is_target(self, path: str, output: str) -> bool:
        if self.targets == ALL_LINEAR:
            return path != output
        if isinstance(self.targets, str):
            return self._fits(self.targets, path)
        # `layers` narrows down names only: neither whole paths nor patterns.
        named = self.targets or frozenset()
        return path in named or (not named.isdisjoint(_endings(path)) and self._is_in_layers(path))

    def _is_in_layers(self, path: str) -> bool:
        if not self.layers:
            return True
        return _block(path, self._list_of(path)) in self.layers

    def _list_of(self, path: str) -> str | None:
        """The one list of blocks in `path` whose number counts; None is the first, "" none at all."""
        if not self.block_lists:
            return None
        lists = [name.removesuffix(f".{last_name(name)}") for name in _beginnings(path) if last_name(name).isdecimal()]
        return next((one for p in self.block_lists for one in lists if self._fits(rf"(?:.*\.)?(?:{p})", one)), "")

    def _is_excluded(self, path: str) -> bool:
        if any(name in self.modules_to_save for part in _beginnings(path) for name in _endings(part)):
            return True
        if isinstance(self.excluded, str):
            return bool(self.excluded) and self._fits(self.excluded, path)
        return not self.excluded.isdisjoint(_endings(path))

    def _by_pattern(self, patterns: Mapping[str, float], path: str, otherwise: float) -> float:
        """PEFT's rule: the first key that is the path or, as a pattern, an ending of it after a dot."""
        ends = set(_endings(path))
        for key, value in patterns.items():
            if key in ends or (not PLAIN.fullmatch(key) and self._fits(rf"(.*\.)?({key})", path)):
                return value
        return otherwise

    def _fits(self, pattern: str, path: str) -> bool:
        try:
            return _parsed(pattern).fits(path, self.patience)
        except PatternError as error:
            raise ConfigError(f"has the pattern {short(pattern)}, which {error}") from None


def short(value: object) -> str:
    """`value` as it may stand in a sentence, whoever chose it and however long it is."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


@functools.lru_cache(200)
def _parsed(pattern: str) -> Pattern:
    return Pattern(pattern)


def _endings(path: str) -> Iterator[str]:
    """`a.b.c`, `b.c` and `c` of `a.b.c`."""
    parts = path.split(".")
    return (".".join(parts[first:]) for first in range(len(parts)))


def _beginnings(path: str) -> Iterator[str]:
    """`a`, `a.b` and `a.b.c` of `a.b.c`."""
    parts = path.split(".")
    return (".".join(parts[: last + 1]) for last in range(len(parts)))


def _block(path: str, block_list: str | None) -> int | None:
    """The number after `block_list` in `path`; without one, the first number that has a list before it."""
    if block_list == "":
        return None
    before = r".*?\.[^.]*" if block_list is None else re.escape(block_list)
    match = re.match(rf"{before}\.(\d+)\.", path)
    return int(match[1]) if match else None
