"""Automatic scores of an answer: against the reference of its prompt, or by itself. From 0 to 1, higher is better.

`perplexity` is among the names because it is shown beside them; it needs the model and comes from `likelihood.py`.
Nothing here needs torch, and the libraries are imported when a score is first computed.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

MOST_PATTERN = 1_000  # characters
OWN = "{reference}"  # stands in a pattern for the reference of the prompt, taken literally


class Score(NamedTuple):
    """What is known of a score: its name for people, one line of help, and whether it needs a reference."""

    title: str
    help: str
    needs_reference: bool


SCORES: dict[str, Score] = {
    "exact": Score("exact match", "The answer is the reference, apart from white space at the ends.", True),
    "contains": Score("contains", "The reference stands in the answer, in capitals or not.", True),
    "json_valid": Score("JSON valid", "The whole answer is JSON.", False),
    "json_equal": Score("JSON equal", "The answer and the reference are JSON of the same value.", True),
    "regex": Score("pattern", "The pattern is found in the answer.", False),
    "rouge_l": Score("ROUGE-L", "Words of the reference in their order, as F1 (Lin 2004).", True),
    "chrf": Score("chrF", "Characters in pieces of one to six, as F2 (Popović 2015).", True),
    "perplexity": Score("perplexity", "How far the reference surprises the contestant; lower is better.", True),
}


def advised(references: Sequence[str], pattern: str = "") -> list[str]:
    """By what to score where nobody has chosen: what the references allow, and the pattern if there is one."""
    found = []
    if references:
        is_json = all(json_valid(one) for one in references)
        found = ["json_valid", "json_equal"] if is_json else ["exact", "rouge_l"]
        found += ["chrf", "perplexity"]
    return [*found, *(["regex"] if pattern else [])]


def problems(names: Sequence[str], pattern: str, references: int) -> list[str]:
    """Why a suite with this many references cannot be scored so; empty when it can."""
    wrong = []
    if unknown := [name for name in names if name not in SCORES]:
        wrong.append(f"{', '.join(unknown)} is not a score. Choose among {', '.join(SCORES)}.")
    needing = [SCORES[name].title for name in names if name in SCORES and SCORES[name].needs_reference]
    if needing and not references:
        wrong.append(f"Nothing to score by {', '.join(needing)}: no prompt of this suite has a reference.")
    if ("regex" in names) != bool(pattern):
        wrong.append("The score regex and a pattern go together: give both or none.")
    if pattern:
        wrong += _of_pattern(pattern)
    return wrong


def scored(names: Sequence[str], answer: str, reference: str | None, pattern: str = "") -> dict[str, float]:
    """The scores of an answer among `names` that can be told: those that need a reference only where there is one."""
    told = {name: _scored(name, answer, reference, pattern) for name in names}
    return {name: score for name, score in told.items() if score is not None}


def _scored(name: str, answer: str, reference: str | None, pattern: str) -> float | None:
    if reference is None and (SCORES[name].needs_reference or (name == "regex" and OWN in pattern)):
        return None
    if name == "regex":
        found = _found(pattern, answer, reference)
        return None if found is None else float(found)
    return float(_BY_TEXT[name](answer, reference or "")) if name in _BY_TEXT else None


def exact(answer: str, reference: str) -> bool:
    """The same text, apart from white space at the ends."""
    return answer.strip() == reference.strip()


def contains(answer: str, reference: str) -> bool:
    """The reference, without white space at its ends, stands in the answer; capitals do not matter."""
    return reference.strip().casefold() in answer.casefold()


def json_valid(answer: str, reference: str = "") -> bool:
    """The whole answer is one JSON value (RFC 8259: no NaN, no comments, nothing around it)."""
    return _value(answer) is not _NONE


def json_equal(answer: str, reference: str) -> bool:
    """Both are JSON of the same value: the order of keys and the form of numbers do not matter."""
    said, right = _value(answer), _value(reference)
    return said is not _NONE and right is not _NONE and _same(said, right)


def rouge_l(answer: str, reference: str) -> float:
    """F1 of the longest common subsequence of words: Lin 2004, "ROUGE", section 3.1, with beta = 1.

    Words are runs of letters and digits of any script, in small letters.
    """
    from rapidfuzz.distance import LCSseq

    said, right = _words(answer), _words(reference)
    both = LCSseq.similarity(said, right)
    return 2 * both / (len(said) + len(right)) if both else 0.0


def chrf(answer: str, reference: str) -> float:
    """chrF with pieces of up to six characters and beta = 2: Popović 2015, WMT, section 2; as sacrebleu computes it."""
    score: float = _chrf().sentence_score(answer, [reference]).score
    return score / 100


_BY_TEXT: Mapping[str, Callable[[str, str], float]] = {
    "exact": exact,
    "contains": contains,
    "json_valid": json_valid,
    "json_equal": json_equal,
    "rouge_l": rouge_l,
    "chrf": chrf,
}
_NONE = object()  # no JSON value


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return _NONE


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: in Python true is also 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())


@functools.cache
def _chrf() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF(char_order=6, word_order=0, beta=2)


# --- patterns -----------------------------------------------------------------------------------------------------


def _of_pattern(pattern: str) -> list[str]:
    import re2

    if len(pattern) > MOST_PATTERN:
        return [f"The pattern has {len(pattern):,} characters; {MOST_PATTERN:,} are the most."]
    try:
        _compiled(pattern.replace(OWN, "x"))
    except re2.error as error:
        why = error.args[0].decode("utf-8", "replace") if error.args else "unknown"
        known = "It is read by RE2, which knows no look-around and no back reference."
        return [f"The pattern cannot be used: {why}. {known}"]
    return []


def _found(pattern: str, answer: str, reference: str | None) -> bool | None:
    """Whether the pattern is in the answer; None where the reference makes it larger than RE2 takes."""
    import re2

    own = pattern.replace(OWN, re2.escape((reference or "").strip()))
    try:
        return _compiled(own).search(answer) is not None
    except re2.error:
        return None


@functools.lru_cache(maxsize=64)
def _compiled(pattern: str) -> Any:
    """RE2 takes time in proportion to the text, whatever the pattern, and its automata are bounded in memory."""
    import re2

    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)
