"""Tokens and labels: the answers and nothing else, against an independent construction of the template."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Template

from engine.data.problems import DataError
from engine.data.render import AT_ONCE, IGNORED, Example, _mask, encode, encode_all, prompt_ids
from engine.data.template import PLAIN, Writer, Written
from tests.tiny import CHATML, tiny_rows, tiny_tokenizer

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
    plain.chat_template = PLAIN
    row = {"messages": [{"role": "user", "content": "rain?"}, {"role": "assistant", "content": "Water"}]}
    example = encode(plain, row, 100)
    assert plain.decode([t for t in example.labels if t != IGNORED]) == " Water<|im_end|>"


# --- what carries loss, with the templates people meet ------------------------------------------------------------

LLAMA = (
    "{% for m in messages %}{% if loop.first %}{{ '<|begin_of_text|>' }}{% endif %}"
    "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
MISTRAL = (
    "{{ '<s>' }}{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] + '\n\n' %}"
    "{% set turns = messages[1:] %}{% else %}{% set first = '' %}{% set turns = messages %}{% endif %}"
    "{% for m in turns %}{% if m['role'] == 'user' %}{{ '[INST] ' + (first if loop.first else '') + m['content'] + "
    "' [/INST]' }}{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] + '</s>' }}"
    "{% else %}{{ raise_exception('only user and assistant') }}{% endif %}{% endfor %}"
)
# In this one what was thought in earlier turns is not written again, so what stands before an answer changes.
THINKING = (
    "{% for m in messages %}{{ '<' + m['role'] + '>' }}"
    "{{ m['content'].split('</think>')[-1] if not loop.last else m['content'] }}{{ '<end>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)


def _chatml(turns: list[Turn]) -> list[tuple[str, bool]]:
    pieces = []
    for role, content in turns:
        pieces += [(f"<|im_start|>{role}\n", False), (f"{content}<|im_end|>", role == "assistant"), ("\n", False)]
    return pieces


def _llama(turns: list[Turn]) -> list[tuple[str, bool]]:
    pieces = [("<|begin_of_text|>", False)]
    for role, content in turns:
        pieces += [(f"<|start_header_id|>{role}<|end_header_id|>\n\n", False)]
        pieces += [(f"{content.strip()}<|eot_id|>", role == "assistant")]
    return pieces


def _mistral(turns: list[Turn]) -> list[tuple[str, bool]]:
    system = f"{turns[0][1]}\n\n" if turns[0][0] == "system" else ""
    pieces = [("<s>", False)]
    for role, content in turns[bool(system) :]:
        pieces.append(
            (f" {content}</s>", True) if role == "assistant" else (f"[INST] {system}{content} [/INST]", False)
        )
        system = ""
    return pieces


KNOWN = {"chatml": (CHATML, _chatml), "llama": (LLAMA, _llama), "mistral": (MISTRAL, _mistral)}
edged = st.text("ab .\n", min_size=1, max_size=8).filter(
    lambda text: text.strip() != ""
)  # white space at its ends, too


def _learned_pieces(pieces: list[tuple[str, bool]], loss_on: str, weights: list[int]) -> list[str]:
    """What is learned, told from the pieces by hand; `weights` are those of the answers."""
    if loss_on == "all":
        texts = [""]
        left_out = iter(weights)
        for text, answer in pieces:
            if answer and not next(left_out):
                texts.append("")
            else:
                texts[-1] += text
        return [text for text in texts if text]
    answers = [(text, weight) for text, weight in zip([t for t, a in pieces if a], weights, strict=True)]
    return [text for text, weight in (answers if loss_on == "answers" else answers[-1:]) if weight]


@pytest.mark.parametrize("name", KNOWN)
@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(edged, edged, st.integers(0, 1)), min_size=1, max_size=3), st.booleans(), st.data())
def test_what_is_learned_is_what_a_hand_made_rendering_says(
    name: str, asked: list[tuple[str, str, int]], system: bool, data: st.DataObject
) -> None:
    template, by_hand = KNOWN[name]
    tokenizer = _shared()
    tokenizer.chat_template = template
    turns = [("system", "Be brief.")] if system else []
    for question, answer, _ in asked:
        turns += [("user", question), ("assistant", answer)]
    weights = [weight for _, _, weight in asked]
    left = iter(weights)
    messages = [
        {"role": role, "content": content} | ({"weight": next(left)} if role == "assistant" else {})
        for role, content in turns
    ]
    loss_on = data.draw(st.sampled_from(["answers", "last", "all"]))
    (written,) = Writer(tokenizer, loss_on).write([{"messages": messages}])
    pieces = by_hand(turns)
    assert written.text == "".join(text for text, _ in pieces)
    assert [written.text[first:last] for first, last in written.learned] == _learned_pieces(pieces, loss_on, weights)
    # And as tokens: those that the tokenizer itself places inside of what is learned.
    example = encode(tokenizer, {"messages": messages}, 10_000, loss_on)
    placed = tokenizer(written.text, add_special_tokens=False, return_offsets_mapping=True)
    assert example.ids == placed["input_ids"]
    for token, label, (first, last) in zip(example.ids, example.labels, placed["offset_mapping"], strict=True):
        inside = any(start <= first < last <= end for start, end in written.learned)
        assert label == (token if inside else IGNORED)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3))), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)))
)
def test_a_token_is_learned_where_it_lies_inside_of_a_stretch_and_is_not_empty(
    steps: list[tuple[int, int]], gaps: list[tuple[int, int]]
) -> None:
    offsets, spans, place = [], [], 0
    for step, width in steps:
        offsets.append((place + step, place + step + width))
        place += step + width
    place = 0
    for gap, width in gaps:
        spans.append((place + gap, place + gap + width))
        place += gap + width
    inside = [any(a <= first < last <= b for a, b in spans) for first, last in offsets]
    assert list(_mask(offsets, spans)) == inside


def test_a_row_is_written_once_where_its_roles_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    writer, told, render = Writer(tiny_tokenizer()), [], Template.render
    rows = [{"messages": [*row["messages"], *tiny_rows(9)[8]["messages"]]} for row in tiny_rows(5)]
    writer.write(rows[:1])
    monkeypatch.setattr(Template, "render", lambda *given, **more: told.append(1) or render(*given, **more))
    assert len(writer.write(rows)) == len(told) == 5


def test_a_tokenizer_that_writes_in_a_way_of_its_own_is_asked_for_each_row() -> None:
    class Shouting(type(tiny_tokenizer())):  # type: ignore[misc]
        def apply_chat_template(self, *given: Any, **more: Any) -> Any:
            return [text.upper() for text in super().apply_chat_template(*given, **more)]

    tokenizer = tiny_tokenizer()
    plain = Writer(tokenizer).write(tiny_rows(9))
    tokenizer.__class__ = Shouting
    told = Writer(tokenizer).write(tiny_rows(9))
    assert [one.text for one in told if isinstance(one, Written)] == [
        one.text.upper() for one in plain if isinstance(one, Written)
    ]
    assert len(told) == 9


@pytest.mark.parametrize("template", [CHATML, LLAMA, MISTRAL, THINKING, PLAIN])
def test_knowing_the_roles_changes_nothing_of_what_is_learned(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    contents = ["a", " a\n", "<think>a</think>b", "[INST] a [/INST]", "qj1zx"]
    rows = [
        {"messages": [{"role": role, "content": content} for role, content in zip(roles, row, strict=True)]}
        for row in ([one, two, "q", three] for one in contents for two in contents for three in contents)
        for roles in [("user", "assistant", "user", "assistant")]
    ]
    quick = Writer(tokenizer).write(rows)
    monkeypatch.setattr(Writer, "_outline", lambda self, messages: None)
    slow = Writer(tokenizer).write(rows)
    assert [str(one) for one in quick] == [str(one) for one in slow]


def test_what_tools_say_is_context_where_the_template_writes_it_and_a_problem_where_not() -> None:
    tokenizer = tiny_tokenizer()
    roles = ("user", "assistant", "tool", "assistant")
    words = ("rain?", "look()", "it rains", "It does.")
    row = {"messages": [{"role": role, "content": word} for role, word in zip(roles, words, strict=True)]}
    example = encode(tokenizer, row, 1000)
    assert tokenizer.decode([t for t in example.labels if t != IGNORED]) == "look()<|im_end|>It does.<|im_end|>"
    tokenizer.chat_template = CHATML.replace(
        "{{ '<|im_start|>'", "{{ '' if message['role'] == 'tool' else '<|im_start|>'"
    )
    with pytest.raises(ValueError, match="leaves out what tools say"):
        encode(tokenizer, row, 1000)


def test_every_row_the_template_refuses_is_named() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = MISTRAL
    odd = {"messages": [{"role": "user", "content": "q"}, {"role": "tool", "content": "t"}]}
    rows = [*tiny_rows(AT_ONCE), odd, *tiny_rows(2), odd]
    with pytest.raises(DataError) as told:
        list(encode_all(tokenizer, rows, 100))
    refused = "The base model's chat template refused a row: only user and assistant"
    assert told.value.problems == [f"Row {AT_ONCE + 1}: {refused}", f"Row {AT_ONCE + 4}: {refused}"]


class Adding:
    """A tokenizer whose call puts a token before what its core gives."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __call__(self, texts: list[str], **options: Any) -> dict[str, Any]:
        told = self._inner(texts, **options)
        ids, offsets = told["input_ids"], told["offset_mapping"]
        return {"input_ids": [[7, *one] for one in ids], "offset_mapping": [[(0, 0), *one] for one in offsets]}


def test_a_tokenizer_that_does_more_than_its_core_is_called(tokenizer: Any) -> None:
    rows = [*tiny_rows(3), {"text": "Arr, matey!"}]
    plain, more = (list(encode_all(one, rows, 100)) for one in (tokenizer, Adding(tokenizer)))
    assert [one.ids for one in more] == [[7, *one.ids] for one in plain]
    assert [one.learned[1:] for one in more] == [one.learned for one in plain]
