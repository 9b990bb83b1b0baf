"""What is found doubtful in rows, against brute force and rows made by hand; and the jobs that look and clean."""

import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters_store.store import Store
from adapters_store.tables import BaseModel, DataSet, Job
from engine.data import hygiene
from engine.data.check import read_rows, write_rows
from engine.data.row_file import RowFile
from engine.data.split import split
from jobs import examining
from jobs.ending import Ending
from jobs.worker import do

Row = dict[str, Any]
words = st.sampled_from(["rain", "Rain ", "sea", "the sea", "a horse", ""])


def asked(question: str, answer: str, system: str = "") -> Row:
    turns = [("system", system)] if system else []
    turns += [("user", question), ("assistant", answer)]
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


@given(st.lists(st.tuples(words, words), max_size=14))
def test_copies_and_contradictions_are_those_of_comparing_every_pair(pairs: list[tuple[str, str]]) -> None:
    rows = [asked(*pair) for pair in pairs]
    found = hygiene.examine(rows, ["exact", "conflicts"])
    said = [(question.strip(), answer.strip()) for question, answer in pairs]
    copies = {i for i, one in enumerate(said) if one in said[:i]}
    assert found.out(["exact"]) == copies
    first: dict[str, str] = {}
    against = {i for i, (question, answer) in enumerate(said) if first.setdefault(question, answer) != answer}
    assert found.out(["conflicts"]) == against
    left = list(hygiene.clean(rows, found.out(["exact", "conflicts"])))
    assert len({tuple(m["content"].strip() for m in row["messages"]) for row in left}) == len(left)
    assert len({row["messages"][0]["content"].strip() for row in left}) == len(left)


def _shared(one: str, two: str) -> float:
    parts = [{text[i : i + 5] for i in range(len(text) - 4)} for text in (one.casefold(), two.casefold())]
    return len(parts[0] & parts[1]) / len(parts[0] | parts[1])


def test_near_copies_are_the_pairs_that_share_four_fifths_of_their_text() -> None:
    draw = random.Random(4)
    texts = [" ".join(f"word{draw.randrange(5000)}" for _ in range(60)) for _ in range(30)]
    for number, text in enumerate(texts[:20]):
        changed = text.split()
        for place in range(1 + number):
            changed[3 * place] = "xylophone"
        texts.append(" ".join(changed))
    found = hygiene.examine([{"text": text} for text in texts], ["near"])
    near = {two for one, two in itertools.combinations(range(len(texts)), 2) if _shared(texts[one], texts[two]) >= 0.8}
    assert found.out(["near"]) == near
    assert 3 < len(near) < 17


def test_what_all_rows_are_told_by_the_system_makes_none_a_near_copy() -> None:
    told = " ".join(f"rule {number * number}" for number in range(100))
    rows = [asked(f"What is {thing}?", f"{thing} it is", told) for thing in ("rain", "an old horse")]
    assert not hygiene.examine(rows).out(["near"])


@pytest.mark.parametrize(
    ("kind", "row", "fine"),
    [
        ("empty_answers", asked("Rain?", " \n"), asked("Rain?", ".")),
        ("empty_answers", {"text": " "}, {"text": "a"}),
        ("echoes", asked("What is  rain?", "what is rain? "), asked("What is rain?", "What is rain? Water.")),
        ("emails", asked("Who?", "Write to ann.lee+x@mail.example.org."), asked("Who?", "@ann at 5 @ noon, a@b")),
        ("emails", {"text": "@" * 300 + " a@b.de"}, {"text": "@" * 300}),
        ("secrets", asked("Key?", "AKIA" + "Z7" * 8), asked("Key?", "AKIA is a prefix")),
        ("secrets", asked("Key?", "use ghp_" + "a1" * 18), asked("Might?", "right, ghp_ and sk-1")),
        ("secrets", {"text": "-----BEGIN RSA PRIVATE KEY-----\nMII"}, {"text": "BEGIN PRIVATE KEY"}),
        ("secrets", {"text": "key: sk-proj-" + "aB3" * 12}, {"text": "task-force-of-the-north-and-of-the-south"}),
    ],
)
def test_a_doubtful_row_is_found_and_a_like_one_is_not(kind: str, row: Row, fine: Row) -> None:
    assert hygiene.examine([fine, row]).to_json()[kind] == {"total": 1, "rows": [[1]]}


def test_rows_kept_aside_that_are_near_a_learned_one_are_told_where_there_are_no_others() -> None:
    long = "rain falls on the sea and on the bridge over it, all day long and all night "
    pairs = [asked(f"{number} {letter * 3}", long * 2 + letter * 60) for number, letter in enumerate("abcdefghij")]
    pairs += [asked(f"{number} {letter * 3}!", long * 2 + letter * 60) for number, letter in enumerate("abcdefghij")]
    assert hygiene.examine(pairs).overlap(0.3, 1)["rows"] == [], "the two of a pair stay on one side"
    alike = [asked(f"{letter}?", long * 2) for letter in "abcdefghij"]
    alike += alike[:5]  # and copies, which stay with the rows they are copies of
    overlap = hygiene.examine(alike).overlap(0.3, 1)
    aside = split([*range(10), *range(5)], 0.3, 1).validation
    first = min(set(range(10)) - set(aside))
    assert overlap["rows"] == [[row, first] for row in aside if row < 10] != []
    assert hygiene.examine(alike).overlap(0.0, 1)["total"] == 0


