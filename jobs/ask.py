"""The asking end of the answerer: requests and streams to a child process that holds the model.

The child is started on first use, started again when it died, and killed when it does not answer in time; whoever asks
sees an answer or a sentence. One request at a time; the others wait in turn. Imports neither torch nor transformers,
and knows nothing about what the kinds of requests mean.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

from jobs import process

REST_SECONDS = 600.0  # that giving back memory waits for its turn
CLOSE_GRACE = 2.0  # seconds the child gets to leave by itself


class AnswererError(RuntimeError):
    """No answer. The message says why, for the person who asked; `problems` has the same one by one.

    `about` says what can be done about it, where a page can offer that: see `jobs.room.NoRoom`.
    """

    def __init__(self, message: str, problems: list[str] | None = None, about: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.problems = problems or [message]
        self.about = about or {}


class Answerer:
    """One child process and the line to it. Safe to share between threads."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._turns = Turns()
        self._numbers = itertools.count(1)
        self._child: _Child | None = None
        self._warm = False  # whether the child may hold a model

    def request(self, kind: str, *, deadline: float = 60, **payload: object) -> dict[str, Any]:
        """Ask and wait for the one answer, at most `deadline` seconds.

        Raises:
            AnswererError: refused, failed, died, or no answer in time.
        """
        return self._result(self._ask(kind, deadline, payload))

    def request_in_spare_time(self, kind: str, *, deadline: float, **payload: object) -> dict[str, Any]:
        """`request`, but anybody else who asks comes first: then it is taken back, and asked again once nobody waits.

        Raises:
            AnswererError: as `request`; `deadline` is for all attempts together.
        """
        until = time.monotonic() + deadline
        while True:
            answer = self._result(self._ask(kind, until - time.monotonic(), payload, spare=True))
            if not answer.get("cancelled"):
                return answer

    def _result(self, messages: Generator[dict[str, Any]]) -> dict[str, Any]:
        answer: dict[str, Any] = {}
        for message in messages:
            answer = message.get("result", answer)
        return answer

    def stream(self, kind: str, *, deadline: float = 300, **payload: object) -> Generator[dict[str, Any]]:
        """Ask and yield the parts of the answer as they come. Closing the iterator cancels within one token.

        Raises:
            AnswererError: refused, failed, died, or not finished in time.
        """
        with contextlib.closing(self._ask(kind, deadline, payload)) as messages:
            for message in messages:
                if "part" in message:
                    yield message["part"]

    def rest(self) -> None:
        """Have the child give back the memory of its model, once nobody asks. Returns at once; safe to call often."""
        if self._warm and self._child is not None:
            self._warm = False
            threading.Thread(target=self._rest, name="answerer-rest", daemon=True).start()

    def _rest(self) -> None:
        with contextlib.suppress(AnswererError):
            self.request_in_spare_time("rest", deadline=REST_SECONDS)

    def close(self) -> None:
        """End the child. The next request would start another. Safe to call twice, and while a request is under way."""
        child, self._child = self._child, None
        if child is not None:
            child.close()

    def _ask(
        self, kind: str, deadline: float, payload: dict[str, object], spare: bool = False
    ) -> Generator[dict[str, Any]]:
        until = time.monotonic() + deadline
        self._warm = self._warm or kind != "rest"
        if not self._turns.take(deadline, spare):
            busy = "The model had no time to spare." if spare else f"The model was busy for {deadline:.0f} s."
            raise AnswererError(f"{busy} Try again.")
        try:
            number = next(self._numbers)
            child = self._send({"id": number, "kind": kind, **payload})
            if spare:
                self._turns.give_way_by(lambda: child.send({"cancel": number}))
            yield from self._replies(child, number, until, deadline)
        finally:
            self._turns.release()

    def _send(self, message: dict[str, object]) -> _Child:
        """Hand the message to a child that takes it: the one at hand, or a new one when that died in its sleep."""
        if self._child is not None and self._child.send(message):
            return self._child
        self._drop()
        self._child = child = _Child(self._log)
        if not child.send(message):
            raise AnswererError(self._died(child))
        return child

    def _replies(self, child: _Child, number: int, until: float, deadline: float) -> Generator[dict[str, Any]]:
        answered = False
        try:
            while not answered:
                message = self._next(child, until, deadline)
                if message.get("id") != number:
                    continue  # the tail of a request that was cancelled
                answered = "part" not in message
                if "error" in message:
                    raise AnswererError(message["error"], message["problems"], message.get("about"))
                yield message
        finally:
            if not answered:
                child.send({"cancel": number})

    def _next(self, child: _Child, until: float, deadline: float) -> dict[str, Any]:
        try:
            message = child.receive(until - time.monotonic())
        except TimeoutError:
            self._drop()
            raise AnswererError(
                f"No answer within {deadline:.0f} s, so the request was ended. Ask for less at once, or try again."
            ) from None
        if message is None:
            raise AnswererError(self._died(child))
        return message

    def _died(self, child: _Child) -> str:
        self._drop()
        how = process.how_it_ended(child.returncode())
        return f"The process that holds the model {how}. It starts anew with the next request; its log is {self._log}."

    def _drop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()


