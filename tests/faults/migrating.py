"""A process that brings a library to the newest schema.

python -m tests.faults.migrating FILE
"""

from __future__ import annotations

import sys
from pathlib import Path

from adapters_store.database import upgrade

if __name__ == "__main__":
    upgrade(Path(sys.argv[1]))
