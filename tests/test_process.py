"""Processes are started, recognised and ended for certain.

pytest tests/test_process.py
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from jobs import process
from tests.workshop import wait_for

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and sessions")


def python(code: str, log: Path) -> "subprocess.Popen[bytes]":
    return process.start_detached([sys.executable, "-c", code], log)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "child.log"


def test_this_process_is_alive_by_its_identity() -> None:
    assert process.alive(process.identify())


def test_another_start_or_another_boot_is_another_process() -> None:
    me = process.identify()
    assert not process.alive(me._replace(started=me.started - 10))
    assert not process.alive(me._replace(boot="another boot"))
    assert not process.alive(me._replace(pid=0))


def test_a_process_is_no_longer_alive_once_it_ended_even_before_it_is_waited_for(log: Path) -> None:
    child = python("input", log)
    wait_for(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE, what="a zombie")
    owner = process.identify(child.pid)
    assert not process.alive(owner)
    child.wait()
    assert not process.alive(owner)


def test_what_a_detached_process_prints_is_in_its_log(log: Path) -> None:
    child = python("import sys; print('out'); print('err', file=sys.stderr); print(repr(sys.stdin.read()))", log)
    assert child.wait(20) == 0
    assert sorted(log.read_text().split()) == ["''", "err", "out"]


@posix_only
def test_a_detached_process_heads_a_session_of_its_own(log: Path) -> None:
    child = python("import time; time.sleep(60)", log)
    try:
        assert os.getsid(child.pid) == child.pid
    finally:
        process.end(process.identify(child.pid), 5)
        child.wait()


@posix_only
def test_ending_takes_the_children_along_and_kills_what_does_not_listen(log: Path, tmp_path: Path) -> None:
    marker = tmp_path / "grandchild"
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    grandchild = f"{stubborn}open({str(marker)!r}, 'w').write('ready'); time.sleep(60)"
    child = python(
        f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {grandchild!r}]); time.sleep(60)", log
    )
    wait_for(lambda: marker.exists() and marker.read_text(), what="the grandchild")
    owner = process.identify(child.pid)
    (below,) = psutil.Process(child.pid).children()
    process.end(owner, 0.3)
    assert child.wait(5) in (-signal.SIGTERM, -signal.SIGKILL)
    wait_for(lambda: not below.is_running() or below.status() == psutil.STATUS_ZOMBIE, 3, "the grandchild to go")
    process.end(owner, 0.3)  # a second time does nothing


def test_another_process_with_the_same_number_is_not_ended(log: Path) -> None:
    child = python("import time; time.sleep(60)", log)
    owner = process.identify(child.pid)
    process.end(owner._replace(started=owner.started - 100), 0.1)
    assert child.poll() is None
    process.end(owner, 5)
    child.wait()


@pytest.mark.parametrize(
    ("returncode", "words"),
    [
        (1, "ended with exit code 1"),
        (-9, "was killed by signal 9, probably out of memory"),
        (-11, "crashed with signal 11 (SIGSEGV)"),
        (-15, "was ended by signal 15 (SIGTERM)"),
    ],
)
def test_an_exit_status_is_told_in_words(returncode: int, words: str) -> None:
    assert process.how_it_ended(returncode) == words


def test_our_processes_are_told_to_stay_off_the_network() -> None:
    assert process.environment()["HF_HUB_OFFLINE"] == "1"
    assert process.environment()["HF_HUB_DISABLE_TELEMETRY"] == "1"


def test_peak_memory_is_at_least_what_is_held_now() -> None:
    block = bytearray(30_000_000)
    assert process.peak_memory_bytes() >= process.memory_bytes() - 10_000_000 > len(block)


@pytest.mark.parametrize("module", ["process", "queue", "progress", "ask", "runner", "worker", "ending"])
def test_what_only_watches_imports_neither_torch_nor_gradio(module: str) -> None:
    code = (
        f"import sys, jobs.{module}; print(sorted({{'torch', 'transformers', 'gradio', 'numpy'}} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=process.environment()
    )
    assert found.stdout.strip() == "[]"
