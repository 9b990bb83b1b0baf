"""What the answerer says about rows as tokens: views, lengths and plans, asked in this process, against single rows."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.data.check import write_rows
from engine.data.render import encode, encode_all
from engine.data.template import name_of
from engine.models import load_tokenizer
from jobs import requests
from jobs.answerer import Desk
from jobs.requests import KINDS, Cancelled
from tests.tiny import tiny_rows
from tests.workshop import shared_tiny_model

LENGTH = 60
CHAT: dict[str, Any] = {
    "messages": [
        {"role": "user", "content": "rain?"},
        {"role": "assistant", "content": "Water", "weight": 0},
        {"role": "user", "content": "The sea: 海?"},
        {"role": "assistant", "content": "Arr, {{ name }} <script>"},
    ]
}
ROWS = [CHAT, {"messages": [{"role": "user", "content": "why? " * 30}, CHAT["messages"][1]]}, *tiny_rows(30)]


@pytest.fixture(scope="module")
def desk() -> Desk:
    return Desk()


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer(shared_tiny_model())


@pytest.fixture(scope="module")
def rows_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    write_rows(ROWS, path)
    return path


def ask(desk: Desk, kind: str, rows: Path, base: Path | None = None, **more: Any) -> dict[str, Any]:
    stop: Callable[[], bool] = more.pop("should_stop", lambda: False)
    settings = {"length": LENGTH, **more.pop("settings", {})}
    payload = {"base_path": str(base or shared_tiny_model()), "rows_path": str(rows), "settings": settings, **more}
    (result,) = KINDS[kind](desk, payload, stop)
    as_sent: dict[str, Any] = json.loads(json.dumps(result))
    return as_sent


@pytest.mark.parametrize("loss_on", ["answers", "last", "all"])
def test_a_view_shows_all_of_each_row_and_marks_what_is_learned(
    desk: Desk, rows_path: Path, tokenizer: Any, loss_on: str
) -> None:
    shown = ask(desk, "view", rows_path, settings={"loss_on": loss_on}, first=0, count=3)
    assert shown["total"] == len(ROWS)
    assert [row["index"] for row in shown["rows"]] == [0, 1, 2]
    for row, seen in zip(ROWS, shown["rows"], strict=False):
        text = tokenizer.apply_chat_template(row["messages"], tokenize=False)
        whole, cut = (encode(tokenizer, row, length, loss_on) for length in (10_000, LENGTH))
        pieces = seen["pieces"]
        assert "".join(piece["text"] for piece in pieces) == text
        learned = [token for token, label in zip(whole.ids[1:], whole.labels[1:], strict=True) if label == token]
        assert "".join(piece["text"] for piece in pieces if piece["learned"]) == tokenizer.decode(learned)
        behind = "".join(piece["text"] for piece in pieces if piece["beyond"])
        assert behind == tokenizer.decode(whole.ids[LENGTH:])
        special = [piece["text"] for piece in pieces if piece["special"]]
        assert special == [word for word in ("<|im_start|>", "<|im_end|>") * len(row["messages"])]
        assert (seen["tokens"], seen["cut"]) == (whole.full_length, max(0, whole.full_length - LENGTH))
        assert seen["answer_tokens"] == cut.answer_tokens


def test_a_view_begins_anywhere_and_ends_with_the_rows(desk: Desk, rows_path: Path) -> None:
    shown = ask(desk, "view", rows_path, first=len(ROWS) - 2, count=5)["rows"]
    assert [row["index"] for row in shown] == [len(ROWS) - 2, len(ROWS) - 1]
    assert "Question 29" in "".join(piece["text"] for piece in shown[-1]["pieces"])
    assert ask(desk, "view", rows_path, first=0, count=500)["rows"][-1]["index"] < 100


def test_plain_text_shows_the_marks_the_tokenizer_adds_and_a_long_row_is_shortened(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.data.view.MOST_CHARACTERS", 40)
    write_rows([{"text": "Arr, matey!"}, {"text": "rain " * 20}], tmp_path / "rows.jsonl")
    short, long = ask(desk, "view", tmp_path / "rows.jsonl", first=0, count=2)["rows"]
    assert [piece["text"] for piece in short["pieces"]][-2:] == [", matey!", "<|im_end|>"]
    assert [piece["learned"] for piece in short["pieces"]] == [False, True, True]
    assert sum(len(piece["text"]) for piece in long["pieces"]) == 40
    assert long["hidden"] == 5 * 20 - 40 + len("<|im_end|>")


def test_a_row_that_the_template_refuses_has_a_problem_and_the_others_are_shown(
    desk: Desk, rows_path: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(shared_tiny_model(), base)
    template = "{% if messages|length > 2 %}{{ raise_exception('too long') }}{% endif %}"
    (base / "chat_template.jinja").write_text(template + (base / "chat_template.jinja").read_text())
    first, second = ask(desk, "view", rows_path, base, first=0, count=2)["rows"]
    assert first["problem"] == "The base model's chat template refused a row: too long"
    assert first["pieces"] == []
    assert "problem" not in second
    with pytest.raises(ValueError, match=r"Row 1: .* too long"):
        ask(desk, "lengths", rows_path, base)


def test_lengths_are_those_of_the_rows_one_by_one(desk: Desk, rows_path: Path, tokenizer: Any) -> None:
    told = ask(desk, "lengths", rows_path)
    examples = [encode(tokenizer, row, LENGTH) for row in ROWS]
    whole = sorted(example.full_length for example in examples)
    assert (told["rows"], told["length"], told["max"]) == (len(ROWS), LENGTH, whole[-1])
    assert told["tokens"] == sum(len(example.ids) for example in examples)
    assert told["answer_tokens"] == sum(example.answer_tokens for example in examples)
    assert told["p95"] == next(most for most in whole if sum(n <= most for n in whole) >= 0.95 * len(whole))
    assert told["cut"] == [i for i, example in enumerate(examples) if example.full_length > LENGTH]
    assert told["masked"] == [i for i, example in enumerate(examples) if not example.answer_tokens] == [1]
    assert (told["cut_total"], told["masked_total"]) == (len(told["cut"]), 1)
    assert told["bins"][0][0] <= whole[0]
    for first, end, count in told["bins"]:
        assert count == sum(first <= length < end for length in whole)
    assert sum(count for _, _, count in told["bins"]) == len(ROWS)
    assert (told["template"], told["warning"]) == ("ChatML", "")
    assert ask(desk, "lengths", rows_path, settings={"length": whole[-1]})["cut_total"] == 0
    assert ask(desk, "lengths", rows_path, settings={"length": whole[-1] - 1})["cut"] == [1]


def test_a_base_without_a_chat_template_is_told_of(desk: Desk, rows_path: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(shared_tiny_model(), base)
    (base / "chat_template.jinja").unlink()
    told = ask(desk, "lengths", rows_path, base)
    assert told["template"] is None
    assert "no chat template of its own" in told["warning"]
    assert name_of("{{ messages[0] }}") == "its own"
    assert name_of("{{ '[INST]' }}") == "Mistral or Llama 2"


def test_rows_become_tokens_once_for_all_that_asks_the_same_of_them(
    rows_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, made = Desk(), []

    def noted(*given: Any) -> Any:
        made.append(given[2:])
        return encode_all(*given)

    monkeypatch.setattr("engine.data.render.encode_all", noted)
    for settings in ({}, {"batch_size": 2}, {"epochs": 9, "seed": 4}, {"loss_on": "last"}):
        plan = ask(desk, "plan", rows_path, settings=settings)
        assert plan["rows_unusable"] == 1
    ask(desk, "lengths", rows_path)
    assert made == [(LENGTH, "answers"), (LENGTH, "last")]
    assert ask(desk, "plan", rows_path, settings={"loss_on": "all"})["rows_unusable"] == 0
    assert len(made) == 3


def test_a_count_that_is_taken_back_ends_between_two_rows(rows_path: Path) -> None:
    looks = iter([False, False, True])
    with pytest.raises(Cancelled):
        ask(Desk(), "lengths", rows_path, should_stop=lambda: next(looks))
    assert list(requests.unless(lambda: False, [1, 2])) == [1, 2]
