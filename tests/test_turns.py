"""Whoever asks in spare time gives way to everybody else, and gets its answer once nobody waits."""

import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from jobs import ask
from jobs.ask import Answerer, AnswererError

QUICK = 30.0  # seconds in which all of this is long over


class Child:
    """Stands for the process: the first `slow` proofs come to no end until they are taken back."""

    def __init__(self, slow: int) -> None:
        self.slow = slow
        self.asked: list[str] = []
        self.at_work = threading.Event()
        self.said: queue.Queue[dict[str, Any]] = queue.Queue()

    def send(self, message: dict[str, Any]) -> bool:
        if "cancel" in message:
            self.said.put({"id": message["cancel"], "result": {"cancelled": True}})
            return True
        self.asked.append(message["kind"])
        if message["kind"] == "proof" and self.slow:
            self.slow -= 1
            self.at_work.set()
        else:
            self.said.put({"id": message["id"], "result": {"done": message["kind"]}})
        return True

    def receive(self, timeout: float) -> dict[str, Any]:
        try:
            return self.said.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError from None

    def close(self) -> None:
        """It holds nothing."""

    kill = close


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Child:
    one = Child(slow=1)
    monkeypatch.setattr(ask, "_Child", lambda log: one)
    return one


@pytest.fixture
def answerer(child: Child, tmp_path: Path) -> Answerer:
    return Answerer(tmp_path / "log")


def test_a_proof_gives_way_to_the_next_question_and_is_made_afterwards(answerer: Answerer, child: Child) -> None:
    with ThreadPoolExecutor() as pool:
        proof = pool.submit(answerer.request_in_spare_time, "proof", deadline=QUICK)
        assert child.at_work.wait(QUICK)
        assert answerer.request("compare", deadline=QUICK) == {"done": "compare"}
        assert proof.result(QUICK) == {"done": "proof"}
    assert child.asked == ["proof", "compare", "proof"]


def test_of_two_that_wait_the_question_comes_first_though_the_proof_came_before(answerer: Answerer) -> None:
    turns, order = answerer._turns, queue.Queue[str]()

    def wait(name: str, spare: bool) -> None:
        assert turns.take(QUICK, spare)
        order.put(name)
        turns.release()

    assert turns.take(0, spare=False)
    proof, question = (threading.Thread(target=wait, args=one) for one in (("proof", True), ("question", False)))
    proof.start()
    question.start()
    while not turns._waiting:
        assert question.is_alive()
    turns.release()
    assert [order.get(timeout=QUICK), order.get(timeout=QUICK)] == ["question", "proof"]
    proof.join()
    question.join()


def test_who_already_waits_is_given_way_to_at_once_and_who_asks_a_question_is_not_interrupted() -> None:
    turns, told = ask.Turns(), list[str]()
    assert turns.take(0, spare=True)
    assert not turns.take(0, spare=False)
    turns._waiting = 1
    turns.give_way_by(lambda: told.append("gave way"))
    assert told == ["gave way"]
    turns._waiting = 0
    turns.release()
    assert turns.take(0, spare=False)
    assert not turns.take(0, spare=False)
    assert not turns.take(0, spare=True)
    assert told == ["gave way"]


def test_no_spare_time_is_said_in_words(answerer: Answerer) -> None:
    assert answerer._turns.take(0, spare=False)
    with pytest.raises(AnswererError, match="had no time to spare"):
        answerer.request_in_spare_time("proof", deadline=0)
