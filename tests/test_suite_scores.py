"""Automatic scores: against the examples of the papers, by hand, and by counting everything."""

import itertools
import math
from collections import Counter

import pytest

from engine.suites import scores


@pytest.mark.parametrize(
    ("answer", "score"),
    [("police kill the gunman", 0.75), ("the gunman kill police", 0.5), ("the gunman police killed", 0.5)],
)
def test_rouge_l_is_that_of_lin_2004(answer: str, score: float) -> None:
    """Lin 2004, section 3.1, examples S2 to S4 against S1; beta is 1 there."""
    assert scores.rouge_l(answer, "police killed the gunman") == score


def test_rouge_l_counts_the_longest_common_subsequence_of_words_in_any_script() -> None:
    answer, reference = "Der Regen, der nass ist: дождь идёт", "der Regen ist nass, дождь идёт!"
    said, right = answer.lower().replace(",", "").replace(":", "").split(), reference.lower().rstrip("!").split()
    right = [word.strip(",") for word in right]
    longest = max(
        length
        for length in range(len(said) + 1)
        for chosen in itertools.combinations(said, length)
        if _stands_in(chosen, right)
    )
    precision, recall = longest / len(said), longest / len(right)
    assert scores.rouge_l(answer, reference) == pytest.approx(2 * precision * recall / (precision + recall))
    assert scores.rouge_l("", reference) == scores.rouge_l("", "") == 0


def _stands_in(chosen: tuple[str, ...], words: list[str]) -> bool:
    left = iter(words)
    return all(word in left for word in chosen)


@pytest.mark.parametrize(
    ("answer", "reference"), [("the cat sat", "the cat sat on the mat"), ("Regen fällt", "Der Regen fällt nass.")]
)
def test_chrf_is_the_formula_of_popovic_2015(answer: str, reference: str) -> None:
    precisions, recalls = [], []
    for size in range(1, 7):
        said, right = _pieces(answer, size), _pieces(reference, size)
        both = sum((said & right).values())
        precisions.append(both / sum(said.values()))
        recalls.append(both / sum(right.values()))
    precision, recall = sum(precisions) / 6, sum(recalls) / 6
    assert scores.chrf(answer, reference) == pytest.approx(5 * precision * recall / (4 * precision + recall))


def _pieces(text: str, size: int) -> Counter[str]:
    dense = text.replace(" ", "")
    return Counter(dense[at : at + size] for at in range(len(dense) - size + 1))


def test_an_answer_is_exact_or_contains_the_reference() -> None:
    assert scores.exact("  42\n", "42")
    assert not scores.exact("42.", "42")
    assert scores.contains("It is PARIS, of course.", " Paris ")
    assert not scores.contains("It is Rome.", "Paris")


@pytest.mark.parametrize(
    ("answer", "reference", "equal"),
    [
        ('{"a": [1, 2.0], "b": null}', '{"b": null, "a": [1.0, 2]}', True),
        ('{"a": true}', '{"a": 1}', False),
        ("[1, 2]", "[2, 1]", False),
        ('{"a": 1}', '{"a": 1, "b": 2}', False),
        ('Here it is: {"a": 1}', '{"a": 1}', False),
        ("NaN", "NaN", False),
        ("[" * 100_000, "1", False),
        ("0", "false", False),
    ],
)
def test_json_is_equal_by_its_value(answer: str, reference: str, equal: bool) -> None:
    assert scores.json_equal(answer, reference) is equal


def test_json_is_valid_only_as_the_whole_answer() -> None:
    assert scores.json_valid(' {"a": 1}\n')
    assert not scores.json_valid('```json\n{"a": 1}\n```')
    assert not scores.json_valid("")


def test_a_pattern_that_drives_others_mad_is_answered_at_once() -> None:
    assert scores.scored(["regex"], "a" * 100_000 + "b", None, "(a+)+$") == {"regex": 0}
    assert scores.scored(["regex"], "x" * 100_000, None, "(x+x+)+y") == {"regex": 0}


def test_the_reference_can_stand_in_a_pattern_and_is_taken_literally() -> None:
    pattern = r"(?i)total:\s*{reference}\b"
    assert scores.scored(["regex"], "Total: 3.50", "3.5", pattern) == {"regex": 0}
    assert scores.scored(["regex"], "Total: 3.50", "3.50", pattern) == {"regex": 1}
    assert scores.scored(["regex"], "Total: 3x50", "3.50", pattern) == {"regex": 0}
    assert scores.scored(["regex"], "Total: 3.50", None, pattern) == {}
    assert scores.scored(["regex"], "anything", "x" * 3_000_000, "{reference}") == {}


def test_only_scores_that_can_be_told_are_told() -> None:
    names = ["exact", "json_valid", "chrf", "perplexity"]
    assert scores.scored(names, "[]", None) == {"json_valid": 1}
    assert scores.scored(names, "[]", "[]") == {"exact": 1, "json_valid": 1, "chrf": 1}
    assert all(math.isfinite(score) for score in scores.scored(list(scores.SCORES), "", "").values())


def test_all_that_is_wrong_with_a_choice_of_scores_is_said_at_once() -> None:
    unknown, nothing, together, pattern = scores.problems(["exact", "bleu"], "(?=a)", 0)
    assert unknown.startswith("bleu is not a score. Choose among exact, contains,")
    assert nothing == "Nothing to score by exact match: no prompt of this suite has a reference."
    assert together == "The score regex and a pattern go together: give both or none."
    assert pattern == (
        "The pattern cannot be used: invalid perl operator: (?=. It is read by RE2, which knows no look-around and no "
        "back reference."
    )
    assert scores.problems(["regex"], "a" * 1001, 0) == ["The pattern has 1,001 characters; 1,000 are the most."]
    assert scores.problems(["regex", "json_valid"], "^{reference}$", 0) == []


def test_where_nobody_has_chosen_the_references_say_by_what_to_score() -> None:
    assert scores.advised(["Water.", "{}"]) == ["exact", "rouge_l", "chrf", "perplexity"]
    assert scores.advised(["[1]", "{}"], "^a") == ["json_valid", "json_equal", "chrf", "perplexity", "regex"]
    assert scores.advised([]) == []
