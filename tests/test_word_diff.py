"""Word by word: both texts can be read out of their differences, and nothing is called changed that was not."""

from hypothesis import given
from hypothesis import strategies as st

from studio.word_diff import Stretch, differences, in_plain_text

TEXTS = st.text(st.sampled_from("ab é.\n\t, "), max_size=30)


@given(TEXTS, TEXTS)
def test_both_texts_can_be_read_from_their_differences(before: str, after: str) -> None:
    told = differences(before, after)
    assert "".join(one.text for one in told if one.kind != "new") == before
    assert "".join(one.text for one in told if one.kind != "gone") == after
    assert all(one.text for one in told)
    assert (before == after) == all(one.kind == "same" for one in told)


def test_a_changed_phrase_reads_as_one() -> None:
    assert differences("Rain is cold water.", "Rain is warm tea.") == [
        Stretch("same", "Rain is "),
        Stretch("gone", "cold water"),
        Stretch("new", "warm tea"),
        Stretch("same", "."),
    ]


def test_a_word_that_came_in_is_the_only_change() -> None:
    assert differences("It is deep.", "It is very deep.") == [
        Stretch("same", "It is "),
        Stretch("new", "very "),
        Stretch("same", "deep."),
    ]


def test_each_side_reads_with_marks_that_need_no_colour() -> None:
    assert in_plain_text(differences("Rain is cold water.", "Rain is warm tea, matey.")) == (
        "Rain is [-cold water-].",
        "Rain is {+warm tea, matey+}.",
    )
