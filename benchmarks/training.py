"""Training beside PEFT with transformers' Trainer and TRL: speed, memory, use of the machine, and the same losses.

Every contestant trains one epoch of the same rows in a process of its own. In the first round all take part; in the
rounds after it ours, PEFT's defaults and the two fastest rivals take turns. Figures are medians over the rounds.

Knows how contestants are compared; how they train is in `contestant.py` and `rivals.py`.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import growth, processes
from benchmarks.data_sets import data_set
from benchmarks.rivals import RIVALS
from benchmarks.table import Options, Row

FURTHER_ROUNDS = 2
SPEED_OVER_DEFAULTS, SPEED_OVER_BEST = 2.0, 1.3
MEMORY, MEMORY_CHECKPOINTING = 0.6, 0.3
SHARE_OF_PEAK = 0.85
LOSS_DIFFERENCE = 1e-3
WORSE = 1.01  # a validation loss up to this many times another's is not worse: order alone moves it as much

Figures = dict[str, Any]


@dataclass(frozen=True)
class Heat:
    """A data set, how many of its rows are learned, which rivals take part, and how many rounds follow the first."""

    set: str
    rows: int
    rivals: tuple[str, ...]
    further: int = 0


# Every configuration of a rival runs where it could be at its best; the whole takes a quarter of an hour on two cores.
HEATS = (
    Heat("long-system", 16, ("peft", "peft-grouped", "trl", "trl-flat", "peft-recorded"), FURTHER_ROUNDS),
    Heat("uneven", 32, ("peft", "peft-grouped", "trl-grouped", "trl-flat", "peft-recorded"), FURTHER_ROUNDS),
    Heat("short-system", 16, ("peft", "peft-grouped", "trl-grouped", "peft-recorded")),
)
QUICK = (
    Heat("long-system", 16, ("peft", "peft-recorded")),
    Heat("uneven", 16, ("peft", "peft-grouped", "peft-recorded")),
)


@dataclass
class Outcome:
    """All that was measured on one data set: figures of each round by the name of the contestant."""

    title: str
    rounds: dict[str, list[Figures]]

    def speed(self, name: str) -> float:
        """Tokens a second, padding not counted; the median of the rounds."""
        return statistics.median(_speed(figures) for figures in self.rounds[name])

    def memory(self, name: str) -> float | None:
        """Bytes above the weights at most; the median of the rounds."""
        found = [figures["memory"] for figures in self.rounds.get(name, []) if figures["memory"]]
        return statistics.median(found) if found else None

    def first(self, name: str) -> Figures:
        """The figures of the first round."""
        return self.rounds[name][0]

    def fastest(self, count: int) -> list[str]:
        """The fastest rivals in an order of their own, the fastest first."""
        own = [name for name in self.rounds if name in RIVALS and name != "peft-recorded"]
        return sorted(own, key=self.speed, reverse=True)[:count]

    def ratio(self, other: str) -> float:
        """How many times as fast ours is: the median over the rounds that both were in."""
        pairs = zip(self.rounds["ours"], self.rounds[other], strict=False)
        return statistics.median(_speed(ours) / _speed(theirs) for ours, theirs in pairs)


def rows(options: Options) -> list[Row]:
    """Measure on each data set, then how the cost grows with the rows; on one set alone where one is chosen."""
    some = QUICK if options.quick and not options.set else HEATS
    heats = [heat for heat in some if options.set in ("", heat.set)]
    outcomes = [_outcome(heat, options) for heat in heats]
    table = [row for outcome in outcomes for row in _table(outcome)]
    if options.set:
        return table
    steps = [figures for outcome in outcomes for figures in outcome.rounds["ours"]]
    return [*table, *growth.rows(options, steps)]


def _outcome(heat: Heat, options: Options) -> Outcome:
    taking_part = ("ours", "ours-checkpointing", *heat.rivals)
    outcome = Outcome(data_set(heat.set, heat.rows).title, {one: [_run(one, heat, options)] for one in taking_part})
    going_on = dict.fromkeys(("ours", "peft", *outcome.fastest(2)))
    for _ in range(heat.further):
        for one in going_on:
            outcome.rounds[one].append(_run(one, heat, options))
    return outcome


def _run(contestant: str, heat: Heat, options: Options) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        given = [contestant, heat.set, "--base", str(options.base), "--rows", str(heat.rows), "--out", str(out)]
        processes.run("benchmarks.contestant", [*given, "--threads", str(options.threads)], options)
        figures: Figures = json.loads(out.read_text("utf-8"))
    memory = f", {figures['memory'] / 1e6:,.0f} MB" if figures["memory"] else ""
    print(f"{heat.set}: {contestant}: {_speed(figures):.0f} tokens/s{memory}", flush=True)
    return figures


def _speed(figures: Figures) -> float:
    return float(figures["tokens"] / sum(figures["seconds"]))


# --- the table ----------------------------------------------------------------------------------------------------


def _table(outcome: Outcome) -> list[Row]:
    (best,) = outcome.fastest(1)
    return [
        Row(f"How rows go through the model, {outcome.title}", " ".join(outcome.first("ours")["notes"])),
        _speed_row(outcome, "peft", SPEED_OVER_DEFAULTS),
        _speed_row(outcome, best, SPEED_OVER_BEST, "the fastest of all: "),
        *(_speed_row(outcome, name) for name in outcome.rounds if name in RIVALS and name not in ("peft", best)),
        _memory_row(outcome, "ours", MEMORY),
        _memory_row(outcome, "ours-checkpointing", MEMORY_CHECKPOINTING),
        _peak_row(outcome),
        _parity_row(outcome),
        _validation_row(outcome),
    ]


def _speed_row(outcome: Outcome, name: str, target: float | None = None, before: str = "") -> Row:
    ratio = outcome.ratio(name)
    wanted, met = (f">= {target} x", ratio >= target) if target else ("", None)
    ours, other = (f"{outcome.speed(one):.0f} tokens/s" for one in ("ours", name))
    what = f"Speed on {outcome.title}"
    return Row(what, ours, f"{other}, {before}{RIVALS[name].title}", f"{ratio:.2f} x", wanted, met)


def _memory_row(outcome: Outcome, name: str, target: float) -> Row:
    what = f"Memory above the weights on {outcome.title}"
    if name == "ours-checkpointing":
        what += ", gradient checkpointing on"
    ours, other = outcome.memory(name), outcome.memory("peft")
    wanted = f"<= {target:.0%}"
    if ours is None or other is None:
        return Row(what, "not measured: needs Linux", target=wanted)
    told = f"{other / 1e6:,.0f} MB, {RIVALS['peft'].title}"
    return Row(what, f"{ours / 1e6:,.0f} MB", told, f"{ours / other:.0%}", wanted, ours / other <= target)


def _peak_row(outcome: Outcome) -> Row:
    """Useful operations a second, as a share of what the machine multiplied at its best between the steps."""
    what = f"Share of the peak in matrix products on {outcome.title}"
    ours, other = _share(outcome.rounds["ours"]), _share(outcome.rounds["peft"])
    wanted = f">= {SHARE_OF_PEAK:.0%}"
    peak = statistics.median(figures["peak"] for figures in outcome.rounds["ours"]) / 1e9
    told = f"{ours:.0%} of {peak:.0f} GFLOP/s"
    return Row(what, told, f"{other:.0%}, {RIVALS['peft'].title}", "", wanted, ours >= SHARE_OF_PEAK)


def _share(rounds: Sequence[Figures]) -> float:
    shares = [figures["operations"] / sum(figures["seconds"]) / figures["peak"] for figures in rounds]
    return float(statistics.median(shares))


def _parity_row(outcome: Outcome) -> Row:
    ours, theirs = (outcome.first(name)["losses"] for name in ("ours", "peft-recorded"))
    difference = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    what = f"Loss of each of {len(ours)} steps, both fed the same batches, on {outcome.title}"
    last = f"{ours[-1]:.4f} at the last"
    met = difference <= LOSS_DIFFERENCE
    return Row(what, last, f"{theirs[-1]:.4f}, PEFT + Trainer", f"differs by {difference:.0e}", "<= 1e-3", met)


def _validation_row(outcome: Outcome) -> Row:
    best = min((n for n in outcome.rounds if n in RIVALS), key=lambda n: float(outcome.first(n)["validation_loss"]))
    ours, theirs = (outcome.first(name)["validation_loss"] for name in ("ours", best))
    what = f"Validation loss after one epoch of {outcome.title}, each in its own order"
    wanted, met = f"<= {WORSE} x", ours <= theirs * WORSE
    other = f"{theirs:.3f}, the best: {RIVALS[best].title}"
    return Row(what, f"{ours:.3f}", other, f"{ours / theirs:.3f} x", wanted, met)
