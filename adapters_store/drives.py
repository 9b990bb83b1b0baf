"""The drive under a folder: whether it takes anything now.

Asked where something went wrong. Knows nothing about what lies there.
"""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path


def read_only(folder: Path) -> bool:
    """Whether nothing can be made in the folder because its drive can only be read. Tries it: a drive that was turned
    read-only for its errors may still be listed as writable."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return False
    except OSError as error:
        return error.errno == errno.EROFS
