"""Patterns from outside match what Python's own matcher matches, and never take long."""

import re
import time

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from engine.patterns import Patience, Pattern, PatternError

ATOMS = ["a", "b", "q_proj", ".", r"\.", r"\d", "[ab]", "[^a]", "[a-c_]", r"\w", r"\b", r"[\d]{1,}", ".*?", "a{1,2}"]
PATTERNS = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}|{pair[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{0,2}", "{2}", "*?"])).map(lambda p: f"(?:{p[0]}){p[1]}"),
        inner.map(lambda ahead: f"(?!{ahead})"),
        inner.map(lambda ahead: f"(?={ahead})"),
    ),
    max_leaves=8,
)
TEXTS = st.lists(st.sampled_from(["a", "b", ".", "1", "_", "q_proj"]), max_size=7).map("".join)


@settings(max_examples=400)
@given(PATTERNS, TEXTS)
def test_a_pattern_matches_what_pythons_own_matcher_matches(pattern: str, text: str) -> None:
    assert Pattern(pattern).fits(text, Patience()) == (re.fullmatch(pattern, text) is not None)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@settings(max_examples=200, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.text(alphabet=r"ab.*+?{}()[]|\^$-,1:=!<>w", max_size=20), TEXTS)
def test_what_is_a_pattern_in_both_means_the_same(pattern: str, text: str) -> None:
    try:
        ours, theirs = Pattern(pattern), re.compile(pattern)
    except (PatternError, re.error):
        assume(False)
    assert ours.fits(text, Patience()) == (theirs.fullmatch(text) is not None)


HARD = [
    ("(a+)+b", None),
    ("(a|a)*b", None),
    ("(.*)*(.*)*(.*)*x", None),
    ("((a{1,100}){1,100}){1,100}", "is too large"),
    ("(((){9999}){9999}){9999}", "is too large"),
    ("(" * 200 + ")" * 200, "too many groups"),
    ("(?=(.*)*(?=(.*)*(?=(.*)*(?=(.*)*x))))" * 3, "takes too long"),
    ("a" * 2001, "2001 characters"),
    (r"(a)\1", r"uses \\1"),
    ("(?<=a)b", "not supported"),
    ("(?P<x>a)", "not supported"),
    ("a**", "repeats a repeat"),
    ("*", "repeats nothing"),
    ("a{2,1}", "no count"),
    ("[b-a]", "range"),
    ("[", "ends too early"),
    ("(", "leaves a group open"),
    (")", "closes a group"),
]


@pytest.mark.parametrize(("pattern", "told"), HARD, ids=[pattern[:20] for pattern, _ in HARD])
def test_a_pattern_made_to_run_for_ever_does_not(pattern: str, told: str | None) -> None:
    begun = time.perf_counter()
    if told is None:
        assert not Pattern(pattern).fits("a" * 300, Patience())
    else:
        with pytest.raises(PatternError, match=told):
            Pattern(pattern).fits("a" * 300, Patience())
    assert time.perf_counter() - begun < 5
