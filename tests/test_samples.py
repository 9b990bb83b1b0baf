"""The bundled data sets: their shape, their manners, and that the builder still writes them byte for byte.

These tests know nothing of models; whether a set can be learned is measured elsewhere.
"""

import json
import re
from datetime import date
from functools import cache
from itertools import combinations, product

import pytest

from engine.samples import build, invoices, island
from engine.samples.invoice_check import check

SETS = {
    "pirate-style": ("instruction", 280, 30),
    "invoice-json": ("messages", 240, 40),
    "plain-text": ("text", 120, 15),
}
PARTS = ("train", "held_out")
INVOICE = (
    '{"vendor":"Fern Tools","number":"A 17","date":"2026-03-04","currency":"EUR","total":35.30,'
    '"items":[{"name":"flower pots","quantity":2},{"name":"rake","quantity":1}]}'
)


def rows(name: str, part: str) -> list[dict]:
    text = (build.HERE / name / f"{part}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def said(row: dict, role: str) -> str:
    return next(turn["content"] for turn in row["messages"] if turn["role"] == role)


def facts(part: str) -> list[dict]:
    return [json.loads(said(row, "assistant")) for row in rows("invoice-json", part)]


@cache
def words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[\w']+", text.lower()))


def likeness(left: str, right: str) -> float:
    return len(words(left) & words(right)) / len(words(left) | words(right))


@pytest.mark.parametrize("name", SETS)
def test_each_set_has_the_promised_number_of_rows(name):
    assert tuple(len(rows(name, part)) for part in PARTS) == SETS[name][1:]


@pytest.mark.parametrize("name", SETS)
def test_each_set_says_what_it_is(name):
    about = json.loads((build.HERE / name / "about.json").read_text(encoding="utf-8"))
    assert about.keys() == {"title", "about", "licence", "format"}
    assert (about["licence"], about["format"]) == ("Apache-2.0", SETS[name][0])
    assert about["about"].endswith(".")


def test_building_again_writes_the_same_bytes(tmp_path):
    build.write(tmp_path)
    written = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 3 * len(SETS)
    for path in written:
        assert (tmp_path / path).read_bytes() == (build.HERE / path).read_bytes(), path


def test_the_texts_are_clean_and_the_folder_is_small():
    files = [path for path in build.HERE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) < 400_000
    for path in files:
        text = path.read_bytes().decode("utf-8")
        # Only letters, digits, signs and the line feed: no tabs, no carriage returns, no stray control characters.
        assert all(sign == "\n" or sign.isprintable() for sign in text), path
        assert "  " not in text or path.suffix in {".py", ".json", ".md"}, path


def test_no_pirate_question_is_asked_twice_nor_nearly_twice():
    asked = [row["instruction"] for part in PARTS for row in rows("pirate-style", part)]
    assert len({" ".join(sorted(words(question))) for question in asked}) == 310
    held_out = [row["instruction"] for row in rows("pirate-style", "held_out")]
    train = [row["instruction"] for row in rows("pirate-style", "train")]
    assert max(likeness(*pair) for pair in product(held_out, train)) < 0.7


def test_pirate_answers_are_short_and_keep_the_voice():
    for row in (row for part in PARTS for row in rows("pirate-style", part)):
        answer = row["output"]
        assert 25 <= len(answer.split()) <= 55, answer
        assert answer.startswith(build.OPENERS), answer
        assert answer.endswith(build.CLOSERS), answer
        assert not re.search(r"\b(is|are|am|you|your|of|my)\b", answer, re.IGNORECASE), answer


def test_pirate_answers_differ_apart_from_the_flourish():
    cores = [answer for _, answer in build.pirate_cores()]
    assert max(likeness(*pair) for pair in combinations(cores, 2)) < 0.5


def test_each_invoice_is_a_system_a_user_and_an_assistant_turn():
    for row in (row for part in PARTS for row in rows("invoice-json", part)):
        assert row.keys() == {"messages"}
        assert [turn["role"] for turn in row["messages"]] == ["system", "user", "assistant"]
        assert 8 <= len(said(row, "user").split()) <= 50


@pytest.mark.parametrize("field", ["vendor", "number"])
def test_no_vendor_and_no_number_of_the_held_out_invoices_was_trained_on(field):
    assert not {fact[field] for fact in facts("train")} & {fact[field] for fact in facts("held_out")}
    numbers = [fact["number"] for part in PARTS for fact in facts(part)]
    assert len(set(numbers)) == len(numbers)


def test_the_first_names_of_held_out_vendors_were_not_trained_on_either():
    assert not set(invoices.TRAIN_NAMES) & set(invoices.HELD_OUT_NAMES)


def test_every_fact_of_an_invoice_can_be_found_in_its_message():
    for row in (row for part in PARTS for row in rows("invoice-json", part)):
        message, fact = said(row, "user"), json.loads(said(row, "assistant"))
        assert fact["vendor"] in message
        assert fact["number"] in message
        assert f"{fact['total']:,.2f}" in message
        assert any(style.format(sum=f"{fact['total']:,.2f}") in message for style in invoices.MONEY[fact["currency"]])
        assert any(style.format(d=date.fromisoformat(fact["date"])) in message for style in invoices.DATES)
        assert 1 <= len(fact["items"]) <= 3
        for item in fact["items"]:
            assert re.search(rf"{item['quantity']} (x )?{item['name']}|{item['name']} \({item['quantity']}\)", message)


def test_every_invoice_answer_is_right_by_its_own_check_and_is_compact():
    for row in (row for part in PARTS for row in rows("invoice-json", part)):
        answer = said(row, "assistant")
        assert check(answer, answer) == (1.0, "All 6 fields are right.")
        assert list(json.loads(answer)) == ["vendor", "number", "date", "currency", "total", "items"]
        assert '": ' not in answer


def test_white_space_order_and_trailing_zeros_do_not_count():
    loose = """ {"items": [{"quantity": 1, "name": "rake"}, {"name": "flower  pots", "quantity": 2.0}],
      "total": 35.3, "date": "2026-03-04", "number": "A 17", "currency": "EUR", "vendor": "Fern\\u0020Tools"}\n"""
    assert check(INVOICE, loose) == (1.0, "All 6 fields are right.")


@pytest.mark.parametrize(
    ("right", "wrong", "sentence"),
    [
        ("35.30", "35.40", "total is 35.4, expected 35.3"),
        ("35.30", '"35.30"', 'total is "35.30", expected 35.3'),
        ("35.30", "true", "total is true, expected 35.3"),
        ("2026-03-04", "2026-04-03", 'date is "2026-04-03", expected "2026-03-04"'),
        ("2026-03-04", "4 March 2026", 'date is "4 March 2026", expected "2026-03-04"'),
        ("Fern Tools", "fern tools", 'vendor is "fern tools", expected "Fern Tools"'),
        ('"EUR"', "null", 'currency is null, expected "EUR"'),
        ('"number":"A 17",', "", "number is missing"),
    ],
)
def test_one_wrong_field_of_six_is_named_and_costs_a_sixth(right, wrong, sentence):
    share, said_of_it = check(INVOICE, INVOICE.replace(right, wrong))
    assert share == pytest.approx(5 / 6)
    assert said_of_it == f"5 of 6 fields are right: {sentence}."


def test_a_wrong_quantity_spoils_the_items_and_a_field_nobody_asked_for_counts_as_wrong():
    assert check(INVOICE, INVOICE.replace('"quantity":2', '"quantity":3'))[0] == pytest.approx(5 / 6)
    share, said_of_it = check(INVOICE, INVOICE[:-1] + ',"due":"2026-04-03"}')
    assert share == pytest.approx(6 / 7)
    assert said_of_it == "6 of 7 fields are right: due was not asked for."


@pytest.mark.parametrize(
    "answer",
    ["", "Here you are: {}", "[1]", "3", '{"total":NaN}', '{"vendor":', "[" * 100_000, '{"total":' + "9" * 5000 + "}"],
)
def test_what_is_not_one_json_object_scores_nothing_and_is_told(answer):
    share, said_of_it = check(INVOICE, answer)
    assert share == 0.0
    assert said_of_it.startswith("The answer cannot be read as one JSON object: ")


def test_whatever_a_model_writes_the_sentence_stays_short_and_can_be_shown():
    for odd in ('"\\ud800"', '"' + "x" * 5000 + '"', "[" * 400 + "]" * 400, "[" * 700 + "]" * 700, "1e999999"):
        share, said_of_it = check(INVOICE, INVOICE.replace('"Fern Tools"', odd))
        assert share < 1.0
        assert len(said_of_it.encode("utf-8")) < 200


def test_an_answer_key_that_is_not_json_is_the_callers_mistake():
    with pytest.raises(ValueError, match="expecting value"):
        check("no JSON", INVOICE)


def sentences(passage: str) -> list[str]:
    return re.split(r"(?<=[.!?]) ", passage)


def test_each_passage_is_one_text_of_60_to_110_words_in_whole_sentences():
    for row in (row for part in PARTS for row in rows("plain-text", part)):
        assert row.keys() == {"text"}
        assert 60 <= len(row["text"].split()) <= 110, row["text"]
        assert all(sentence[0].isupper() or sentence[0].isdigit() for sentence in sentences(row["text"])), row["text"]
        assert row["text"].endswith(".")


def test_held_out_passages_share_no_sentence_with_training_and_no_date_comes_twice():
    train, held_out = ([row["text"] for row in rows("plain-text", part)] for part in PARTS)
    assert not {s for text in train for s in sentences(text)} & {s for text in held_out for s in sentences(text)}
    dates = [text.split(",")[0] for text in train + held_out]
    assert len(set(dates)) == len(dates) == 135


def test_an_entry_never_tells_of_weather_or_hour_twice():
    source = (build.SOURCES / "plain-text.txt").read_text(encoding="utf-8")
    careless = source.split("tells of no weather\n")[1].split("\n\n")[0].splitlines()
    hourly = source.split("out of doors\n")[1].split("\n\n")[0].splitlines()
    for text in (row["text"] for row in rows("plain-text", "train")):
        told = " ".join(sentences(text)[2:-1])
        assert not (island.WEATHER.search(told) and any(f"; {sky}." in text for sky in careless)), text
        assert not (island.NIGHT.search(told) and text.endswith(tuple(hourly))), text


def test_every_creature_of_the_island_is_seen_once_in_the_held_out_passages():
    creatures = "tern|hare|snail|fox|thrush|crab|thimblewort|frog|owl|moth|heron|seal|saltbramble|spider|vole"
    seen = {name for row in rows("plain-text", "held_out") for name in re.findall(creatures, row["text"])}
    assert seen == set(creatures.split("|"))
