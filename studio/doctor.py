"""The check of a data folder and an installation: what is broken, what is odd, and how to mend it.

Looks and tells; it changes nothing. A fault means that something a person relies on is damaged; a warning, that
something works but could be better. Imports no torch: versions are read from the installed packages' own records.
"""

import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from adapters_store.drives import network_drive
from adapters_store.errors import StoreDamaged
from adapters_store.files import locate
from adapters_store.store import LIVE, Store, StoreError
from adapters_store.tables import BaseModel, Checkpoint
from jobs import devices, process
from studio import actions

FLOORS = {
    "torch": "2.10",
    "transformers": "5.5",
    "gradio": "6.31",
    "safetensors": "0.8.0",
    "jinja2": "3.1.6",
    "SQLAlchemy": "2.1",
}
SOUND_SQLITE = (3, 51, 3)  # older ones can, in rare cases, damage a library in WAL mode
LITTLE_ROOM = 2_000_000_000  # bytes; the starter model and a few runs
NO_ROOM = 100_000_000  # bytes; less and the library itself cannot be written

Level = Literal["ok", "warning", "fault"]


class Finding(NamedTuple):
    """What one check found: a sentence, and what to do about it."""

    check: str
    level: Level
    says: str
    mend: str = ""


@dataclass(frozen=True)
class Report:
    """All findings, in the order of the checks."""

    data_dir: Path
    findings: list[Finding]

    @property
    def faults(self) -> list[Finding]:
        """What is broken."""
        return [finding for finding in self.findings if finding.level == "fault"]

    def record(self) -> dict[str, Any]:
        """The report for `--json`."""
        counts = {level: sum(f.level == level for f in self.findings) for level in ("ok", "warning", "fault")}
        found = [finding._asdict() for finding in self.findings]
        return {"data_dir": str(self.data_dir), "healthy": not self.faults, "counts": counts, "findings": found}

    def text(self) -> str:
        """The report for a person, a line or two a finding."""
        signs = {"ok": "  ok    ", "warning": "warning ", "fault": " FAULT  "}
        lines = [str(self.data_dir)]
        for finding in self.findings:
            lines.append(f"{signs[finding.level]}{finding.check}: {finding.says}")
            if finding.mend:
                lines.append(f"        To mend: {finding.mend}")
        return "\n".join(lines)


def examine(data_dir: Path | None, *, deep: bool = False) -> Report:
    """The report on a data folder, also when its library cannot even be opened."""
    try:
        store = actions.open_store(data_dir)
    except StoreError as error:
        folder = locate(data_dir).expanduser().absolute()
        broken = Finding("database", "fault", str(error), "Follow what it says, then run doctor again.")
        return Report(folder, [broken, *_installation(folder)])
    try:
        return run(store, deep=deep)
    finally:
        store.close()


def run(store: Store, *, deep: bool = False) -> Report:
    """Do all checks. `deep` reads every byte of the base models as well."""
    checks: list[Callable[[], Iterator[Finding]]] = [
        lambda: _database(store),
        lambda: _adapters(store),
        lambda: _data_sets(store),
        lambda: _base_models(store, deep),
        lambda: _checkpoints(store),
        lambda: _jobs(store),
        lambda: _strays(store),
        lambda: iter(_installation(store.files.root)),
    ]
    return Report(store.files.root, [finding for check in checks for finding in _as_far_as_it_goes(check)])


