"""Starts a measured process: the modules of this folder, with the same threads for everybody and no network."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.table import Options

ROOT = Path(__file__).parent.parent


def run(module: str, given: Sequence[str], options: Options) -> str:
    """Run `python -m module given...` and return what it printed.

    Raises:
        RuntimeError: with the end of what it said, if it failed.
    """
    command = [*options.prefix, sys.executable, "-m", module, *given]
    done = subprocess.run(command, cwd=ROOT, env=_environment(options.threads), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout


def _environment(threads: int) -> dict[str, str]:
    fixed = {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    return {**os.environ, **fixed}
