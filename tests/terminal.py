"""The command line without processes: commands run here, and what they queue is done here before they go on.

For tests of what commands say and leave behind. That commands, runner and workers are processes is tested by those
that start them; starting torch once more for each run would be most of the time.
"""

from __future__ import annotations

import io
import json
import logging
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from adapters_store.store import Store
from jobs import runner
from jobs.ending import Ending
from jobs.worker import do
from studio import cli


@dataclass
class Terminal:
    """A person at a terminal, with a data folder and an environment."""

    data_dir: Path
    env: dict[str, str] = field(default_factory=dict)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What a finished command would have left: its exit code and its output, apart by stream."""
        return self.done(lambda: cli.main(words))

    def done(self, command: Callable[[], int]) -> subprocess.CompletedProcess[str]:
        """Do `command` in the environment of this terminal."""
        out, err = io.StringIO(), io.StringIO()
        with _logging_as_before(), pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name, value in {**self.env, "LORA_STUDIO_DATA": str(self.data_dir)}.items():
                patch.setenv(name, value)
            patch.setattr(runner, "ensure", do_what_waits)
            code = command()
        return subprocess.CompletedProcess([], code, out.getvalue(), err.getvalue())

    def json(self, *words: str) -> Any:
        """The one JSON value on stdout of a command that succeeds."""
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def do_what_waits(data_dir: Path) -> None:
    """Do all queued jobs of a data folder, in their order. Each has its log, as if a worker had written it."""
    store = Store(data_dir)
    try:
        while waiting := store.jobs(states=["queued"]):
            job = min(waiting, key=lambda one: one.place)
            with _logged(store.files.log(f"job-{job.id}")):
                do(store, job.id, Ending())
    finally:
        store.close()


@contextmanager
def _logged(file: Path) -> Iterator[None]:
    handler = logging.FileHandler(file)
    root, before = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield
    root.setLevel(before)
    root.removeHandler(handler)
    handler.close()


@contextmanager
def _logging_as_before() -> Iterator[None]:
    """A command sends the log of its process to a file of its data folder; this process has a log of its own."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers, root.level = handlers, level
