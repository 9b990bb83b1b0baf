"""How a signal ends a worker's work: at once where that is harmless, else when what is being saved is saved."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from jobs.ending import Ended, Ending


@pytest.fixture
def ending() -> Iterator[Ending]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    ending = Ending()
    ending.listen()
    yield ending
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_breaks_off_what_may_be_broken_off(ending: Ending) -> None:
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with pytest.raises(Ended), ending.may_interrupt():
        time.sleep(5)
    assert ending.signal == "SIGTERM"


def test_a_signal_waits_while_something_is_being_saved(ending: Ending) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Ended):
        ending.check()


def test_another_thread_can_call_the_work_off(ending: Ending) -> None:
    threading.Timer(0.05, ending.call_off).start()
    with pytest.raises(Ended), ending.may_interrupt():
        time.sleep(5)
    assert ending.signal == ""
