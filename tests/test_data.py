"""Files of rows: formats found by content, every bad row named, canonical snapshots."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.data.check import DataError, read, read_rows, spans, write_rows

CHAT = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ahoy"}]}


def _file(tmp_path: Path, content: str | bytes, name: str = "rows.jsonl") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("row", "form", "first"),
    [
        (CHAT, "messages", CHAT["messages"]),
        (
            {"instruction": "Translate", "input": "chat", "output": "cat"},
            "instruction",
            [{"role": "user", "content": "Translate\n\nchat"}, {"role": "assistant", "content": "cat"}],
        ),
        ({"instruction": "Say hi", "input": "", "output": "hi"}, "instruction", None),
        ({"prompt": "2+2?", "completion": "4"}, "prompt", None),
        ({"question": "2+2?", "answer": "4"}, "prompt", None),
        ({"Prompt": "2+2?", "Response": "4", "id": 7}, "prompt", None),
    ],
)
def test_each_format_is_found_from_its_columns(tmp_path: Path, row: Any, form: str, first: Any) -> None:
    checked = read(_file(tmp_path, _lines(row, row)))
    assert checked.format == form
    assert checked.understood.startswith("Read as ")
    assert len(checked.rows) == 2
    if first:
        assert checked.rows[0]["messages"] == first
    assert [learned for _, learned in spans(checked.rows[0])] == [False, True]


def test_plain_text_is_learned_as_a_whole(tmp_path: Path) -> None:
    checked = read(_file(tmp_path, _lines({"text": "Once upon a time"})))
    assert checked.format == "text"
    assert spans(checked.rows[0]) == [("Once upon a time", True)]


def test_the_same_rows_come_out_of_every_kind_of_file(tmp_path: Path) -> None:
    rows = [{"prompt": f'q{i}, "x"\nnext', "completion": f"a{i}; ü"} for i in range(3)]
    csv_text = "prompt{0}completion\n" + "".join(f'"q{i}, ""x""\nnext"{{0}}"a{i}; ü"\n' for i in range(3))
    files: list[str | bytes] = [
        _lines(*rows),
        json.dumps(rows),
        json.dumps(rows, indent=2),
        json.dumps({"data": rows}),
        _lines(*rows).replace("\n", "\r\n"),
        "\ufeff" + _lines(*rows),
        _lines(*rows).encode("utf-16"),
        csv_text.format(","),
        csv_text.format("\t"),
        csv_text.format(";"),
    ]
    expected = read(_file(tmp_path, files[0])).rows
    for content in files[1:]:
        assert read(_file(tmp_path, content, "anything.txt")).rows == expected


def test_a_table_with_one_column_of_text_is_read(tmp_path: Path) -> None:
    assert len(read(_file(tmp_path, "text\nfirst\nsecond\n", "t.csv")).rows) == 2


BAD = [
    ('{"prompt": "q", "completion": "a"', "Line 2: this is not valid JSON"),
    ('{"prompt": "q", "completion": ""}', "Line 2: the column completion is empty."),
    ('{"prompt": "q"}', "Line 2: the column completion is missing."),
    ('{"prompt": "", "completion": "a"}', "Line 2: the column prompt is empty."),
    ('{"prompt": "q", "completion": 4}', "Line 2: the column completion holds a number, not text."),
    ('{"prompt": "q", "completion": ["a"]}', "Line 2: the column completion holds a list, not text."),
    ('{"prompt": {"a": 1}, "completion": "a"}', "Line 2: the column prompt holds an object, not text."),
    ("[1, 2]", "Line 2: this is a list, not an object with columns."),
    ("null", "Line 2: this is null, not an object with columns."),
    ("7", "Line 2: this is a number, not an object with columns."),
]


@pytest.mark.parametrize(("line", "told"), BAD)
def test_a_bad_row_is_named_by_its_line_and_reason(tmp_path: Path, line: str, told: str) -> None:
    good = '{"prompt": "q", "completion": "a"}'
    with pytest.raises(DataError) as error:
        read(_file(tmp_path, f"{good}\n{line}\n\n{good}\n"))
    assert error.value.problems[0].startswith(told)
    assert error.value.total == 1


BAD_CHATS = [
    ([], "should be a list of messages"),
    ("hello", "should be a list of messages, but is text"),
    ([{"role": "user", "content": "q"}], "no answer to learn"),
    ([{"role": "wizard", "content": "q"}], "has the role 'wizard'"),
    ([{"role": "user", "content": None}], "has null as its content"),
    ([{"role": "user", "content": "  "}], "message 1 (user) is empty"),
    ([{"role": "assistant", "content": "a"}], "does not begin with the user"),
    ([*CHAT["messages"], {"role": "user", "content": "q"}], "the last message is not the assistant's"),
    ([CHAT["messages"][0], *CHAT["messages"]], "messages 1 and 2 are both of the user"),
    ([*CHAT["messages"], {"role": "system", "content": "s"}], "after the first place"),
]


@pytest.mark.parametrize(("messages", "told"), BAD_CHATS)
def test_a_bad_conversation_is_named_with_the_reason(tmp_path: Path, messages: Any, told: str) -> None:
    with pytest.raises(DataError) as error:
        read(_file(tmp_path, _lines(CHAT, {"messages": messages})))
    assert error.value.problems[0].startswith("Line 2: ")
    assert told in error.value.problems[0]


def test_all_bad_rows_are_counted_and_the_first_hundred_named(tmp_path: Path) -> None:
    rows = [{"prompt": "q", "completion": ""}] * 250
    with pytest.raises(DataError) as error:
        read(_file(tmp_path, _lines({"prompt": "q", "completion": "a"}, *rows)))
    assert error.value.total == 250
    assert len(error.value.problems) == 100


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "The file is empty."),
        ("  \n\n", "The file is empty."),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "This is a picture."),
        (b"PK\x03\x04\0\0\0\0", "This is a zip archive. Unpack it"),
        (b'{"prompt": "q", "completion": "a"}\n{"prompt": "\xff\xfe"}', "Line 2: this is not UTF-8 text"),
        ("[1, 2, 3]", "No row is an object with named columns"),
        ("[" * 100_000, "nested too deeply"),
        ('[{"prompt": "q"', "not valid JSON"),
        ('{"a": "x", "b": 2}\n', "The columns a, b are not understood"),
        ('{"name": "s", "id": 1}\n', "Name them messages, or instruction and output"),
        ("prompt,completion\nq,a\nq\n", "Line 3: this has 1 column, and the header has 2."),
        ("prompt,completion\nq,a\nq,a,b\n", "Line 3: this has 3 columns, and the header has 2."),
    ],
)
def test_a_file_that_cannot_be_learned_from_is_refused_in_words(
    tmp_path: Path, content: str | bytes, told: str
) -> None:
    with pytest.raises(DataError) as error:
        read(_file(tmp_path, content))
    assert told in " ".join(error.value.problems)


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda t: bool(t.strip()))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no mistake
@given(st.lists(texts, min_size=1, max_size=5))
def test_a_snapshot_gives_back_what_was_written_whatever_the_text(
    tmp_path_factory: pytest.TempPathFactory, answers: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "snapshot.jsonl"
    rows = [{"text": answer} for answer in answers]
    digest = write_rows(rows, path)
    assert read_rows(path) == rows
    assert read_rows(path, limit=1) == rows[:1]
    assert write_rows(read_rows(path), path) == digest


def test_a_template_in_a_row_is_only_text(tmp_path: Path) -> None:
    hostile = "{{ 7 * 7 }} ${7*7} <script>alert(1)</script> ![](http://x)"
    row = read(_file(tmp_path, _lines({"prompt": hostile, "completion": hostile}))).rows[0]
    assert spans(row) == [(hostile, False), (hostile, True)]
