"""Templates that write earlier turns in another way than the last one: what is learned, against renderings by hand."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.render import IGNORED, encode
from engine.data.template import Writer
from tests.tiny import tiny_tokenizer

# As Qwen 3 has it: thinking stands in the turns after the last question alone, there also where it is empty.
QWEN3 = (
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m['role'] == 'user' %}{% set ns.last = loop.index0 %}"
    "{% endif %}{% endfor %}{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "{% set said = m['content'].split('</think>')[-1].lstrip('\n') %}"
    "{% set thought = m['content'].split('</think>')[0].split('<think>')[-1].strip('\n') if '</think>' in m['content'] "
    "else '' %}{{ '<|im_start|>assistant\n' }}{% if loop.index0 > ns.last and (loop.last or thought) %}"
    "{{ '<think>\n' + thought + '\n</think>\n\n' + said }}{% else %}{{ said }}{% endif %}{{ '<|im_end|>\n' }}"
    "{% else %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# As Mistral has it since its third version: the system message stands before the last question.
MISTRAL3 = (
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}{% set turns = messages[1:] %}"
    "{% else %}{% set turns = messages %}{% endif %}{% set ns = namespace(last=0) %}{% for m in turns %}"
    "{% if m['role'] == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}{{ '<s>' }}{% for m in turns %}"
    "{% if m['role'] == 'user' %}{{ '[INST] ' }}{% if system is defined and loop.index0 == ns.last %}"
    "{{ system + '\n\n' }}{% endif %}{{ m['content'] + '[/INST]' }}{% else %}{{ ' ' + m['content'] + '</s>' }}"
    "{% endif %}{% endfor %}"
)

words = st.text("ab .", min_size=1, max_size=6).map(str.strip).filter(bool)
_SHARED: list[Any] = []


def _tokenizer(template: str) -> Any:
    if not _SHARED:
        _SHARED.append(tiny_tokenizer())
    _SHARED[0].chat_template = template
    return _SHARED[0]


def _talk(system: str, asked: list[tuple[str, str]]) -> list[dict[str, str]]:
    messages = [{"role": "system", "content": system}] if system else []
    for question, answer in asked:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return messages


def _learned(template: str, messages: list[dict[str, str]], loss_on: str = "answers") -> tuple[str, list[str]]:
    (written,) = Writer(_tokenizer(template), loss_on).write([{"messages": messages}])
    if isinstance(written, ValueError):
        raise written
    return written.text, [written.text[first:last] for first, last in written.learned]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(words, words, st.sampled_from(["", "hm", "a"])), min_size=1, max_size=3),
    st.sampled_from(["", "S"]),
)
def test_thinking_of_earlier_turns_is_dropped_and_their_answers_are_learned(
    asked: list[tuple[str, str, str]], system: str
) -> None:
    given_answers = [f"<think>\n{thought}\n</think>\n\n{said}" if thought else said for _, said, thought in asked]
    messages = _talk(system, [(one[0], answer) for one, answer in zip(asked, given_answers, strict=True)])
    by_hand = [said for _, said, _ in asked]
    by_hand[-1] = f"<think>\n{asked[-1][2]}\n</think>\n\n{by_hand[-1]}"
    pieces = [f"<|im_start|>system\n{system}<|im_end|>\n"] if system else []
    for (question, _, _), answer in zip(asked, by_hand, strict=True):
        pieces.append(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n")
    assert _learned(QWEN3, messages) == ("".join(pieces), [f"{answer}<|im_end|>" for answer in by_hand])
    assert _learned(QWEN3, messages, "last")[1] == [f"{by_hand[-1]}<|im_end|>"]
    tokenizer = _tokenizer(QWEN3)
    example = encode(tokenizer, {"messages": messages}, 10_000)
    kept = tokenizer.decode([label for label in example.labels if label != IGNORED])
    assert kept == "".join(f"{answer}<|im_end|>" for answer in by_hand)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(words, words), min_size=1, max_size=3))
def test_answers_are_found_where_the_system_message_moves_on(asked: list[tuple[str, str]]) -> None:
    pieces = ["<s>"]
    for number, (question, answer) in enumerate(asked, 1):
        system = "Be brief.\n\n" if number == len(asked) else ""
        pieces.append(f"[INST] {system}{question}[/INST] {answer}</s>")
    text, learned = _learned(MISTRAL3, _talk("Be brief.", asked))
    assert (text, learned) == ("".join(pieces), [f" {answer}</s>" for _, answer in asked])


def test_a_quick_row_with_known_roles_is_marked_like_a_slow_one(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = _talk("", [("q", "a"), ("r", "b"), ("s", "c")])
    quick = _learned(QWEN3, messages)
    monkeypatch.setattr(Writer, "_outline", lambda self, messages: None)
    assert _learned(QWEN3, messages) == quick


@pytest.mark.parametrize(
    "template",
    [
        # The mark that ends an answer is written behind the last one alone.
        "{% for m in messages %}{{ '<' + m['role'] + '>' + m['content'] }}{% if loop.last %}{{ '<end>' }}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}",
        # What was said before is told again.
        "{% for m in messages %}{{ '<' + m['role'] + '>' + m['content'] + '<end>' }}{% endfor %}"
        "{{ messages[1:] | length }}{{ messages[1]['content'] if messages[1:] else '' }}"
        "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}",
        # The last answer does not stand behind the words that open it.
        "{% for m in messages %}{{ '<' + m['role'] + '>' + m['content'] + '<end>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<assistant><think>' }}{% endif %}",
    ],
)
def test_a_row_whose_answers_cannot_be_told_apart_is_refused_with_what_to_do(template: str) -> None:
    with pytest.raises(ValueError, match=r"rewrites earlier turns.*Choose another chat template"):
        _learned(template, _talk("", [("q", "a"), ("r", "b")]))
