"""A worker that hangs while a file is there: in a step once it has a checkpoint, or while it loads the base.

    python -m tests.hanging JOB_ID --data-dir DIR

The files are `hang-step` and `hang-load` in the data folder. Its heart beats on, as that of any worker that hangs does.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine import models
from engine.passes import Passes
from jobs import queue, worker

BEAT = 0.05


def held(real: Callable[..., Any], by: Path, when: Callable[[], bool] = lambda: True) -> Callable[..., Any]:
    """`real`, but it waits for as long as there is a file `by`, should it be time."""

    def waiting(*args: Any, **kwargs: Any) -> Any:
        while when() and by.exists():
            time.sleep(0.01)
        return real(*args, **kwargs)

    return waiting


if __name__ == "__main__":
    folder = Path(sys.argv[sys.argv.index("--data-dir") + 1])
    checkpoints = folder / "checkpoints"
    queue.BEAT = BEAT
    models.load = held(models.load, folder / "hang-load")
    Passes.learn = held(Passes.learn, folder / "hang-step", lambda: any(checkpoints.iterdir()))  # type: ignore[method-assign]
    raise SystemExit(worker.main())
