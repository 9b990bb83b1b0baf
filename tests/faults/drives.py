"""A drive that turns read-only in the middle of a run, for real: an ext4 on a loop device that is told of an error.

    python -m tests.faults.drives IMAGE

In a mount namespace of its own, so that nobody else sees the drive; that takes root on Linux. The worker, the runner
and the command line meet a drive that takes nothing any more; then it is repaired and mounted again, and the run has to
go on and end as if nothing had been.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters_store.errors import StoreError
from adapters_store.store import Store
from jobs import process
from tests.faults.kills import until
from tests.faults.nursery import Nursery
from tests.faults.yard import LONG, Yard

TOOLS = ("unshare", "mkfs.ext4", "e2fsck", "mount", "umount")
SIZE = 256 * 1024 * 1024  # bytes of the drive
SECONDS = 300  # that all of it may take


@dataclass
class Turned:
    """How often a drive turned read-only, and what came of it."""

    times: int = 0
    why_not: str = ""
    violations: list[str] = field(default_factory=list)


def of_drives(folder: Path, turned: Turned) -> None:
    """Have a drive turn read-only in the middle of a run, where this machine lets us."""
    command = ["unshare", "--mount", *process.module_command("tests.faults.drives", str(folder / "drive.img"))]
    if os.name != "posix" or os.geteuid() != 0 or not all(map(shutil.which, TOOLS)):
        turned.why_not = " (not tried: that takes root, and the tools of ext4)"
        return
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, cwd=process.ROOT)
    if done.returncode:
        turned.violations.append(f"the drive: {done.stderr[-500:]}")
        return
    told = json.loads(done.stdout.splitlines()[-1])
    turned.times, turned.violations = told["times"], told["violations"]


class Drive:
    """An ext4 in a file, mounted beside it."""

    def __init__(self, image: Path) -> None:
        self.image, self.root = image, image.with_suffix("")
        with image.open("wb") as file:
            file.truncate(SIZE)
        self.root.mkdir()
        _do("mkfs.ext4", "-q", str(image))

    def mount(self) -> None:
        """Put it into place; an error makes it read-only."""
        _do("mount", "-o", "loop,errors=remount-ro", str(self.image), str(self.root))

    def turn(self) -> None:
        """Let the system believe that it has found an error."""
        mounted = next(line.split() for line in Path("/proc/mounts").read_text().splitlines() if str(self.root) in line)
        (Path("/sys/fs/ext4") / Path(mounted[0]).name / "trigger_fs_error").write_text("1")

    def repair(self) -> None:
        """Take it away, check it, and put it back."""
        _do("umount", str(self.root))
        # Not `_do`: it ends with 1 when it has mended something.
        subprocess.run(["e2fsck", "-fy", str(self.image)], capture_output=True, check=False)
        self.mount()


def _do(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


def turned_in_a_run(image: Path, nursery: Nursery) -> dict[str, Any]:
    """One run whose drive turns read-only; what does not hold, in sentences."""
    drive = Drive(image)
    drive.mount()
    folder = drive.root / "data"
    yard = Yard(folder, nursery)
    try:
        job = yard.submit(LONG)
        worker = yard._worker(job.id)
        wrong = until(lambda: (yard.store.job(job.id).checkpoint_step or 0) > 1, 60, "a checkpoint")
        drive.turn()
        wrong += _refused_in_words(yard.store)
        wrong += until(lambda: worker.poll() is not None, 60, "the end of the worker")
        with contextlib.suppress(StoreError):  # a runner that cannot write looks again
            yard.runner.step()
        wrong += _read_in_words(folder)
        yard.store.close()
        drive.repair()
        yard.store = Store(folder)
        yard.runner = type(yard.runner)(yard.store)
        yard.finish(job.id)
        wrong += yard.violations(job.id)
    finally:
        yard.close()
    _do("umount", str(drive.root))
    return {"times": 1, "violations": wrong}


def _refused_in_words(store: Store) -> list[str]:
    try:
        store.remember("pressed", 1)
    except StoreError as error:
        return [] if "can only be read" in str(error) else [f"what is to be written is refused with: {error}"]
    return ["what was to be written was taken"]


def _read_in_words(folder: Path) -> list[str]:
    wrong = []
    for words in (["jobs", "list"], ["doctor"]):
        command = process.module_command("studio", *words, "--data-dir", str(folder))
        asked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        said = asked.stdout + asked.stderr
        if "Traceback" in said or asked.returncode not in (0, 1):
            wrong.append(f"{' '.join(words)} said {said[-300:]!r}")
    return wrong


if __name__ == "__main__":
    with Nursery() as nursery:
        print(json.dumps(turned_in_a_run(Path(sys.argv[1]), nursery)))
