"""Comparisons as files: whole, without formulas, without headings of other people's making, and without secrets."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from adapters_store.store import Store
from adapters_store.tables import BaseModel, DataSet
from engine.data.check import read
from studio import comparison_files as files
from tests.test_store_comparisons import keep

Furnished = tuple[BaseModel, DataSet]
EVIL = '=HYPERLINK("http://x")\n# Not a heading, "quoted"'


def test_what_waits_for_its_vote_is_in_no_file(store: Store, furnished: Furnished) -> None:
    kept = [keep(store, furnished[0])]
    assert [files.jsonl(kept), files.markdown(kept), files.pairs(store, kept)] == ["", "", ""]
    assert len(files.table(kept).splitlines()) == 1
    voted = [store.vote(kept[0].id, "best", 1)]
    assert [json.loads(line) for line in files.pairs(store, voted).splitlines()] == [
        {"prompt": "What is rain?", "chosen": "pirate-r4 says rain.", "rejected": "base says rain."}
    ]
    (record,) = map(json.loads, files.jsonl(voted).splitlines())
    assert (record["best"], record["vote"], record["sides"]) == ("pirate-r4", "best", 3)
    assert [one["text"] for one in record["answers"]] == ["base says rain.", "pirate-r4 says rain."]


def test_ties_and_equal_answers_make_no_pairs(store: Store, furnished: Furnished) -> None:
    tie = store.vote(keep(store, furnished[0]).id, "tie")
    same = store.vote(keep(store, furnished[0], names=("base", "base")).id, "best", 0)
    assert files.pairs(store, [tie, same]) == ""


def read_back(tmp_path: Path, pairs: str) -> list[Any]:
    """What the data page makes of the pairs: a run learns the chosen answers."""
    file = tmp_path / "preference-pairs.jsonl"
    file.write_text(pairs, "utf-8")
    found = read(file)
    assert (found.format, found.bad) == ("preference", [])
    return [[(message["role"], message["content"]) for message in row["messages"]] for row in found.rows]


def test_pairs_are_rows_that_the_data_page_reads(store: Store, furnished: Furnished, tmp_path: Path) -> None:
    base, _ = furnished
    one = store.vote(keep(store, base, "What is rain?").id, "best", 1)
    other = store.vote(keep(store, base, 'And "snow"?\nTell me.').id, "best", 0)
    assert read_back(tmp_path, files.pairs(store, [one, other])) == [
        [("user", "What is rain?"), ("assistant", "pirate-r4 says rain.")],
        [("user", 'And "snow"?\nTell me.'), ("assistant", "base says rain.")],
    ]


def test_pairs_of_a_conversation_have_its_system_message_and_what_each_had_said_before(
    store: Store, furnished: Furnished, tmp_path: Path
) -> None:
    base, _ = furnished
    plain = store.vote(keep(store, base, "Alone?").id, "best", 0)
    first = keep(store, base, "What is rain?", system="Be kind.")
    second = store.vote(keep(store, base, "And snow?", system="Be kind.", follows=first).id, "best", 1)
    alone, told = map(json.loads, files.pairs(store, [plain, second]).splitlines())
    assert alone["prompt"] == [{"role": "user", "content": "Alone?"}]
    assert [message["content"] for message in told["prompt"]] == ["Be kind.", "What is rain?"]
    assert [message["content"] for message in told["rejected"]] == ["base says rain.", "And snow?", "base says rain."]
    assert read_back(tmp_path, files.pairs(store, [plain, second]))[1] == [
        ("system", "Be kind."),
        ("user", "What is rain?"),
        ("assistant", "pirate-r4 says rain."),
        ("user", "And snow?"),
        ("assistant", "pirate-r4 says rain."),
    ]


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
