"""JSON from outside: whatever lies in a file, its readers get one object or a sentence."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import base_config, disk, json_file

NESTED = '{"a":' * 900 + "1" + "}" * 900  # as deep as Python's own reader still goes
ABYSS = "[" * 200_000
NO_OBJECTS = [b"", b"{", b"[]", b"null", b'{"a": 1} x', b"\xff\xfe", NESTED.encode(), ABYSS.encode(), b"1" * 9000]


@pytest.mark.parametrize("content", NO_OBJECTS, ids=range(len(NO_OBJECTS)))
def test_what_is_no_object_is_none_for_every_reader(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(content)
    assert json_file.read_object(file) is None
    assert disk.why_not(tmp_path) == "It has no config.json that can be read."
    (problem,) = base_config.problems_in(tmp_path, "tiny")
    assert problem.startswith("The config.json of tiny cannot be used: ")


def test_a_file_that_cannot_be_opened_is_none(tmp_path: Path) -> None:
    assert json_file.read_object(tmp_path / "absent.json") is None
    assert json_file.read_object(tmp_path) is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(value=VALUES)
def test_an_object_is_read_as_json_reads_it_and_nothing_else_is(value: object) -> None:
    content = json.dumps(value).encode()
    if isinstance(value, dict):
        assert json_file.parsed(content) == value
    else:
        with pytest.raises(ValueError, match="one JSON object"):
            json_file.parsed(content)


@pytest.mark.parametrize("kind", [["x"], {"a": 1}, 5, True])
def test_a_model_type_that_is_no_name_is_refused_in_words(kind: object) -> None:
    (problem,) = base_config.problems({"model_type": kind}, "tiny")
    assert problem == "tiny does not say what it is: config.json has no model_type."
