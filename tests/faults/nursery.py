"""Processes of the studio for the price of a fork: a server has imported everything, and each process is its child.

    python -m tests.faults.nursery SOCKET [MODULE ...]

A child runs a module of ours as `__main__`, in a session of its own and with its output in a log, as
`jobs.process.start_detached` would have it; only the importing is spared. What the children start comes from here too,
so a forked runner has forked workers. The server has one thread and no open library, so there is nothing that a fork
could tear apart. It ends, with all its children, when the one who started it is gone.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from jobs import process
from tests.faults import points

# The last keeps the allocator of pyarrow, which Gradio imports, from starting a thread.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
READY_SECONDS = 180  # to import everything on a busy machine
MAIN = {"__main__", "__mp_main__"}


class Forked:
    """A child of the server, with what `subprocess.Popen` has and the runner asks for."""

    def __init__(self, address: str, pid: int) -> None:
        self.pid, self._address = pid, address
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """How it ended, as Popen says it; None while it runs."""
        if self.returncode is None:
            self.returncode = ask(self._address, {"ended": self.pid})["returncode"]
        return self.returncode

    def wait(self, timeout: float = math.inf) -> int:
        """Wait for the end, at most `timeout` seconds."""
        until = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(0.01)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Any other signal; nothing where it has ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> bool:
        """SIGKILL; False if it had ended by itself."""
        if self.poll() is not None:
            return False
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        return self.wait() == -signal.SIGKILL


class Piped(Forked):
    """A child that is spoken with in lines of text."""

    def __init__(self, address: str, pid: int, pipes: list[str]) -> None:
        super().__init__(address, pid)
        # In the order in which the child opens them: each waits for the other. Both stay open.
        self.stdin = Path(pipes[0]).open("w", encoding="utf-8")  # noqa: SIM115
        self.stdout = Path(pipes[1]).open(encoding="utf-8")  # noqa: SIM115


class Nursery:
    """The server, and how to have children of it. A context manager: the server ends with it."""

    def __init__(self, *also: str) -> None:
        """`also` are modules to import beforehand, besides what a run needs."""
        self._folder = tempfile.TemporaryDirectory(prefix="nursery-")
        self._address = str(Path(self._folder.name) / "socket")
        command = process.module_command("tests.faults.nursery", self._address, *also)
        environment = {**process.environment(), **ONE_THREAD}
        self._server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=process.ROOT
        )
        self.fault: points.Fault | None = None  # for the next process that a fault may be meant for
        self.told: Path | None = None  # where that one is to write which points it passes, or that the fault has come

    def __enter__(self) -> Self:
        assert self._server.stdout is not None
        assert select.select([self._server.stdout], [], [], READY_SECONDS)[0], "the nursery did not start"
        assert self._server.stdout.readline() == b"ready\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.communicate()
        self._folder.cleanup()

    def fork(self, argv: list[str], log: Path) -> Forked:
        """Stands in for `jobs.process.start_detached`; a worker gets the fault that is due."""
        order: dict[str, Any] = {"argv": argv[argv.index("-m") + 1 :], "log": str(log), "environment": dict(os.environ)}
        if order["argv"][0] in points.TARGETS and self.told is not None:
            order |= {"fault": self.fault, "told": str(self.told)}
            self.fault = self.told = None
        return Forked(self._address, ask(self._address, order)["pid"])

    def living(self, *words: str) -> list[int]:
        """The numbers of all children that run with these words among theirs, also of those that children started."""
        return [int(pid) for pid in ask(self._address, {"living": words})["pids"]]

    @contextmanager
    def instead_of_processes(self) -> Iterator[None]:
        """What this process starts detached is forked, if it is a module of ours."""
        before = process.start_detached

        def start(argv: list[str], log: Path) -> Any:
            return self.fork(argv, log) if "-m" in argv else before(argv, log)

        process.start_detached = start
        try:
            yield
        finally:
            process.start_detached = before


def ask(address: str, order: dict[str, Any]) -> dict[str, Any]:
    """One question to the server, one answer."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(address)
        line.sendall(json.dumps(order).encode() + b"\n")
        with line.makefile() as answer:
            told: dict[str, Any] = json.loads(answer.readline())
    return told