def _as_far_as_it_goes(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """What a check finds until it needs what is damaged of the library; that is among the findings already."""
    with suppress(StoreDamaged):
        yield from check()


def _database(store: Store) -> Iterator[Finding]:
    problems = store.integrity()
    for problem in problems:
        mend = "Close the studio, then make the library anew: python -m studio rebuild"
        yield Finding("database", "fault", problem, mend)
    if not problems:
        yield Finding("database", "ok", "The library is whole.")


def _adapters(store: Store) -> Iterator[Finding]:
    listed, total = store.adapters(limit=1000)
    whole = True
    for adapter in listed:
        for problem in _damage(store, adapter.folder, adapter.sha256):
            whole = False
            mend = (
                f"Put {store.adapter_path(adapter)} back from a backup, or remove the adapter: "
                f"python -m studio adapters delete {adapter.id}"
            )
            yield Finding("adapters", "fault", f"{adapter.name} ({adapter.id}): {problem}", mend)
    if whole:
        yield Finding("adapters", "ok", f"{len(listed)} of {total} adapters agree with their hashes.")


def _damage(store: Store, folder: str, sha256: str) -> list[str]:
    problems = store.files.problems("adapters", folder)
    if not problems and store.files.digest("adapters", folder) != sha256:
        problems = ["its files agree with each other, but are not the ones that were trained (the hash differs)."]
    return problems


def _data_sets(store: Store) -> Iterator[Finding]:
    known, whole = store.data_sets(), True
    for data in known:
        for problem in store.files.problems("datasets", data.folder):
            whole = False
            mend = f"Put {store.rows_path(data).parent} back from a backup. Adapters trained on it are not affected."
            yield Finding("data sets", "fault", f"{data.name} ({data.id}): {problem}", mend)
    if whole:
        yield Finding("data sets", "ok", f"{len(known)} data sets agree with their hashes.")


def _base_models(store: Store, deep: bool) -> Iterator[Finding]:
    known, whole = store.base_models(), True
    for base in known:
        path = store.base_path(base)
        problems = [] if path.is_dir() else [f"its folder {path} is missing."]
        if deep and not problems and base.folder:
            problems = store.files.problems("models", base.folder)
        for problem in problems:
            whole = False
            yield Finding("base models", "fault", f"{base.name} ({base.id}): {problem}", _mend_model(base, path))
    if whole:
        how = "are whole" if deep else "are in place (--deep reads every byte)"
        yield Finding("base models", "ok", f"{len(known)} base models: all {how}.")


def _checkpoints(store: Store) -> Iterator[Finding]:
    """A damaged checkpoint is a warning: its run passes it over by itself. A pinned one is relied on by a person."""
    known, whole = store.checkpoints(), True
    for row in known:
        for problem in store.files.problems("checkpoints", row.folder):
            whole = False
            yield _damaged(row, problem, store.checkpoint_path(row))
    if whole:
        pinned = sum(row.pinned for row in known)
        also = f", {pinned} of them pinned" if pinned else ""
        yield Finding("checkpoints", "ok", f"{len(known)} checkpoints agree with their hashes{also}.")


def _damaged(row: Checkpoint, problem: str, path: Path) -> Finding:
    says = f"Of step {row.step} of job {row.job_id}: {problem}"
    if not row.pinned:
        mend = "Continue the run: it goes on from an older one, or begins again."
        return Finding("checkpoints", "warning", says, mend)
    mend = f"Put {path} back from a backup, or let it go: python -m studio jobs unpin {row.job_id} {row.step}"
    return Finding("checkpoints", "fault", f"Pinned, {says[0].lower()}{says[1:]}", mend)


def _mend_model(base: BaseModel, path: Path) -> str:
    came = base.facts.get("hub")
    if base.source == "hub" and came:
        again = f"{came['id']} --revision {came['commit']}"
        return f"Remove {path} if it is there, and fetch it again: python -m studio models add {again}"
    if base.source == "gguf":
        return f"Remove {path} if it is there, and convert the GGUF file again: python -m studio models add FILE"
    if base.source == "starter":
        return f"Remove {path} if it is there, and fetch it again: python -m studio models add starter"
    return f"Put the folder back at {path}, or add it from where it is now: python -m studio models add FOLDER"


def _jobs(store: Store) -> Iterator[Finding]:
    lost = [job for job in store.jobs(states=LIVE, limit=1000) if job.owner is None or not process.alive(job.owner)]
    for job in lost:
        mend = "Start the studio (python app.py): its runner marks the job as interrupted, and runs can be continued."
        yield Finding("jobs", "fault", f"Job {job.id} ({job.name}) is {job.state}, but its worker is gone.", mend)
    if not lost:
        yield Finding("jobs", "ok", "Every running job has a live worker.")


def _strays(store: Store) -> Iterator[Finding]:
    leftovers, orphans, forgotten = store.files.leftovers(), store.orphans(), store.forgotten()
    for path in leftovers:
        mend = "It goes by itself when the studio is started; or delete it."
        yield Finding("leftovers", "warning", f"{path} was left by a process that is gone.", mend)
    for path in orphans:
        mend = "It goes to the trash when the studio starts a runner; or move it away or delete it."
        if path in forgotten:
            mend = "The library listed it once. Close the studio and list it again: python -m studio rebuild"
        yield Finding("orphans", "fault", f"{path} belongs to nothing in the library.", mend)
    if not leftovers and not orphans:
        yield Finding("leftovers", "ok", "No folder is left over.")


def _installation(root: Path) -> list[Finding]:
    return [*_versions(), _sqlite(), *_processor(), _room(root), *_drive(root)]


def _versions() -> Iterator[Finding]:
    found = {package: devices.installed(package) for package in FLOORS}
    for package, floor in FLOORS.items():
        have = found[package]
        if have is None or _numbers(have) < _numbers(floor):
            says = f"{package} is {have or 'missing'}; {floor} or newer is needed, as older ones have known holes."
            yield Finding("versions", "fault", says, "python -m pip install --upgrade -r requirements.txt")
    said = ", ".join(f"{package} {have}" for package, have in found.items() if have)
    yield Finding("versions", "ok", said)


def _numbers(text: str) -> tuple[int, ...]:
    """`2.13.0+cpu` as (2, 13, 0): enough to compare releases with a floor."""
    return tuple(int(part) for part in re.findall(r"\d+", text.partition("+")[0])[:3])


def _sqlite(found: tuple[int, ...] = sqlite3.sqlite_version_info) -> Finding:
    shown = ".".join(map(str, found))
    if found >= SOUND_SQLITE:
        return Finding("SQLite", "ok", shown)
    wanted = ".".join(map(str, SOUND_SQLITE))
    says = f"This Python comes with SQLite {shown}. Before {wanted} it has a rare fault that can damage a library."
    return Finding("SQLite", "warning", says, "Use a newer Python where you can, and keep a backup of studio.db.")


def _processor() -> Iterator[Finding]:
    torch, gpus = devices.installed("torch"), [title for _, title in devices.nvidia_gpus()]
    if torch and gpus and devices.is_cpu_build(torch):
        says = f"NVIDIA GPU found ({', '.join(gpus)}), but this torch ({torch}) is a CPU build."
        mend = "Install the CUDA build: run the command that https://pytorch.org/get-started/locally/ shows for it."
        yield Finding("device", "warning", says, mend)
    else:
        yield Finding("device", "ok", f"GPU: {', '.join(gpus)}" if gpus else "No NVIDIA GPU; runs use the CPU.")


def _room(root: Path) -> Finding:
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    says, mend = f"{free / 1e9:,.1f} GB free.", "Free some space, or choose another disk with --data-dir."
    if free < NO_ROOM:
        return Finding("disk", "fault", says, mend)
    return Finding("disk", "warning", says, mend) if free < LITTLE_ROOM else Finding("disk", "ok", says)


def _drive(root: Path) -> Iterator[Finding]:
    kind = network_drive(root)
    if kind is not None:
        says = f"{root} is on a network drive ({kind}), where a power cut or a second machine can damage the library."
        yield Finding("drive", "warning", says, "Choose a folder on a local disk with --data-dir.")
