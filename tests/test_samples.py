"""The bundled data sets: their shape, their manners, and that the builder still writes them byte for byte.

These tests know nothing of models; whether a set can be learned is measured elsewhere.
"""

import json
import re
from functools import cache
from itertools import combinations, product

import pytest

from engine.samples import build

SETS = {"pirate-style": ("instruction", 280, 30)}
PARTS = ("train", "held_out")


def rows(name: str, part: str) -> list[dict]:
    text = (build.HERE / name / f"{part}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


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
