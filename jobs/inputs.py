"""Whether a base model is still the one that was added: what a job begins with.

Knows nothing about what the job does with it.
"""

from __future__ import annotations

from pathlib import Path

from adapters_store.tables import BaseModel
from engine import models


class InputError(RuntimeError):
    """What the job was set up with is gone or changed. The message says what, and what to do."""


def check_base(base: BaseModel, path: Path) -> None:
    """Check that the files of the base model in `path` are those of its fingerprint; this reads all of them.

    Raises:
        InputError: they are gone or changed.
    """
    if not path.is_dir():
        raise InputError(f"The base model {base.name} is no longer in {path}. Put it back or add it again.")
    if models.fingerprint(path) != base.fingerprint:
        raise InputError(
            f"The files of the base model {base.name} in {path} have changed since it was added. "
            "Add the folder again and start anew."
        )
