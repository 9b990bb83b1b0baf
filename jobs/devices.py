"""The GPUs of this machine on which runs have places: which there are, and how a worker keeps to its own.

Asked of the NVIDIA driver's own tool, as torch takes seconds to import. Where there is no GPU, or a torch that cannot
use one, there is one place without a name: runs come one after another, on what torch finds by itself. Which dtype a
device computes in is decided in `engine/models.py`; who gets a place, in `queue.py`. Tried with listings that tests
write; on a machine with several GPUs it is untried.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

CUDA_PACKAGES = ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime-cu13")
VISIBLE = "CUDA_VISIBLE_DEVICES"
TOOL_SECONDS = 20.0


class Place(NamedTuple):
    """A GPU.

    Attributes:
        name: cuda:0, cuda:1, ..., as a process that sees all of them calls it.
        title: what it says of itself.
        visible: what CUDA_VISIBLE_DEVICES has to be for a process to see it alone.
    """

    name: str
    title: str
    visible: str


def places() -> list[Place]:
    """The GPUs that runs can have, one each; none where runs have to come one after another."""
    torch = installed("torch")
    if torch is None or is_cpu_build(torch):
        return []
    listed = nvidia_gpus()
    allowed = os.environ.get(VISIBLE)
    if allowed is None:
        return [Place(f"cuda:{number}", title, uuid) for number, (uuid, title) in enumerate(listed)]
    # In the order that was given there, and by the same words: CUDA may count in another order than the tool.
    titles, words = dict(listed), [word.strip() for word in allowed.split(",")]
    named = [word for word in words if word and word != "-1"]
    return [Place(f"cuda:{n}", titles.get(word, "NVIDIA GPU"), word) for n, word in enumerate(named)] if listed else []


def not_here(job_id: int, wanted: str, names: Sequence[str]) -> str:
    """Why a run waits for a person whose device is not there, and what to do."""
    return (
        f"{wanted} was chosen for it, and this machine has {', '.join(names)}. Choose another with "
        f"python -m studio jobs device {job_id}, and continue it."
    )


def occupy(visible: str) -> None:
    """Have this process, and all it starts, see one GPU alone. To be called before torch is imported."""
    os.environ[VISIBLE] = visible


def nvidia_gpus() -> list[tuple[str, str]]:
    """Number and name of each NVIDIA GPU, as the driver's tool lists them; none where it cannot be asked."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    command = [tool, "--query-gpu=uuid,name", "--format=csv,noheader"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    lines = [line.partition(",") for line in asked.stdout.splitlines() if line.strip()]
    return [(uuid.strip(), title.strip()) for uuid, _, title in lines]


def is_cpu_build(torch: str) -> bool:
    """A CPU build says so in its version (`2.13.0+cpu`); the plain one does where no CUDA package came with it."""
    if "+" in torch:
        return "+cpu" in torch
    return not any(map(installed, CUDA_PACKAGES))


def installed(package: str) -> str | None:
    """The version of an installed package; None where it is missing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
