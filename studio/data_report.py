"""What is to be said of a file before it is a data set: how it is understood, which rows are bad, how long they are.

With a base model, rows that its chat template refuses, that are left with nothing to learn, or are cut are named by
their places in the file as well.

Rows pass by one at a time. Lengths in tokens are the answerer's: nothing here holds a tokenizer. Knows nothing about
commands or the page.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from adapters_store.store import Store
from adapters_store.tables import BaseModel
from engine.data import check
from engine.data.check import DataError, Reading, Row
from engine.data.problems import MOST_NAMED
from engine.settings import defaults_for
from jobs import adding_data
from jobs.ask import Answerer

DEADLINE = 1800.0  # seconds for the tokens of a file
Record = dict[str, Any]
Place = tuple[int, str]  # the number of a row in its file, and where it stands in words

_OF_TOKENS = {
    "tokens": "tokens",
    "answer_tokens": "answer_tokens",
    "max_length": "max",
    "p95_length": "p95",
    "truncated_rows": "cut_total",
    "masked_rows": "masked_total",
    "length": "length",
}


def report(store: Store, path: Path, columns: Mapping[str, str] | None, base: BaseModel | None) -> Record:
    """All that `data check` prints; nothing is kept. A file that cannot be read has its reasons under errors.

    Args:
        columns: maps roles to columns; None is as they were mapped the last time, or found out.
        base: whose tokenizer counts; None leaves the figures in tokens out (None).
    """
    chosen = adding_data.remembered(store, path) if columns is None else columns
    told = {"file": str(path), **_nothing(check.preview(path, chosen))}
    rows = _Distinct()
    try:
        with tempfile.TemporaryDirectory(dir=store.files.temporary) as folder, Reading(path, chosen) as reading:
            written = Path(folder) / "rows.jsonl"
            check.write_rows(rows.of(reading), written)
            told |= _of_reading(reading, rows)
            counted = _counted(store, base, written, rows.count) if base is not None and rows.count else {}
        told |= {ours: counted.get(theirs) for ours, theirs in _OF_TOKENS.items()}
        _tell_lost(told, counted, lambda wanted: _places(path, chosen, wanted))
    except DataError as error:
        told["errors"] = [{"line": None, "reason": problem} for problem in error.problems]
        told["error_total"] = error.total
    return told


def _nothing(seen: check.Preview) -> Record:
    return {
        "format": seen.format or None,
        "understood": seen.understood or None,
        "mapping": seen.columns,
        "columns": seen.column_names,
        "rows": 0,
        "usable_rows": 0,
        "errors": [],
        "error_total": 0,
        "duplicates": 0,
        "sources": None,
        **dict.fromkeys(_OF_TOKENS),
        "truncated": [],
        "warnings": [],
    }


def _of_reading(reading: Reading, rows: _Distinct) -> Record:
    facts = reading.facts()
    return {
        "detected": facts["detected"],
        "left_out": facts.get("left_out", []),
        "sources": facts.get("by_source"),
        "rows": rows.count + reading.bad_total,
        "usable_rows": rows.count,
        "errors": [{"line": bad.line, "reason": bad.reason, "says": bad.sentence} for bad in reading.bad],
        "error_total": reading.bad_total,
        "duplicates": rows.repeated(),
    }


class _Distinct:
    """Rows as they pass, and how many of them repeat an earlier one: eight bytes are held of each."""

    def __init__(self) -> None:
        self._seen = array("Q")

    def of(self, reading: Reading) -> Iterator[Row]:
        """The rows, one by one."""
        for row in reading:
            said = row.get("messages") or row["text"]  # and not where it comes from
            digest = hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=8).digest()
            self._seen.append(int.from_bytes(digest, "little"))
            yield row

    @property
    def count(self) -> int:
        """How many rows have passed."""
        return len(self._seen)

    def repeated(self) -> int:
        """How many of them an earlier one was equal to."""
        return len(self._seen) - len(set(self._seen))


def _counted(store: Store, base: BaseModel, rows: Path, count: int) -> Record:
    answerer = Answerer(store.files.log("answerer"))
    try:
        return answerer.request(
            "lengths",
            deadline=DEADLINE,
            base_path=str(store.base_path(base)),
            rows_path=str(rows),
            settings=defaults_for(count).model_dump(mode="json"),
            names_refused=True,
        )
    finally:
        answerer.close()


def _tell_lost(told: Record, counted: Record, places_of: Callable[[Collection[int]], dict[int, Place]]) -> None:
    """Add the rows to `told` that the base model takes nothing of, or not all, by their places in the file."""
    length = counted.get("length") or 0
    lost = dict(counted.get("refused") or []) | dict.fromkeys(
        counted.get("masked") or [], f"nothing to learn is left of it within {length:,} tokens."
    )
    cut = {
        row: f"it has {tokens:,} tokens, and is cut to {length:,}."
        for row, tokens in zip(counted.get("cut") or [], counted.get("cut_lengths") or [], strict=True)
    }
    places = places_of({*lost, *cut})
    total = int(counted.get("refused_total") or 0) + int(counted.get("masked_total") or 0)
    told["errors"] = [*told["errors"], *_named(lost, places)][:MOST_NAMED]
    told["error_total"] += total
    told["usable_rows"] -= total
    told["truncated"] = _named(cut, places)
    told["warnings"] = [*counted.get("warnings", []), *filter(None, [counted.get("warning")])]


def _named(reasons: Mapping[int, str], places: Mapping[int, Place]) -> list[Record]:
    return [
        {"line": places[row][0], "reason": reason, "says": f"{places[row][1]}: {reason}"}
        for row, reason in sorted(reasons.items())
    ]


def _places(path: Path, columns: Mapping[str, str] | None, wanted: Collection[int]) -> dict[int, Place]:
    """Where the usable rows with these numbers, from 0, stand in the file, which is read again as far as needed."""
    if not wanted:
        return {}
    with Reading(path, columns) as reading:
        first = islice(reading.places(), max(wanted) + 1)
        return {row: place for row, place in enumerate(first) if row in wanted}
