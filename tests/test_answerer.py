"""The answerer and its line: real answers of the tiny model, cancels, deadlines and deaths.

pytest tests/test_answerer.py
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.data.check import write_rows
from jobs import process
from jobs.ask import Answerer, AnswererError
from tests.tiny import LENGTH, tiny_rows
from tests.workshop import QUICK, shared_tiny_model, wait_for

pytestmark = pytest.mark.usefixtures("one_thread_each")

ASKED = [{"role": "user", "content": "Question 1: what is bread?"}]
SAMPLING = {"seed": 7, "temperature": 0.7, "top_p": 0.95}


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answerer]:
    one = Answerer(tmp_path_factory.mktemp("logs") / "answerer.log")
    yield one
    one.close()


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two adapters that do something: B is not zero in them."""
    import torch

    from engine import adapter_files, models
    from engine.methods import fit
    from engine.settings import RunSettings

    paths = []
    for seed in (1, 2):
        base = models.load(shared_tiny_model())
        settings = RunSettings(rank=4, alpha=8)
        fitted = fit(base.model, settings)
        generator = torch.Generator().manual_seed(seed)
        tensors = {
            name: 0.2 * torch.randn(tensor.shape, generator=generator) for name, tensor in fitted.tensors().items()
        }
        folder = tmp_path_factory.mktemp(f"adapter-{seed}")
        fitted.remove()
        adapter_files.write(folder, tensors, base_name="tiny", settings=settings, model=base.model)
        paths.append(str(folder))
    return paths


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    write_rows(tiny_rows(20), path)
    return str(path)


def compare(answerer: Answerer, adapters: list[str], max_tokens: int = 8, **more: Any) -> Generator[dict[str, Any]]:
    return answerer.stream(
        "compare",
        base_path=str(shared_tiny_model()),
        adapters=adapters,
        messages=ASKED,
        max_tokens=max_tokens,
        **{**SAMPLING, **more},
    )


def child(answerer: Answerer) -> Any:
    assert answerer._child is not None
    return answerer._child._process


# --- answers ------------------------------------------------------------------------------------------------------


def test_base_and_adapters_answer_side_by_side_token_by_token(answerer: Answerer, adapters: list[str]) -> None:
    parts = list(compare(answerer, adapters))
    assert len(parts) > 1
    assert all(len(part["texts"]) == len(part["tokens"]) == len(part["finished"]) == 3 for part in parts)
    assert all(done or count == 8 for done, count in zip(parts[-1]["finished"], parts[-1]["tokens"], strict=True))
    for before, after in pairwise(parts):
        assert all(a <= b for a, b in zip(before["tokens"], after["tokens"], strict=True))
    assert len(set(parts[-1]["texts"])) == 3


def test_the_same_question_and_seed_give_the_same_answers(answerer: Answerer, adapters: list[str]) -> None:
    first, second = (list(compare(answerer, adapters))[-1]["texts"] for _ in range(2))
    assert first == second


def test_a_contestant_answers_alone_as_in_company(answerer: Answerer, adapters: list[str]) -> None:
    together = list(compare(answerer, adapters))[-1]["texts"]
    alone = list(compare(answerer, adapters[:1], include_base=False))[-1]["texts"]
    assert alone == together[1:2]


def test_scores_are_given_for_the_base_and_each_adapter(answerer: Answerer, adapters: list[str], rows: str) -> None:
    payload = {"base_path": str(shared_tiny_model()), "adapters": adapters, "rows_path": rows}
    losses = answerer.request("score", **payload)["losses"]
    assert len(losses) == 3
    assert len(set(losses)) == 3
    assert all(loss > 0 for loss in losses)


def test_the_base_is_kept_in_the_precision_the_request_names(
    answerer: Answerer, adapters: list[str], rows: str
) -> None:
    payload = {"base_path": str(shared_tiny_model()), "adapters": adapters, "rows_path": rows}
    named = [{"precision": "nf4"}, {"precision": "full"}, {}]
    four, full, unnamed = (answerer.request("score", **payload, **more)["losses"] for more in named)
    assert full == unnamed
    assert all(a != b and abs(a - b) < 1 for a, b in zip(four, full, strict=True))


def test_a_plan_counts_steps_tokens_and_cut_rows(answerer: Answerer, rows: str) -> None:
    payload = {"base_path": str(shared_tiny_model()), "rows_path": rows}
    plan = answerer.request("plan", settings={**QUICK, "epochs": 3}, **payload)
    assert (plan["rows"], plan["validation_rows"]) == (20, 2)
    assert (plan["steps_per_epoch"], plan["steps"]) == (3, 9)
    assert plan["rows_cut"] == 0
    assert plan["answer_tokens_per_epoch"] < plan["tokens_per_epoch"]
    short = answerer.request("plan", settings={**QUICK, "length": plan["longest"] - 1}, **payload)
    assert 0 < short["rows_cut"] <= 20
    assert short["length"] == plan["longest"] - 1


