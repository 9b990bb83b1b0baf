"""Comparisons as files: whole, without formulas, without headings of other people's making, and without secrets."""

import csv
import io
import json

from adapters_store.store import Store
from adapters_store.tables import BaseModel, DataSet
from studio import comparison_files as files
from tests.test_store_comparisons import keep

Furnished = tuple[BaseModel, DataSet]
EVIL = '=HYPERLINK("http://x")\n# Not a heading, "quoted"'


def test_what_waits_for_its_vote_is_in_no_file(store: Store, furnished: Furnished) -> None:
    kept = [keep(store, furnished[0])]
    assert [write(kept) for write in (files.jsonl, files.markdown, files.pairs)] == ["", "", ""]
    assert len(files.table(kept).splitlines()) == 1
    voted = [store.vote(kept[0].id, "best", 1)]
    assert [json.loads(line) for line in files.pairs(voted).splitlines()] == [
        {"prompt": "What is rain?", "chosen": "pirate-r4 says rain.", "rejected": "base says rain."}
    ]
    (record,) = map(json.loads, files.jsonl(voted).splitlines())
    assert (record["best"], record["vote"], record["sides"]) == ("pirate-r4", "best", 3)
    assert [one["text"] for one in record["answers"]] == ["base says rain.", "pirate-r4 says rain."]


def test_ties_and_equal_answers_make_no_pairs(store: Store, furnished: Furnished) -> None:
    tie = store.vote(keep(store, furnished[0]).id, "tie")
    same = store.vote(keep(store, furnished[0], names=("base", "base")).id, "best", 0)
    assert files.pairs([tie, same]) == ""


def test_a_spreadsheet_computes_no_cell_and_reads_back_every_text(store: Store, furnished: Furnished) -> None:
    kept = keep(store, furnished[0], EVIL, names=("@name", "-2+3"), sides=None)
    rows = list(csv.DictReader(io.StringIO(files.table([kept]))))
    assert [row["contestant"] for row in rows] == ["'@name", "'-2+3"]
    assert {row["prompt"] for row in rows} == {"'" + EVIL}
    assert all(not str(cell).startswith(files.FORMULAS) for row in rows for cell in row.values())


def test_markdown_quotes_what_people_and_models_wrote(store: Store, furnished: Furnished) -> None:
    text = files.markdown([keep(store, furnished[0], EVIL, sides=None)])
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "## Comparison 1",
        "### base",
        "### pirate-r4",
    ]
