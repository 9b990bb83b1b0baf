"""A corpus of small awkward files in tests/data, one quirk each. What should come of each stands in expected.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.data.check import DataError, Reading, preview

CORPUS = Path(__file__).parent / "data"
EXPECTED: dict[str, dict[str, Any]] = json.loads((CORPUS / "expected.json").read_text("utf-8"))


def rows_of(expected: dict[str, Any]) -> list[Any]:
    """The clean rows an entry stands for: texts, pairs of user and assistant, or messages; with weights and sources."""
    if "text" in expected:
        return [{"text": text} for text in expected["text"]]
    pairs = [[["user", asked], ["assistant", said]] for asked, said in expected.get("pairs", [])]
    talks = expected.get("messages", pairs)
    rows = [{"messages": [dict(zip(("role", "content", "weight"), m, strict=False)) for m in talk]} for talk in talks]
    sources = [{"source": source} if source else {} for source in expected.get("sources", [None] * len(rows))]
    return [row | source for row, source in zip(rows, sources, strict=True)]


@pytest.mark.parametrize("name", EXPECTED)
def test_each_file_is_read_or_refused_as_it_should_be(name: str) -> None:
    expected = EXPECTED[name]
    seen = preview(CORPUS / name, expected.get("columns"))
    if "column_names" in expected:
        assert seen.column_names == expected["column_names"]
    if "refused" in expected:
        assert (seen.rows, seen.format) == (None, "")
        assert seen.problems[0].startswith(expected["refused"])
        with pytest.raises(DataError) as error, Reading(CORPUS / name, expected.get("columns")) as reading:
            list(reading)
        assert error.value.problems == seen.problems
        return
    with Reading(CORPUS / name, expected.get("columns")) as reading:
        rows, facts = list(reading), reading.facts()
    assert rows == rows_of(expected)
    assert reading.format == seen.format == expected["format"]
    assert [bad.sentence for bad in reading.bad] == expected.get("bad", [])
    assert seen.rows == rows[: len(seen.rows or [])]
    assert reading.understood.startswith("Read as ")
    for key in ("detected", "left_out"):
        assert facts.get(key) == expected.get(key, facts.get(key))


def test_the_corpus_is_complete_and_each_file_has_a_quirk_of_its_own() -> None:
    files = {file.name for file in CORPUS.iterdir()} - {"expected.json"}
    assert files == set(EXPECTED)
    quirks = [expected["quirk"] for expected in EXPECTED.values()]
    assert len(set(quirks)) == len(quirks) >= 60
