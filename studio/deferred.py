"""Modules that are imported when they are first needed, so that the command line answers at once.

Most of what a command imports is for its work: `--help` needs none of it, and the library alone takes longer to import
than a help page may take to show. Knows nothing about commands.
"""

from importlib import import_module
from typing import Any


class Deferred:
    """Stands for the module `name` and imports it when something of it is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, what: str) -> Any:
        return getattr(import_module(self._name), what)
