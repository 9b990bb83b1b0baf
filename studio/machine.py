"""One line about the machine for the top bar, without loading anything that computes.

The worker measures which device a run really uses; until one has, only the processor and its free memory are claimed.
"""

from __future__ import annotations

import psutil


def machine_sentence(device: str | None = None) -> str:
    """`CPU, 2 cores, 5.9 GB free`; a measured device that is not the CPU is named first."""
    cores = psutil.cpu_count() or 1
    free_gb = psutil.virtual_memory().available / 1e9
    processor = f"{cores} core{'s' if cores != 1 else ''}, {free_gb:.1f} GB free"
    if device and not device.lower().startswith("cpu"):
        return f"{device}, {processor}"
    return f"CPU, {processor}"