def test_the_tokens_of_a_soft_prompt_leave_less_room_for_a_row(answerer: Answerer, rows: str) -> None:
    payload = {"base_path": str(shared_tiny_model()), "rows_path": rows}
    room = answerer.request("plan", settings={"method": "prompt", "prompt_tokens": 1}, **payload)
    prompt = {"method": "prompt", "prompt_tokens": LENGTH - room["longest"] + 1}
    assert room["rows_cut"] == 0
    assert answerer.request("plan", settings=prompt, **payload)["rows_cut"] > 0


def test_a_plan_needs_the_tokenizer_only(answerer: Answerer, rows: str, tmp_path: Path) -> None:
    for file in shared_tiny_model().iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    assert answerer.request("plan", base_path=str(tmp_path), rows_path=rows, settings=QUICK)["steps"] > 0


# --- refusals -----------------------------------------------------------------------------------------------------


def test_a_problem_comes_back_as_a_sentence_and_the_next_request_works(answerer: Answerer, rows: str) -> None:
    payload = {"rows_path": rows, "settings": QUICK}
    wrong = {"rank": 0, "epochs": 0}
    with pytest.raises(AnswererError, match="Rank") as refused:
        answerer.request("plan", base_path=str(shared_tiny_model()), rows_path=rows, settings=wrong)
    assert len(refused.value.problems) == 2
    with pytest.raises(AnswererError, match="nowhere"):
        list(answerer.stream("compare", base_path="/nowhere", adapters=[], messages=ASKED, max_tokens=4, **SAMPLING))
    assert answerer.request("plan", base_path=str(shared_tiny_model()), **payload)["steps"] > 0


def test_closing_the_stream_cancels_the_answer(answerer: Answerer, adapters: list[str], rows: str) -> None:
    pid = child(answerer).pid
    with contextlib.closing(compare(answerer, adapters, max_tokens=200)) as stream:
        next(stream)
    payload = {"base_path": str(shared_tiny_model()), "rows_path": rows, "settings": QUICK}
    assert answerer.request("plan", **payload, deadline=20)["steps"] > 0
    assert child(answerer).pid == pid


def test_several_threads_wait_in_turn(answerer: Answerer, adapters: list[str]) -> None:
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: list(compare(answerer, adapters))[-1]["texts"], range(3)))
    assert answers[0] == answers[1] == answers[2]


# --- deaths -------------------------------------------------------------------------------------------------------


def test_a_killed_answerer_is_started_again_by_the_next_request(
    answerer: Answerer, adapters: list[str], rows: str
) -> None:
    before = list(compare(answerer, adapters))[-1]["texts"]
    old = child(answerer)
    old.kill()
    old.wait()
    assert list(compare(answerer, adapters))[-1]["texts"] == before
    assert child(answerer).pid != old.pid


def test_a_death_in_the_middle_of_an_answer_is_told_in_words(answerer: Answerer, adapters: list[str]) -> None:
    stream = compare(answerer, adapters, max_tokens=200)
    next(stream)
    child(answerer).kill()
    with pytest.raises(AnswererError, match="killed by signal 9, probably out of memory"):
        list(stream)


def test_a_request_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeper = [sys.executable, "-c", "import sys; sys.stdin.readlines()"]
    monkeypatch.setattr(process, "module_command", lambda *_: sleeper)
    one = Answerer(tmp_path / "answerer.log")
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(one.request, "plan", deadline=1.0)
        pid = wait_for(lambda: one._child, 5, "the child")._process.pid  # type: ignore[union-attr]
        with pytest.raises(AnswererError, match="No answer within 1 s"):
            asked.result()
    assert not psutil.pid_exists(pid)
    one.close()


def test_the_answerer_leaves_when_its_parent_is_gone(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from jobs.ask import Answerer\n"
        f"one = Answerer(pathlib.Path({str(tmp_path / 'answerer.log')!r}))\n"
        "try: one.request('unheard of')\n"
        "except Exception: pass\n"
        "print(one._child._process.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=process.environment(),
    ) as parent:
        assert parent.stdout is not None
        owner = process.identify(int(parent.stdout.readline()))
        parent.kill()
    wait_for(lambda: not process.alive(owner), 10, "the answerer to leave")


def test_what_a_library_prints_goes_to_the_log_and_not_into_the_protocol(tmp_path: Path) -> None:
    code = (
        "import os, sys; from jobs.answerer import take_over_output\n"
        "replies = take_over_output()\n"
        "print('a library talks'); sys.stdout.flush(); os.write(1, b'from C\\n')\n"
        "replies.write('{}\\n'); replies.flush()\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=process.environment())
    assert json.loads(found.stdout) == {}
    assert "a library talks" in found.stderr
    assert "from C" in found.stderr


def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    one = Answerer(tmp_path / "answerer.log")
    one.close()
    one.close()
