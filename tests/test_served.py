"""What the benchmarks count of a browser's processes, some of which come and go."""

import subprocess
import sys

import psutil
import pytest

from benchmarks import served


def test_a_process_that_ends_while_the_browser_is_counted_counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    listed = psutil.Process(child.pid)
    child.communicate(b"\n")
    monkeypatch.setattr(psutil.Process, "children", lambda self, recursive: [listed])
    assert served.browser_cpu_seconds() == 0
