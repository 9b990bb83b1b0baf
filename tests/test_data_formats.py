"""Whatever rows are written, in whatever kind of file, the same are read; and no file is too much for the memory."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from engine.data import json_rows
from engine.data.check import DataError, Reading, preview, read
from engine.data.prose import PASSAGE

Pairs = list[tuple[str, str]]

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
# How long an example takes says something about the machine only.
CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
quiet = settings(max_examples=40, deadline=None, suppress_health_check=CHECKS)
pairs = st.lists(st.tuples(*[texts.filter(lambda t: bool(t.strip()))] * 2), min_size=1, max_size=6)


def named(rows: Pairs) -> list[dict[str, str]]:
    return [{"prompt": asked, "completion": said} for asked, said in rows]


def as_lines(rows: Pairs) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in named(rows)).encode()


def as_table(delimiter: str, quoting: Any = csv.QUOTE_MINIMAL) -> Callable[[Pairs], bytes]:
    def write(rows: Pairs) -> bytes:
        out = io.StringIO(newline="")
        csv.writer(out, delimiter=delimiter, quoting=quoting).writerows([("prompt", "completion"), *rows])
        return out.getvalue().encode()

    return write


def as_parquet(rows: Pairs) -> bytes:
    out = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(named(rows)), out, row_group_size=2)
    return out.getvalue()


WRITERS: dict[str, Callable[[Pairs], bytes]] = {
    "lines": as_lines,
    "lines, escaped, CRLF": lambda rows: "".join(json.dumps(row) + "\r\n" for row in named(rows)).encode(),
    "list": lambda rows: json.dumps(named(rows)).encode(),
    "pretty list": lambda rows: json.dumps(named(rows), indent=2, ensure_ascii=False).encode(),
    "inside an object": lambda rows: json.dumps({"about": [1, {"a": "]"}], "data": named(rows), "end": 2}).encode(),
    "commas": as_table(","),
    "commas, all quoted": as_table(",", csv.QUOTE_ALL),
    "tabs": as_table("\t"),
    "semicolons": as_table(";"),
    "Parquet": as_parquet,
    "gzip of lines": lambda rows: gzip.compress(as_lines(rows)),
    "gzip of Parquet": lambda rows: gzip.compress(as_parquet(rows)),
    "UTF-16": lambda rows: as_lines(rows).decode().encode("utf-16"),
    "UTF-8 with a mark": lambda rows: b"\xef\xbb\xbf" + as_lines(rows),
}


@pytest.mark.parametrize("kind", WRITERS)
@quiet
@given(rows=pairs)
def test_the_rows_that_were_written_are_read(kind: str, rows: Pairs, tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_bytes(WRITERS[kind](rows))
    found = [tuple(message["content"] for message in row["messages"]) for row in read(path).rows]
    assert found == [(asked.strip(), said.strip()) for asked, said in rows]


@quiet
@given(rows=pairs, block=st.integers(1, 9))
def test_a_list_is_read_wherever_its_text_is_parted(
    rows: Pairs, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_rows, "BLOCK", block)
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"version": -123.5e6, "data": named(rows), "next": 4567}, indent=1), "utf-8")
    assert [row["messages"][1]["content"] for row in read(path).rows] == [said.strip() for _, said in rows]


@quiet
@given(text=st.text(st.sampled_from("abc .\n#`"), min_size=1, max_size=60), times=st.integers(1, 300))
def test_of_plain_text_and_markdown_no_word_is_lost_or_moved(text: str, times: int, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("Once upon a time.\n" + text * times, "utf-8")
    passages = [row["text"] for row in read(path).rows]
    assert "".join("".join(passages).split()) == "".join(path.read_text("utf-8").split())
    assert all(len(passage) <= PASSAGE for passage in passages)


# --- more than anybody would hold in memory ---------------------------------------------------------------------------

GOOD = '{"prompt": "q", "completion": "a"}'
HUGE = 100_000_000
LIMIT = "this has more than 10,000,000 characters, which is the limit for a row."


@pytest.fixture
def most_held() -> Iterator[Callable[[], int]]:
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def huge(path: Path, before: str, after: str, opening: Callable[..., Any] = open) -> Path:
    with opening(path, "wb") as out:
        out.write(before.encode())
        for _ in range(100):
            out.write(b"a" * (HUGE // 100))
        out.write(after.encode())
    return path


def test_a_line_of_100_mb_is_told_and_passed_over_and_never_held(tmp_path: Path, most_held: Callable[[], int]) -> None:
    path = huge(tmp_path / "rows.jsonl", GOOD + '\n{"prompt": "', f'", "completion": "b"}}\n{GOOD}\n')
    with Reading(path) as reading:
        assert len(list(reading)) == 2
    assert [bad.sentence for bad in reading.bad] == [f"Line 2: {LIMIT}"]
    assert most_held() < HUGE


def test_a_value_of_100_mb_in_a_list_ends_the_file_in_words(tmp_path: Path, most_held: Callable[[], int]) -> None:
    path = huge(tmp_path / "rows.json", f'[{GOOD}, {{"prompt": "', '"}]')
    with pytest.raises(DataError, match="more than 10,000,000 characters, the limit for a row"):
        read(path)
    assert most_held() < HUGE


def test_a_gzip_that_unpacks_without_end_is_refused(tmp_path: Path, most_held: Callable[[], int]) -> None:
    path = huge(tmp_path / "bomb.gz", GOOD + "\n", "\n", gzip.open)
    with path.open("ab") as out:  # a second part, as gzip allows
        out.write(path.read_bytes())
    assert path.stat().st_size < HUGE / 80
    with pytest.raises(DataError, match="The gzip file unpacks to more than 100 MB"):
        read(path, skip_bad=True)
    assert most_held() < HUGE


def test_a_preview_reads_the_beginning_only(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{GOOD}\n" * 50_000 + "nonsense\n", "utf-8")
    with Reading(path) as reading:
        assert len(list(islice(reading, 3))) == 3
        assert reading.share() < 0.5
    seen = preview(path)
    assert (len(seen.rows or []), seen.problems) == (3, [])
    path.write_text(f"{GOOD}\n" + '{"prompt": "q"}\n' * 50_000, "utf-8")
    seen = preview(path)
    assert (len(seen.rows or []), len(seen.problems)) == (1, 99)


def test_a_device_is_no_file_of_rows_and_is_never_read() -> None:
    assert preview(Path(os.devnull)).problems == [
        "This is no file with rows in it. Choose a file, or a folder of files."
    ]
