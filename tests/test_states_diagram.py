"""The drawing of the states is that of the table, and stays it."""

import re

import pytest

from adapters_store.states import FINAL, TRANSITIONS
from tests import states_diagram


def test_the_document_is_what_make_states_would_write() -> None:
    assert states_diagram.DOCUMENT.read_text("utf-8") == states_diagram.document(), "run: make states"


def test_every_way_of_the_table_is_drawn_and_no_other() -> None:
    drawn = re.findall(r"^    (\w+) --> (\w+): ", states_diagram.document(), re.MULTILINE)
    assert sorted(drawn) == sorted((state, to) for state, following in TRANSITIONS.items() for to in following)
    ends = re.findall(r"^    (\w+) --> \[\*\]$", states_diagram.document(), re.MULTILINE)
    assert set(ends) == FINAL


def test_a_state_without_words_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRANSITIONS, "asleep", frozenset({"queued"}))
    with pytest.raises(ValueError, match="Every state needs its meaning"):
        states_diagram.document()
