"""Chat templates that are known by name: for a base model that brings none, or where a person wants another one.

Each is a published form of writing conversations, declared once, with the marks it needs to be single tokens: a model
that does not know them would see them in pieces, and never end an answer as others do. Which one a run has is a setting
(`RunSettings.chat_template`); what was chosen lies beside the adapter's weights.

Knows nothing about how a template is filled in: see `template.py`.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from engine.data.problems import DataError
from engine.data.template import PLAIN, PLAINLY, written
from engine.settings import titles

OWN = "own"  # the base model's, or plain words where it has none


@dataclass(frozen=True)
class Known:
    """A template, and the marks in it that have to be tokens."""

    text: str
    marks: tuple[str, ...] = ()


_SYSTEM_FIRST = (  # these know no system message: it stands before the first question
    "{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] + '\n\n' %}"
    "{% set turns = messages[1:] %}{% else %}{% set first = '' %}{% set turns = messages %}{% endif %}"
)
KNOWN = {
    "plain": Known(PLAIN),
    "chatml": Known(
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        ("<|im_start|>", "<|im_end|>"),
    ),
    "llama3": Known(
        "{{ bos_token }}{% for m in messages %}{% set role = 'ipython' if m['role'] == 'tool' else m['role'] %}"
        "{{ '<|start_header_id|>' + role + '<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    "gemma": Known(
        f"{{{{ bos_token }}}}{_SYSTEM_FIRST}"
        "{% for m in turns %}{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
        "{{ '<start_of_turn>' + role + '\n' + (first if loop.first else '') + m['content'] | trim }}"
        "{{ '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
        ("<start_of_turn>", "<end_of_turn>"),
    ),
    "mistral": Known(
        f"{{{{ bos_token }}}}{_SYSTEM_FIRST}"
        "{% for m in turns %}{% if m['role'] == 'assistant' %}{{ ' ' + m['content'] | trim + eos_token }}"
        "{% elif m['role'] == 'user' %}{{ '[INST] ' + (first if loop.first else '') + m['content'] + ' [/INST]' }}"
        "{% else %}{{ raise_exception('The Mistral template knows no messages of tools.') }}{% endif %}{% endfor %}"
    ),
    "alpaca": Known(
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] + '\n\n' }}"
        "{% elif m['role'] == 'user' %}{{ '### Instruction:\n' + m['content'] + '\n\n' }}"
        "{% elif m['role'] == 'tool' %}{{ '### Input:\n' + m['content'] + '\n\n' }}"
        "{% else %}{{ '### Response:\n' + m['content'] + eos_token + '\n\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '### Response:\n' }}{% endif %}"
    ),
}
TEXTS = frozenset(known.text for known in KNOWN.values())


def put(tokenizer: Any, name: str) -> Any:
    """The tokenizer as one that writes conversations with the template `name`; the given one stays as it is.

    Raises:
        DataError: a mark of the template is no token of it.
    """
    if name == OWN:
        return tokenizer
    known = KNOWN[name]
    lacking = [mark for mark in known.marks if not _is_token(tokenizer, mark)]
    if lacking:
        title, marks = titles("chat_template")[name], ", ".join(lacking)
        told = f"This base model has no tokens {marks}, which the chat template {title} needs."
        raise DataError([f"{told} Choose Plain words, Mistral or Alpaca, which need none, or the base's own."])
    return with_template(tokenizer, known.text)


def with_template(tokenizer: Any, template: str) -> Any:
    """The tokenizer as one that writes conversations with `template`; the given one stays as it is."""
    other = copy.copy(tokenizer)
    other.chat_template = template
    return other


def told(name: str, has_own: bool) -> str:
    """What a person should know of a template that is not the base model's own; empty where it is."""
    title = titles("chat_template").get(name, name)
    if name == OWN or (name == "plain" and not has_own):
        return "" if has_own else PLAINLY
    if has_own:
        return (
            f"This base model has a chat template of its own, and conversations are written as {title} all the same, "
            "as was chosen. It has to learn that form as well, and the base alone still answers to its own."
        )
    return (
        f"This base model has no chat template of its own, so conversations are written as {title}, as was chosen. It "
        "may never have seen them so before, and has to learn that form as well."
    )


def travelling(name: str, has_own: bool) -> str | None:
    """The template that has to go with an adapter, since the base model does not bring it; None where it does."""
    if name == OWN:
        return None if has_own else PLAIN
    return KNOWN[name].text


def end_mark(tokenizer: Any) -> int | None:
    """The token that the chat template of `tokenizer` ends an answer with; None where it is no single token."""
    asked, word = [{"role": "user", "content": "q"}], "qj1zx"
    try:
        text = written(tokenizer, [*asked, {"role": "assistant", "content": word}])
    except ValueError:
        return None
    tail = text.rpartition(word)[2].strip()
    ids = tokenizer(tail, add_special_tokens=False)["input_ids"] if tail else []
    return ids[0] if len(ids) == 1 and tokenizer.convert_ids_to_tokens(ids[0]) == tail else None


def gap(tokenizer: Any) -> str:
    """The white space that the chat template of `tokenizer` puts between the opening of a turn and its answer."""
    asked, word = [{"role": "user", "content": "q"}], "qj1zx"
    try:
        text = written(tokenizer, [*asked, {"role": "assistant", "content": word}])
        opening = written(tokenizer, asked, opening=True)
    except ValueError:
        return ""
    between = text.removeprefix(opening).partition(word)[0]
    return between if between.isspace() else ""


def _is_token(tokenizer: Any, mark: str) -> bool:
    return len(tokenizer(mark, add_special_tokens=False)["input_ids"]) == 1
