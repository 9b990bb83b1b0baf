"""Start, recognise and end processes. The one place that does.

A process is known by three things together: its number, when it started, and the boot it runs in. A number alone is
given out again, and after a restart of the machine may belong to anybody. Knows nothing of jobs, databases or models.
POSIX is tried; the Windows branches are written after its documentation and untried.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from adapters_store.tables import Owner

ROOT = Path(__file__).resolve().parent.parent
SAME_START = 0.5  # seconds by which two readings of one start may differ where the system only tells the clock
# Cut off from this terminal, at the head of a group of its own; POSIX says the same by start_new_session.
_NEW_GROUP: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) | getattr(subprocess, "DETACHED_PROCESS", 0)
POLL = 0.05  # seconds between two looks at processes that are to end


def identify(pid: int | None = None) -> Owner:
    """Who the process `pid` is; this process by default. Raises psutil.NoSuchProcess when there is none."""
    pid = os.getpid() if pid is None else pid
    return Owner(pid=pid, started=_started(pid), boot=boot_id())


def alive(owner: Owner) -> bool:
    """Whether exactly this process still runs. A zombie, or another process with the same number, does not count."""
    if owner.pid <= 0 or owner.boot != boot_id():
        return False
    try:
        if psutil.Process(owner.pid).status() == psutil.STATUS_ZOMBIE:
            return False
        return abs(_started(owner.pid) - owner.started) < SAME_START
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # a process that may not be looked at is not one of ours
        return False


def boot_id() -> str:
    """What tells this run of the machine from the one before; empty where the start time must do."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _started(pid: int) -> float:
    """Seconds from boot to the start of `pid` on Linux, since 1970 elsewhere.

    Linux is asked for its ticks: there the start by the clock moves whenever the clock is set.
    """
    if sys.platform != "linux":
        return psutil.Process(pid).create_time()
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        raise psutil.NoSuchProcess(pid) from None
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def module_command(module: str, *arguments: str) -> list[str]:
    """The argument list that runs a module of this project in a fresh interpreter."""
    return [sys.executable, "-m", module, *arguments]


def environment() -> dict[str, str]:
    """The environment of our processes: nothing is looked up or reported over the network, text is UTF-8."""
    path = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH")) if p)
    return {
        **os.environ,
        "PYTHONPATH": path,
        "PYTHONUTF8": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }


def start_detached(argv: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start `argv` so that it outlives this process; what it prints is appended to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=environment(),
            start_new_session=True,
            creationflags=_NEW_GROUP,
        )


def start_piped(argv: list[str], log: Path) -> subprocess.Popen[str]:
    """Start `argv` as a child that is spoken with in lines of text; what it prints as errors is appended to `log`.

    It is cut off from the terminal, so that Ctrl-C reaches its parent alone, and sees the end of its input when the
    parent is gone.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            encoding="utf-8",
            cwd=ROOT,
            env=environment(),
            start_new_session=True,
            creationflags=_NEW_GROUP,
        )


def run_briefly(argv: list[str], given: str, also: Mapping[str, str], log: Path, seconds: float) -> int:
    """Run `argv`, no shell between, with the text `given` as its input; what it prints is appended to `log`.

    `also` goes over the environment of this process. Returns the exit status, minus the number of a signal. After
    `seconds` it is ended with all it started.

    Raises:
        OSError: it cannot be started.
        subprocess.TimeoutExpired: it was ended.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as words, log.open("ab") as output:
        words.write(given)
        words.seek(0)
        child = subprocess.Popen(
            argv,
            stdin=words,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **also},
            start_new_session=True,
            creationflags=_NEW_GROUP,
        )
    owner = identify(child.pid)
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        end(owner, 1.0)
        child.wait()
        raise


def how_it_ended(returncode: int) -> str:
    """What an exit status means, to follow the name of what ended: "was killed by signal 9, probably out of memory"."""
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    number = -returncode
    if number == 9:
        return "was killed by signal 9, probably out of memory"
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"was ended by signal {number}"
    verb = "crashed with" if name in {"SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE"} else "was ended by"
    return f"{verb} signal {number} ({name})"


def let_go(process: subprocess.Popen[bytes]) -> None:
    """Stop caring about a child: a thread waits for its end, so that it leaves no zombie behind."""
    threading.Thread(target=process.wait, name=f"wait-{process.pid}", daemon=True).start()


def end(owner: Owner, grace_s: float) -> None:
    """End a process and all it started: ask first, kill what is left after `grace_s` seconds. Safe to call twice."""
    if not alive(owner):
        return
    members = _family(owner.pid)
    if not _ask_group(owner.pid):
        _each(members, psutil.Process.terminate)
    if not _gone(members, grace_s):
        # Looked for again: what was started in the meantime has to go too.
        members = list({*members, *_family(owner.pid)})
        _each(members, psutil.Process.kill)
        _gone(members, 2.0)


def wake(owner: Owner) -> bool:
    """Let a process go on that somebody has stopped; whether it was."""
    if not alive(owner):
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(owner.pid)
        if process.status() == psutil.STATUS_STOPPED:
            process.resume()
            return True
    return False


def _family(pid: int) -> list[psutil.Process]:
    try:
        head = psutil.Process(pid)
        return [head, *head.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _ask_group(pid: int) -> bool:
    """Ask the whole group that `pid` heads to end, members without a parent included. False where it heads none."""
    if sys.platform == "win32":
        return False
    try:
        if os.getpgid(pid) != pid:
            return False
        os.killpg(pid, signal.SIGTERM)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _each(processes: list[psutil.Process], action: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            action(process)


def _gone(processes: list[psutil.Process], grace_s: float) -> bool:
    deadline = time.monotonic() + grace_s
    while any(_runs(p) for p in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def go_last() -> None:
    """Let everything else go first, the page above all: what is left over is still the whole machine when it idles."""
    psutil.Process().nice(getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS", 5))  # the class on Windows, a number elsewhere


def peak_memory_bytes() -> int:
    """The most memory this process has held so far, in bytes."""
    if sys.platform == "linux":
        # Not getrusage: its figure is inherited from the process that started this one.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.split(":")[0] == "VmHWM":
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # macOS counts in bytes


def memory_bytes() -> int:
    """The memory this process holds now, in bytes."""
    return int(psutil.Process().memory_info().rss)
