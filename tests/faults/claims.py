"""Many processes at one queue: each job is had by exactly one, and nobody is turned away because the library is busy.

    python -m tests.faults.claims DATA_DIR FIRST LAST OUTPUT

As a process it claims every job from FIRST to LAST that it can get, and writes down which.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

from adapters_store.errors import StoreError
from adapters_store.store import Store
from jobs import process
from tests.faults.nursery import Nursery


def race(nursery: Nursery, folder: Path, processes: int, jobs: int) -> dict[str, int]:
    """Let `processes` go for `jobs` jobs; how many were had twice, by nobody, and how often one was turned away."""
    store = Store(folder)
    ids = [store.submit("train", "run", {}).id for _ in range(jobs)]
    outputs = [folder / f"claims-{number}" for number in range(processes)]
    racing = [
        nursery.fork(
            process.module_command("tests.faults.claims", str(folder), str(ids[0]), str(ids[-1]), str(output)),
            store.files.log("claims"),
        )
        for output in outputs
    ]
    codes = [one.wait() for one in racing]
    assert codes == [0] * processes, store.files.log("claims").read_text()
    told = [json.loads(output.read_text()) for output in outputs]
    had = Counter(id for one in told for id in one["claimed"])
    store.close()
    return {
        "double": sum(times > 1 for times in had.values()),
        "missed": sum(id not in had for id in ids),
        "locked": sum(one["locked"] for one in told),
        "winners": sum(bool(one["claimed"]) for one in told),
    }


def claim_all(folder: Path, first: int, last: int) -> dict[str, object]:
    """Claim what can be had."""
    store, claimed, locked = Store(folder), [], 0
    for number in range(first, last + 1):
        try:
            if store.claim(number, process.identify()):
                claimed.append(number)
        except StoreError:
            locked += 1
    store.close()
    return {"claimed": claimed, "locked": locked}


if __name__ == "__main__":
    told = claim_all(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    Path(sys.argv[4]).write_text(json.dumps(told))
