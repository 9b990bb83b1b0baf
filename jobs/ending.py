"""How a worker is interrupted: signals, a cancelled job, a lost lease. All of them arrive as one exception.

The exception is raised in the main thread between two lines of Python, also in the middle of loading or measuring, but
never while the worker saves what it has made. Knows nothing about jobs or the library.
"""

from __future__ import annotations

import _thread
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Ended(BaseException):
    """The work is to end here and now. Not an Exception, so that no library takes it for an error of its own."""


class Ending:
    """Turns the first signal into `Ended`, and remembers it for places where nothing may be raised."""

    def __init__(self) -> None:
        self.signal: str = ""  # the name of the signal that came from outside, if one did
        self._asked = False
        self._from_inside = False
        self._held = True

    def listen(self) -> None:
        """Take over the process's signals. Nothing is raised before `may_interrupt`."""
        for number in SIGNALS:
            signal.signal(number, self._handle)

    def call_off(self) -> None:
        """End the work from another thread of this process."""
        self._from_inside = True
        if hasattr(signal, "pthread_kill"):
            # A real signal, so that the main thread also wakes from waiting for a file or a child.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        else:
            _thread.interrupt_main(signal.SIGTERM)

    def check(self) -> None:
        """Raise `Ended` if the end was asked for: for loops that a raised exception may have passed by."""
        if self._asked:
            raise Ended

    @contextmanager
    def may_interrupt(self) -> Iterator[None]:
        """Work that may be broken off at any line."""
        self._held = False
        try:
            self.check()
            yield
        finally:
            self._held = True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again, self._asked = self._asked, True
        if not self._from_inside:
            self.signal = self.signal or signal.Signals(number).name
            if again and number == signal.SIGINT:
                os._exit(130)  # Ctrl-C twice means now
        if not self._held and not again:
            raise Ended