class Turns:
    """Who may ask now: one at a time, and those that ask in spare time after all others."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._taken = False
        self._waiting = 0  # that do not ask in spare time
        self._give_way: Callable[[], object] | None = None

    def take(self, deadline: float, spare: bool) -> bool:
        """Wait for a turn; False when there was none in time. Who has one in spare time is told to give way."""
        with self._free:
            if spare:
                return self._taken_when(lambda: not self._taken and not self._waiting, deadline)
            self._waiting += 1
            try:
                self._say_so()
                return self._taken_when(lambda: not self._taken, deadline)
            finally:
                self._waiting -= 1
                self._free.notify_all()

    def give_way_by(self, give_way: Callable[[], object]) -> None:
        """What to do, in a turn in spare time, as soon as somebody else waits; at once where somebody does."""
        with self._free:
            self._give_way = give_way
            if self._waiting:
                self._say_so()

    def release(self) -> None:
        """Give the turn back."""
        with self._free:
            self._taken, self._give_way = False, None
            self._free.notify_all()

    def _taken_when(self, free: Callable[[], bool], deadline: float) -> bool:
        mine = self._free.wait_for(free, max(0.0, deadline))
        self._taken = self._taken or mine
        return mine

    def _say_so(self) -> None:
        give_way, self._give_way = self._give_way, None
        if give_way is not None:
            give_way()


class _Child:
    """The process with its two pipes. A thread reads its lines, so that waiting for one can have a deadline."""

    def __init__(self, log: Path) -> None:
        self._process = process.start_piped(process.module_command("jobs.answerer"), log)
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._writing = threading.Lock()  # a request is also taken back by whoever waits for it
        self._reader = threading.Thread(target=self._read, name="answerer-reader", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError, OSError):  # closed under us by kill()
            for line in self._process.stdout:
                self._lines.put(line)
        self._lines.put(None)

    def send(self, message: dict[str, object]) -> bool:
        """Write one message; False when nobody is there to read it."""
        assert self._process.stdin is not None
        if self._process.poll() is not None:
            return False
        try:
            with self._writing:
                self._process.stdin.write(json.dumps(message) + "\n")
                self._process.stdin.flush()
        except (OSError, ValueError):  # broken pipe, or closed by close()
            return False
        return True

    def receive(self, timeout: float) -> dict[str, Any] | None:
        """The next message; None when the child is gone. Raises TimeoutError."""
        try:
            line = self._lines.get(timeout=max(0.0, timeout))
        except queue.Empty:
            raise TimeoutError from None
        if line is None:
            self._lines.put(None)  # for whoever asks again
            return None
        message: dict[str, Any] = json.loads(line)
        return message

    def returncode(self) -> int:
        """Exit status, minus the number of the signal that ended it. Waits for the end."""
        return self._process.wait()

    def close(self) -> None:
        """Let it leave by itself, then make it."""
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        with contextlib.suppress(TimeoutExpired):
            self._process.wait(CLOSE_GRACE)
        self.kill()

    def kill(self) -> None:
        """End it at once and give back its pipes. Safe to call twice."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()