class Server:
    """The loop of the server."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address)
        self._listener.listen(64)
        self._living: dict[int, list[str]] = {}  # by number, the words they were started with
        self._ended: dict[int, int] = {}

    def serve(self) -> None:
        """Answer until nobody holds the other end of stdin; then end what is left."""
        assert len(list(Path("/proc/self/task").iterdir())) == 1, f"threads: {threading.enumerate()}"
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([self._listener, sys.stdin], [], [], 0.05)
            self._reap()
            if sys.stdin in ready:
                break
            if self._listener in ready:
                self._answer(self._listener.accept()[0])
        for pid in self._living:
            os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        while self._living:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            del self._living[pid]
            self._ended[pid] = os.waitstatus_to_exitcode(status)

    def _answer(self, line: socket.socket) -> None:
        with line, line.makefile() as question:
            asked = question.readline()
            if not asked:  # whoever asked was killed meanwhile
                return
            order = json.loads(asked)
            told: dict[str, Any]
            if "ended" in order:
                told = {"returncode": self._ended.get(order["ended"], None if order["ended"] in self._living else 0)}
            elif "living" in order:
                told = {"pids": [pid for pid, words in self._living.items() if {*order["living"]} <= {*words}]}
            else:
                told = {"pid": self.fork(order, line)}
            with suppress(BrokenPipeError, ConnectionResetError):
                line.sendall(json.dumps(told).encode() + b"\n")

    def fork(self, order: dict[str, Any], *inherited: socket.socket) -> int:
        """A child that follows the order; its number."""
        pid = os.fork()
        if pid == 0:
            for line in (self._listener, *inherited):
                line.close()
            process.start_detached = lambda argv, log: _told(self._address, argv, log)  # type: ignore[assignment,return-value]
            process.start_piped = lambda argv, log: _piped(self._address, argv, log)  # type: ignore[assignment,return-value]
            process.go_last = lambda: None  # or a busy machine would have each of them wait for seconds
            become(order)
        self._living[pid] = order["argv"]
        return pid


def _told(address: str, argv: list[str], log: Path) -> Forked:
    order = {"argv": argv[argv.index("-m") + 1 :], "log": str(log), "environment": dict(os.environ)}
    return Forked(address, ask(address, order)["pid"])


def _piped(address: str, argv: list[str], log: Path) -> Piped:
    place = Path(tempfile.mkdtemp(dir=Path(address).parent))
    pipes = [str(place / name) for name in ("in", "out")]
    for pipe in pipes:
        os.mkfifo(pipe)
    order = {"argv": argv[argv.index("-m") + 1 :], "log": str(log), "environment": dict(os.environ), "pipes": pipes}
    return Piped(address, ask(address, order)["pid"], pipes)


def become(order: dict[str, Any]) -> None:
    """Be the process that was ordered, and never return."""
    code: Any = 1
    try:
        os.setsid()
        os.environ.clear()
        os.environ.update(order["environment"])
        output = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        pipes = order.get("pipes")
        os.dup2(os.open(pipes[0] if pipes else os.devnull, os.O_RDONLY), 0)
        os.dup2(os.open(pipes[1], os.O_WRONLY) if pipes else output, 1)
        os.dup2(output, 2)
        if "told" in order:
            points.watch(order["fault"], order["told"])
        sys.argv = order["argv"]
        runpy.run_module(order["argv"][0], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def learn(also: list[str]) -> None:
    """Import here what a run imports somewhere in its course: a child does one and tells."""
    for name in also:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory(prefix="learning-") as folder:
        told = Path(folder) / "modules"
        pid = os.fork()
        if pid == 0:
            _rehearse(Path(folder), told)
        assert os.waitpid(pid, 0)[1] == 0, "the rehearsal failed"
        for name in told.read_text().split():
            with suppress(ImportError):
                importlib.import_module(name)


def _rehearse(folder: Path, told: Path) -> None:
    code = 1
    try:
        from adapters_store.store import Store
        from jobs.ending import Ending
        from jobs.worker import do
        from tests.workshop import submit_run

        store = Store(folder / "data")
        job = submit_run(store)
        before = {"jobs.worker", "tests.workshop"}
        do(store, job.id, Ending())
        assert store.job(job.id).state == "completed", store.job(job.id).why
        told.write_text("\n".join(sorted(name for name in sys.modules if name not in MAIN | before)))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    # The server's own name must be the one that others import.
    from tests.faults import nursery

    nursery.learn(sys.argv[2:])
    nursery.Server(sys.argv[1]).serve()
