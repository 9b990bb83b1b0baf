"""Where tokens stand, told from the tokens alone, against the tokenizer's own offsets; and rows in many portions."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from engine.data import render
from engine.data.byte_tokens import ByteTokens, placed
from engine.data.render import IGNORED, encode, encode_all
from engine.data.template import Written
from tests.tiny import tiny_rows, tiny_tokenizer

Row = dict[str, Any]
LEARNED = ["if  x:\n    y = 12  # caf\u00e9", "the sea, the  sea\t be", "\u4f60\u597d  \U0001f30a na\u00efve"]


def core(kind: str) -> Any:
    """A tokenizer of one of the families that models come with, taught some words."""
    made = Tokenizer(models.BPE(byte_fallback=kind == "metaspace"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=kind == "spaced")
    made.decoder = decoders.ByteLevel()
    if kind == "split":  # as in Llama 3: digits apart, white space by itself
        parts = pre_tokenizers.Split(Regex(r"\p{N}{1,3}| ?\p{L}+|\s+|[^\s\p{L}\p{N}]+"), "isolated")
        made.pre_tokenizer = pre_tokenizers.Sequence([parts, pre_tokenizers.ByteLevel(False, use_regex=False)])
    if kind == "metaspace":
        made.pre_tokenizer = pre_tokenizers.Metaspace()
    if kind in ("trimming", "split"):
        made.post_processor = processors.ByteLevel(trim_offsets=True)
    if kind == "normal form":
        made.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|end|>", "<|of|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(LEARNED * 3, trainer)
    made.add_tokens([" \n "])
    return made


CORES = {kind: core(kind) for kind in ("plain", "trimming", "split", "normal form")}
signs = st.sampled_from([*"ab1 \n\t.", "  ", "\u00e9", "e\u0301", "\u4f60", "\U0001f30a", "<|end|>"])
texts = st.lists(signs, max_size=24).map("".join)
stretches = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), max_size=4)


@pytest.mark.parametrize("kind", CORES)
@settings(max_examples=60, deadline=None)
@given(given_rows=st.lists(st.tuples(texts, stretches), min_size=1, max_size=4))
def test_what_is_learned_is_what_the_tokenizers_own_offsets_say(kind: str, given_rows: list[tuple[str, Any]]) -> None:
    known = ByteTokens.of(CORES[kind])
    assert known is not None
    rows = [Written(text, _spans(text, steps)) for text, steps in given_rows]
    encoded = CORES[kind].encode_batch([row.text for row in rows])
    told = known.learned(rows, [one.ids for one in encoded])
    for row, one, marks in zip(rows, encoded, told, strict=True):
        changed = kind == "normal form" and CORES[kind].normalizer.normalize_str(row.text) != row.text
        assert (marks is None) == (changed or row.text[:1].isspace())
        if marks is not None:
            places = placed(row.text, one.offsets)
            assert list(marks) == [any(a <= first and last <= b for a, b in row.learned) for first, last in places]


def _spans(text: str, steps: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    spans, place = [], 0
    for gap, width in steps:
        spans.append((min(place + gap, len(text)), min(place + gap + width, len(text))))
        place += gap + width
    return tuple(spans)


@pytest.mark.parametrize("kind", ["metaspace", "spaced"])
def test_tokens_that_are_not_the_bytes_of_the_text_are_not_taken_for_them(kind: str) -> None:
    assert ByteTokens.of(core(kind)) is None


def test_white_space_of_an_answer_is_learned_where_the_tokenizer_gives_it_no_width() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    said = "x  =   1\n        y"
    row = {"messages": [{"role": "user", "content": "q  q"}, {"role": "assistant", "content": said}]}
    example = encode(tokenizer, row, 1000)
    assert any(first == last for first, last in tokenizer(said, return_offsets_mapping=True)["offset_mapping"])
    assert tokenizer.decode([t for t in example.labels if t != IGNORED]) == f"{said}<|im_end|>"


@pytest.fixture
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "AT_ONCE", 4)


@pytest.mark.usefixtures("small_portions")
@pytest.mark.parametrize("trims", [False, True])
@pytest.mark.parametrize("loss_on", ["answers", "last", "all"])
def test_many_portions_are_the_same_rows_one_by_one(trims: bool, loss_on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tiny_tokenizer()
    if trims:
        tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    texts = ["", "Arr, matey!", " two  words", "caf\u00e9 e\u0301 \U0001f30a"]
    rows: list[Row] = [*tiny_rows(9), *({"text": text} for text in texts)]
    for number, text in enumerate([*LEARNED, *texts[1:]] * 2):
        talk = [{"role": "user", "content": text}, {"role": "assistant", "content": f"{text}  12"}]
        rows.append({"messages": [*talk, *talk] if number % 2 else talk})
    asked: list[int] = []
    learned = ByteTokens.learned
    monkeypatch.setattr(ByteTokens, "learned", lambda self, *given: asked.append(1) or learned(self, *given))
    together = list(encode_all(tokenizer, rows, 30, loss_on))
    one_by_one = [encode(tokenizer, row, 30, loss_on) for row in rows]
    assert [marked.example() for marked in together] == one_by_one
    assert [marked.answer_tokens for marked in together] == [one.answer_tokens for one in one_by_one]
    assert asked, "from a number of portions on, places are told from the tokens"


@pytest.mark.usefixtures("small_portions")
def test_what_ends_the_reading_ends_the_tokens() -> None:
    def rows() -> Any:
        yield from tiny_rows(10)
        raise RuntimeError("called off")

    with pytest.raises(RuntimeError, match="called off"):
        list(encode_all(tiny_tokenizer(), rows(), 100))
