"""From clean rows to tokens and labels: what the model sees, and which of it it learns.

A conversation is written through the base model's own chat template. Loss falls on the answers only: on every token
that lies inside what an assistant said, with the mark that ends its turn. Plain text is learned as a whole.

Knows nothing about batches or training. Chat templates are foreign code in Jinja's sandbox; they can still be slow,
so callers render in a process that can be ended.
"""

from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

IGNORED = -100  # the label that torch's cross-entropy leaves out


@dataclass(frozen=True)
class Example:
    """One row as tokens. `labels[i]` is `ids[i]` where the token is learned, else IGNORED."""

    ids: list[int]
    labels: list[int]
    full_length: int  # tokens before the row was cut

    @property
    def answer_tokens(self) -> int:
        """Tokens that carry loss; the first of a row never does, as nothing stands before it to predict it from."""
        return sum(label != IGNORED for label in self.labels[1:])


def encode(tokenizer: Any, row: dict[str, Any], length: int) -> Example:
    """Render one clean row, cut to `length` tokens.

    Raises:
        ValueError: if the chat template cannot write this conversation, or nothing would be left of it.
    """
    if length < 1:
        raise ValueError(f"A row cannot be cut to {length} tokens.")
    if "text" in row:
        ids = tokenizer(row["text"], add_special_tokens=True)["input_ids"]
        if tokenizer.eos_token_id is not None:
            ids = [*ids, tokenizer.eos_token_id]
        return Example(ids[:length], ids[:length], len(ids))
    text, answers = rendered(tokenizer, row["messages"])
    tokens = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids = tokens["input_ids"]
    labels = [
        token if any(start <= first and last <= end for start, end in answers) and last > first else IGNORED
        for token, (first, last) in zip(ids, tokens["offset_mapping"], strict=True)
    ]
    return Example(ids[:length], labels[:length], len(ids))


def rendered(tokenizer: Any, messages: list[dict[str, str]]) -> tuple[str, list[tuple[int, int]]]:
    """The whole conversation as text, and where in it the answers stand, as (first, last + 1) character.

    An answer is what the template adds to the opening of the assistant's turn, less white space behind its end mark.

    Raises:
        ValueError: if the template does not write turns one after another, so that answers cannot be told apart.
    """
    text = _write(tokenizer, messages)
    answers = []
    for number, message in enumerate(messages):
        if message["role"] == "assistant":
            before = _write(tokenizer, messages[:number], opening=True)
            after = _write(tokenizer, messages[: number + 1]) if number + 1 < len(messages) else text
            if not after.startswith(before) or not text.startswith(after):
                raise ValueError(
                    "The base model's chat template rewrites earlier turns, so answers cannot be told apart."
                )
            answers.append((len(before), len(after.rstrip())))
    return text, answers


def prompt_ids(tokenizer: Any, messages: list[dict[str, str]]) -> list[int]:
    """The tokens a model is given to answer `messages`, up to the opening of its turn."""
    ids: list[int] = tokenizer(_write(tokenizer, messages, opening=True), add_special_tokens=False)["input_ids"]
    return ids


def _write(tokenizer: Any, messages: list[dict[str, str]], opening: bool = False) -> str:
    try:
        text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=opening)
    except (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"The base model's chat template refused a row: {error}") from error
    return text