def test_the_overlap_is_that_of_the_line_which_a_run_draws_by_source() -> None:
    long = "rain falls on the sea and on the bridge over it, all day long and all night "
    rows = [asked(f"{letter}?", long * 2) | {"source": "ab"[n % 2]} for n, letter in enumerate("abcdefghijklmnopqrst")]
    for seed in range(5):
        overlap = hygiene.examine(rows).overlap(0.3, seed)
        aside = split(range(20), 0.3, seed, [n % 2 for n in range(20)]).validation
        assert [row for row, _ in overlap["rows"]] == aside


def test_what_is_listed_is_bounded_and_the_total_is_exact() -> None:
    rows = [asked("Rain?", "Water.")] * 400
    told = hygiene.examine(rows, ["exact"]).to_json()["exact"]
    assert told["total"] == 399
    assert [len(group) for group in told["rows"]] == [100]


# --- jobs ---------------------------------------------------------------------------------------------------------

DOUBTFUL = [asked("Rain?", "Water."), asked("Rain?", "Water."), asked("Sea?", "Sea?"), asked("Rain?", "Wet.")]


def _data(store: Store, rows: list[Row]) -> DataSet:
    with store.files.draft("datasets") as draft:
        content_hash = write_rows(rows, draft.path / "rows.jsonl")
        folder = draft.publish()
    facts = {"columns": {"messages": "messages"}, "file": "doubtful.jsonl"}
    return store.add_data_set(
        name="doubtful",
        source="file",
        format="messages",
        rows=len(rows),
        content_hash=content_hash,
        folder=folder,
        facts=facts,
    )


def _look(store: Store, data: DataSet) -> Job:
    return store.submit("examine", "look", {"validation_share": 0.5, "seed": 0}, data_set_id=data.id)


@pytest.mark.usefixtures("no_runner")
def test_a_look_is_kept_with_the_data_set_and_a_cleaned_copy_is_one_of_its_own(store: Store) -> None:
    data = _data(store, DOUBTFUL)
    look = _look(store, data)
    do(store, look.id, Ending())
    assert store.job(look.id).state == "completed"
    facts = store.data_set(data.id).facts
    assert facts["file"] == "doubtful.jsonl"
    found = facts["findings"]
    assert {kind: found[kind]["total"] for kind in ("exact", "conflicts", "echoes")} == {
        "exact": 1,
        "conflicts": 1,
        "echoes": 1,
    }
    assert found["overlap"]["share"] == 0.5

    job = examining.clean(store, data, ["echoes", "exact"], "better")
    do(store, job.id, Ending())
    cleaned = store.data_set(store.job(job.id).progress["data_set"])
    assert read_rows(store.rows_path(cleaned)) == [DOUBTFUL[0], DOUBTFUL[3]]
    assert (cleaned.name, cleaned.rows, cleaned.source) == ("better", 2, "cleaned")
    assert cleaned.facts["cleaned"] == {
        "data_set": data.id,
        "name": "doubtful",
        "fixes": ["exact", "echoes"],
        "left_out": 2,
    }
    assert "findings" not in cleaned.facts
    assert read_rows(store.rows_path(data)) == DOUBTFUL


@pytest.mark.usefixtures("no_runner")
def test_what_cannot_be_cleaned_is_told_in_words(store: Store) -> None:
    data = _data(store, [asked("Sea?", "Sea?")])
    with pytest.raises(examining.ExamineError, match="typos is not one of what can be mended"):
        examining.clean(store, data, ["typos", "exact"], "better")
    with pytest.raises(examining.ExamineError, match="Nothing was chosen"):
        examining.clean(store, data, [], "better")
    job = examining.clean(store, data, ["echoes"], "better")
    do(store, job.id, Ending())
    assert store.job(job.id).why == "Nothing of doubtful would be left. Choose fewer things to mend."
    assert not any(store.files.temporary.iterdir())
    store.rows_path(data).write_text("{}")
    job = _look(store, data)
    do(store, job.id, Ending())
    assert "were changed on disk" in store.job(job.id).why


@pytest.mark.usefixtures("no_runner")
def test_a_look_that_is_cancelled_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    data = _data(store, DOUBTFUL)
    job, ending = examining.clean(store, data, ["exact"], "better"), Ending()
    real = hygiene.examine

    def cancelled_meanwhile(*arguments: Any) -> hygiene.Findings:
        store.request_stop(job.id, "cancel")
        ending._asked = True
        return real(*arguments)

    monkeypatch.setattr(hygiene, "examine", cancelled_meanwhile)
    do(store, job.id, ending)
    assert store.job(job.id).state in ("cancelled", "interrupted")
    assert len(store.data_sets()) == 1
    assert not any(store.files.temporary.iterdir())


def test_any_row_of_a_file_is_read_by_its_number(furnished: tuple[BaseModel, DataSet], store: Store) -> None:
    path = store.rows_path(furnished[1])
    rows, all_rows = RowFile(path), read_rows(path)
    assert list(rows) == all_rows
    assert (rows[0], rows[-1], rows[3:6]) == (all_rows[0], all_rows[-1], all_rows[3:6])
    assert rows[len(rows) :] == []
    with pytest.raises(IndexError):
        rows[len(rows)]
