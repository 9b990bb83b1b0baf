"""A question as the fields of Compare ask it: read, checked, and said what is wrong with it. Nothing is believed.

Knows nothing about widgets or how an answer is made.
"""

from __future__ import annotations

from collections.abc import Sequence

from studio import own_settings
from studio.ask_form import LONGEST_PROMPT, prompt_problems, read_sampling
from studio.asked import Question, with_samples
from studio.contestants import MOST_COLUMNS, Contestant


def read_question(
    people: Sequence[Contestant], prompt: object, seed: object, how: object, sides: int | None
) -> tuple[Question, list[str]]:
    """The question, and in sentences what is wrong with it; where anything is, the question is of no use.

    Args:
        how: the value of the sampling's piece: numbers, "stop", "system", "samples", and "own" by contestant.
    """
    given = how if isinstance(how, dict) else {}
    wrong = prompt_problems(prompt)
    sampling = read_sampling({**given, "seed": seed}, wrong)
    system = given.get("system") or ""
    if not isinstance(system, str) or len(system) > LONGEST_PROMPT:
        wrong.append(f"A system prompt has at most {LONGEST_PROMPT:,} characters. Shorten it.")
    by_value = given.get("own") if isinstance(given.get("own"), dict) else {}
    own = own_settings.checked([by_value.get(one.value) for one in people], wrong)  # type: ignore[union-attr]
    samples = _samples(given.get("samples", 1), len(people), wrong)
    question = Question(people, str(prompt), sampling, str(system).strip(), sides=sides, own=own)
    return (question if wrong else with_samples(question, samples)), wrong


def _samples(given: object, people: int, wrong: list[str]) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= MOST_COLUMNS:
        wrong.append(f"Samples each is {given!r}; it has to be a whole number from 1 to {MOST_COLUMNS}.")
        return 1
    if people * given > MOST_COLUMNS and people <= MOST_COLUMNS:
        wrong.append(
            f"{people} contestants with {given} samples each make {people * given} columns; {MOST_COLUMNS} are the "
            "most here. Ask fewer, or use the command line: python -m studio compare --samples."
        )
    return given
