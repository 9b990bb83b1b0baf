"""Tokens and labels: the answers and nothing else, against an independent construction of the template."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.render import IGNORED, Example, encode, prompt_ids
from engine.models import PLAIN_TEMPLATE
from tests.tiny import tiny_tokenizer

Turn = tuple[str, str]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny_tokenizer()


def _by_hand(tokenizer: Any, turns: list[Turn]) -> tuple[list[int], list[int]]:
    """ChatML built piece by piece: each answer with its end mark is learned, all else is not."""
    ids: list[int] = []
    labels: list[int] = []

    def add(text: str, learned: bool) -> None:
        piece = tokenizer(text, add_special_tokens=False)["input_ids"]
        ids.extend(piece)
        labels.extend(piece if learned else [IGNORED] * len(piece))

    for role, content in turns:
        add(f"<|im_start|>{role}\n", False)
        add(f"{content}<|im_end|>", role == "assistant")
        add("\n", False)
    return ids, labels


words = st.text("abcdefgh ,.!?", min_size=1, max_size=20).map(str.strip).filter(bool)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(words, words), min_size=1, max_size=3), st.booleans())
def test_labels_are_the_answers_with_their_end_marks_in_every_turn(pairs: list[Turn], system: bool) -> None:
    tokenizer = _shared()
    turns = [("system", "Be brief.")] if system else []
    for question, answer in pairs:
        turns += [("user", question), ("assistant", answer)]
    messages = [{"role": role, "content": content} for role, content in turns]
    example = encode(tokenizer, {"messages": messages}, 10_000)
    # The template's line break and the words after it can melt into one token; the texts are compared where they do.
    ids, labels = _by_hand(tokenizer, turns)
    if example.ids == ids:
        assert example.labels == labels
    learned = tokenizer.decode([t for t in example.labels if t != IGNORED])
    assert learned == "".join(f"{answer}<|im_end|>" for _, answer in pairs)


_SHARED: list[Any] = []


def _shared() -> Any:
    if not _SHARED:
        _SHARED.append(tiny_tokenizer())
    return _SHARED[0]


def test_a_known_conversation_gives_the_tokens_written_out_by_hand(tokenizer: Any) -> None:
    turns = [("user", "what is rain?"), ("assistant", "Arr, rain be a fine thing, matey!")]
    messages = [{"role": role, "content": content} for role, content in turns]
    example = encode(tokenizer, {"messages": messages}, 100)
    assert (example.ids, example.labels) == _by_hand(tokenizer, turns)


def test_training_and_answering_see_the_same_opening(tokenizer: Any) -> None:
    messages = [{"role": "user", "content": "what is rain?"}, {"role": "assistant", "content": "Water."}]
    example = encode(tokenizer, {"messages": messages}, 100)
    prompt = prompt_ids(tokenizer, messages[:1])
    assert example.ids[: len(prompt)] == prompt
    assert example.labels[len(prompt) - 1] == IGNORED
    assert example.labels[len(prompt)] == example.ids[len(prompt)]


def test_a_row_is_cut_at_the_length_and_says_how_long_it_was(tokenizer: Any) -> None:
    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "word " * 50}]}
    whole = encode(tokenizer, row, 1000)
    cut = encode(tokenizer, row, 20)
    assert cut.ids == whole.ids[:20]
    assert cut.labels == whole.labels[:20]
    assert cut.full_length == whole.full_length == len(whole.ids)


@pytest.mark.parametrize("length", [0, -3])
def test_a_row_is_never_cut_from_its_end(tokenizer: Any, length: int) -> None:
    with pytest.raises(ValueError, match=f"cut to {length} tokens"):
        encode(tokenizer, {"text": "Arr, matey!"}, length)


def test_a_row_whose_prompt_fills_the_length_has_nothing_to_learn(tokenizer: Any) -> None:
    row = {"messages": [{"role": "user", "content": "word " * 50}, {"role": "assistant", "content": "a"}]}
    assert encode(tokenizer, row, 20).answer_tokens == 0


def test_plain_text_is_learned_whole_and_ends_with_the_end_mark(tokenizer: Any) -> None:
    example = encode(tokenizer, {"text": "Arr, matey!"}, 100)
    assert example.labels == example.ids
    assert example.ids[-1] == tokenizer.eos_token_id
    assert example.answer_tokens == len(example.ids) - 1


def test_the_first_token_of_a_row_carries_no_loss() -> None:
    assert Example([1, 2], [1, IGNORED], 2).answer_tokens == 0


def test_a_template_that_refuses_a_row_is_reported_in_words(tokenizer: Any) -> None:
    stubborn = tiny_tokenizer()
    stubborn.chat_template = "{{ raise_exception('only cats') }}"
    with pytest.raises(ValueError, match=r"chat template refused a row: only cats"):
        encode(stubborn, {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}, 9)


def test_a_template_that_rewrites_earlier_turns_is_refused() -> None:
    forgetful = tiny_tokenizer()
    forgetful.chat_template = "{{ messages | length }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    rows = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    with pytest.raises(ValueError, match="rewrites earlier turns"):
        encode(forgetful, rows, 9)


def test_a_template_cannot_reach_python() -> None:
    hostile = tiny_tokenizer()
    hostile.chat_template = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    with pytest.raises(ValueError, match="chat template refused"):
        prompt_ids(hostile, [{"role": "user", "content": "q"}])


def test_the_plain_template_marks_the_answers() -> None:
    plain = tiny_tokenizer()
    plain.chat_template = PLAIN_TEMPLATE
    row = {"messages": [{"role": "user", "content": "rain?"}, {"role": "assistant", "content": "Water"}]}
    example = encode(plain, row, 100)
    assert plain.decode([t for t in example.labels if t != IGNORED]) == "Water<|im_end|>"
