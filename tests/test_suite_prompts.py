"""What a suite asks: prompts and references from lines and from rows."""

import pytest

from engine.suites import prompts
from engine.suites.prompts import Prompt, SuiteError


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def test_lines_become_prompts_and_empty_ones_are_none() -> None:
    assert prompts.typed([" What is rain? ", "", "  "]) == [Prompt([said("user", "What is rain?")], None)]


def test_all_up_to_the_last_answer_is_asked() -> None:
    turns = [said("system", "Be brief."), said("user", "Rain?"), said("assistant", "Water."), said("user", "Sea?")]
    row = {"messages": [*turns, {**said("assistant", "Salt water."), "weight": 1}]}
    assert prompts.of_rows([row]) == [Prompt(turns, "Salt water.")]


def test_rows_that_ask_nothing_are_named() -> None:
    rows = [{"text": "Once upon a time"}, {"messages": [said("assistant", "Hello.")]}]
    with pytest.raises(SuiteError) as told:
        prompts.of_rows(rows)
    assert told.value.problems == [
        "These rows cannot be asked.",
        "Row 1: it is plain text, which asks nothing.",
        "Row 2: nobody asks anything before its last answer.",
    ]


def test_a_suite_has_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert prompts.problems([]) == ["A suite needs at least one prompt."]
    monkeypatch.setattr(prompts, "MOST_PROMPTS", 1)
    monkeypatch.setattr(prompts, "MOST_CHARACTERS", 12)
    assert prompts.problems(prompts.typed(["short"])) == []
    assert prompts.problems(prompts.typed(["short", "much too long"])) == [
        "There are 2 prompts; a suite takes 1. Take fewer.",
        "Prompt 2 has 13 characters; 12 are the most.",
    ]


def test_the_suites_system_message_stands_before_prompts_that_bring_none() -> None:
    asked = [said("user", "Rain?")]
    assert prompts.with_system(asked, "Be brief.") == [said("system", "Be brief."), *asked]
    assert prompts.with_system(asked, "") == asked
    own = [said("system", "Be long."), *asked]
    assert prompts.with_system(own, "Be brief.") == own
