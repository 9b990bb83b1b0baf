"""What a campaign of faults came to, and the document that says it."""

from __future__ import annotations

import os
import platform
import sqlite3
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import psutil

from tests.faults.drives import Turned
from tests.faults.kills import Tally
from tests.faults.locks import HELD, Held
from tests.faults.sweep import Swept

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- counts: make faults -->", "<!-- end of counts -->"
PACKAGES = ("torch", "transformers", "safetensors", "SQLAlchemy", "gradio")


@dataclass
class Record:
    """All counts of one campaign."""

    seed: int
    tally: Tally
    run: Swept = field(default_factory=Swept)
    migration: Swept = field(default_factory=Swept)
    claims: list[dict[str, int]] = field(default_factory=list)
    held: Held = field(default_factory=Held)
    turned: Turned = field(default_factory=Turned)
    seconds: float = 0.0

    @property
    def violations(self) -> list[str]:
        """Everything that did not hold, in sentences."""
        races = [f"claims: {name} {n}" for one in self.claims for name, n in one.items() if name != "winners" and n]
        parts = (self.tally, self.run, self.migration, self.held, self.turned)
        return [*(wrong for part in parts for wrong in part.violations), *races]


def write(record: Record) -> None:
    """Put the counts between the marks of the document."""
    text = DOCUMENT.read_text("utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    DOCUMENT.write_text(f"{before}{BEGIN}\n" + "\n".join(lines(record)) + f"\n{END}{after}", "utf-8")


def lines(record: Record) -> list[str]:
    """The counts as Markdown."""
    tally, run, migration = record.tally, record.run, record.migration
    killed = ", ".join(f"{who} {n}" for who, n in tally.kills.most_common())
    states = ", ".join(f"{state} {n}" for state, n in tally.states.most_common())
    races, held, turned = record.claims, record.held, record.turned
    lost, wrong = len(run.missed) + len(migration.missed), len(record.violations)
    return [
        f"Seed {record.seed}, {record.seconds / 60:.0f} minutes. {_machine()}",
        "",
        "| What | How often | Violations |",
        "| --- | --- | --- |",
        f"| Random kills in {tally.jobs} jobs ({killed}) | {tally.kills.total()} | {len(tally.violations)} |",
        f"| Faults at {len(run.points)} points of a run ({_hows(run)}) | {run.met.total()} | {len(run.violations)} |",
        f"| Faults at {len(migration.points)} points of a migration ({_hows(migration)}) | {migration.met.total()} "
        f"| {len(migration.violations)} |",
        f"| A library held by another program for {HELD:.0f} s during a run; the page answered {len(held.looks)} times "
        f"meanwhile, p95 {held.p95:.2f} s | {held.times} | {len(held.violations)} |",
        f"| A drive that turned read-only during a run{turned.why_not} | {turned.times} | {len(turned.violations)} |",
        f"| Races of 6 processes for 400 jobs, claimed twice | {len(races)} | {sum(r['double'] for r in races)} |",
        f"| The same, turned away as locked | {len(races)} | {sum(r['locked'] for r in races)} |",
        "",
        f"Jobs were in these states when they lost their worker: {states}. Planned faults that did not come up, since "
        f"what is timed is not passed equally often: {lost}. Violations in all: {wrong}.",
    ]


def _hows(swept: Swept) -> str:
    words = {"kill": "killed there", "full": "disk full there", "read-only": "disk read-only there"}
    return ", ".join(f"{words[how]} {n}" for how, n in swept.met.most_common())


def _machine() -> str:
    model = next(
        (line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.processor()
    )
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{model}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 1e9:.0f} GB, {platform.system()}; "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {packages}."
    )


def _cpuinfo() -> list[str]:
    file = Path("/proc/cpuinfo")
    return file.read_text().splitlines() if file.exists() else []
