"""A conversation as the base model's own chat template writes it, and the stretches of that text that are learned.

An answer is what the template adds to the opening of the assistant's turn, less white space behind its end mark. Where
it stands is told by writing the conversation up to it; for rows with the same roles in the same order, that is done
once with words of ours, and each row is written once (`Outline`). A row whose text is not that outline filled with its
own words is written up to each answer again, so both ways give the same.

Some templates write an earlier turn in another way than the last one: they drop what was thought in it, or move the
system message on. There an answer is found by writing the conversation with another one in its place, and its turn
reaches as far as what the template puts around such an answer, if that is the same in both places. What is learned of
it is what the template writes of it. The last answer has to follow its prompt as the model will get it.

Knows nothing about tokens. Chat templates are foreign code in Jinja's sandbox; they can still be slow, so callers write
in a process that can be ended.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

from jinja2 import TemplateError

from engine.data.compiled_template import Write, compiled
from engine.data.outline import Outline, Span

Message = dict[str, Any]
PROBED = 4  # conversations on which the compiled template and the tokenizer are compared
MOST_OUTLINES = 2000  # sequences of roles that are remembered

PLAIN = (  # what a base without a chat template is taught to answer to. Plain words: any tokenizer can spell them
    "{% for m in messages %}{{ m['role'] | capitalize }}: {{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"  # most tokenizers join the space to the answer's first word
)
PLAINLY = (
    "This base model has no chat template of its own, so conversations are written in plain words, as in User: ... and "
    "Assistant: ... It may never have seen them so before, and has to learn that form as well."
)
_SIGNS = {  # what a template of each kind writes, and no other
    "<|im_start|>": "ChatML",
    "<|start_header_id|>": "Llama 3",
    "<start_of_turn>": "Gemma",
    "<|start_of_role|>": "Granite",
    "<|START_OF_TURN_TOKEN|>": "Command R",
    "<｜Assistant｜>": "DeepSeek",
    "<|channel|>": "Harmony",
    "[INST]": "Mistral or Llama 2",
    "<|assistant|>": "Zephyr or Phi",
    "### Instruction": "Alpaca",
}

REWRITES = (
    "The base model's chat template rewrites earlier turns, so answers cannot be told apart. "
    "Choose another chat template, or Loss on: Last answer or All text."
)
_REFUSALS = (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError)


@dataclass(frozen=True)
class Written:
    """A conversation as text; `learned` are the stretches of it that carry loss, one after another."""

    text: str
    learned: tuple[Span, ...]


class Writer:
    """Writes conversations with one tokenizer's template, and knows the outlines it has met.

    Args:
        loss_on: "answers", the "last" answer of each conversation, or "all" of its text; see `RunSettings.loss_on`.
    """

    def __init__(self, tokenizer: Any, loss_on: str = "answers") -> None:
        self._tokenizer = tokenizer
        self._loss_on = loss_on
        self._outlines: dict[tuple[str, ...], Outline | None] = {}
        self._edges: dict[tuple[tuple[str, ...], int], tuple[str, str]] = {}
        self._quick: tuple[Write | None] | None = None  # looked for once

    def write(self, rows: Sequence[dict[str, Any]]) -> list[Written | ValueError]:
        """Each row of messages as text with what is learned, or the reason why it cannot be, in a sentence."""
        return [self._marked(row, text) for row, text in zip(rows, self._texts(rows), strict=True)]

    def _texts(self, rows: Sequence[dict[str, Any]]) -> list[str | ValueError]:
        """All rows written, in one go where nothing stands against it."""
        try:
            return self._written([row["messages"] for row in rows])
        except _REFUSALS:  # one of them: each is asked by itself, so that it can be named
            return [self._text_or_error(row["messages"]) for row in rows]

    def _written(self, conversations: Sequence[Sequence[Message]]) -> list[str | ValueError]:
        """By the compiled template where it is found, on the first of them, to write what the tokenizer writes."""
        if self._quick is None:
            quick, some = compiled(self._tokenizer), conversations[:PROBED]
            same = quick and [quick(_plain(one)) for one in some] == _apply(self._tokenizer, some, opening=False)
            self._quick = (quick if same else None,)
        (write,) = self._quick
        if write is None or len(conversations) <= PROBED:
            return list(_apply(self._tokenizer, conversations, opening=False))
        return [write(_plain(messages)) for messages in conversations]

    def _text_or_error(self, messages: Sequence[Message]) -> str | ValueError:
        try:
            return self._text(messages)
        except ValueError as error:
            return error

    def _text(self, messages: Sequence[Message], opening: bool = False) -> str:
        return written(self._tokenizer, messages, opening)

    # --- what is learned ------------------------------------------------------------------------------------------

    def _marked(self, row: dict[str, Any], text: str | ValueError) -> Written | ValueError:
        if isinstance(text, ValueError):
            return text
        try:
            _check_complete(row["messages"], text)
            return Written(text, self._learned(row["messages"], text))
        except ValueError as error:
            return error

    def _learned(self, messages: Sequence[Message], text: str) -> tuple[Span, ...]:
        if self._loss_on != "all":
            answers = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
            wanted = answers if self._loss_on == "answers" else answers[-1:]
            return self._turns(messages, text, [i for i in wanted if messages[i].get("weight") != 0])
        left_out = [i for i, message in enumerate(messages) if message.get("weight") == 0]
        gaps = self._turns(messages, text, left_out)
        edges = [0, *chain.from_iterable(gaps), len(text)]
        return tuple((first, last) for first, last in list(pairwise(edges))[::2] if first < last)

    def _turns(self, messages: Sequence[Message], text: str, numbers: Sequence[int]) -> tuple[Span, ...]:
        """Where the turns of these messages lie in `text`."""
        if not numbers:
            return ()
        outline = self._outline(messages)
        contents = _filling(outline, messages, text) if outline else None
        spans = []
        for number in numbers:
            if outline is None or contents is None or number not in outline.turns:
                span = self._turn(messages, text, number)
            else:
                span = outline.span(contents, number)
            spans.append(_trimmed(text, *span))
        return tuple(spans)

    def _turn(self, messages: Sequence[Message], text: str, number: int) -> Span:
        """The turn of message `number`, told by writing the conversation up to it. ValueError if that cannot tell."""
        opening = messages[number]["role"] == "assistant"
        before = self._text(messages[:number], opening) if number else ""
        after = self._text(messages[: number + 1]) if number + 1 < len(messages) else text
        if after.startswith(before) and text.startswith(after):
            return len(before), len(after)
        if number + 1 == len(messages):
            raise ValueError(REWRITES)
        return self._rewritten(messages, text, number)

    def _rewritten(self, messages: Sequence[Message], text: str, number: int) -> Span:
        """The turn of an earlier message that the template writes in another way than where it is the last one."""
        word = _word(number)
        while word in text:
            word += "x"
        other = self._text([*messages[:number], {**messages[number], "content": word}, *messages[number + 1 :]])
        head, found, foot = other.partition(word)
        rest, tail = self._edge(tuple(message["role"] for message in messages), number)
        around = head.endswith(rest) and foot.startswith(tail) and word not in foot
        same = text.startswith(head) and text.endswith(foot) and len(head) + len(foot) <= len(text)
        if not (found and around and same):
            raise ValueError(REWRITES)
        return len(head) - len(rest), len(text) - len(foot) + len(tail)

    def _edge(self, roles: tuple[str, ...], number: int) -> tuple[str, str]:
        """What a turn has between its opening and its content, and behind that: told with words of ours."""
        if (roles, number) not in self._edges:
            if len(self._edges) >= MOST_OUTLINES:
                self._edges.clear()
            self._edges[roles, number] = self._edge_found(roles, number)
        return self._edges[roles, number]

    def _edge_found(self, roles: tuple[str, ...], number: int) -> tuple[str, str]:
        messages = _of_words(roles)
        words = [message["content"] for message in messages]
        text = self._text(messages)
        opened = self._text(messages[:number], roles[number] == "assistant") if number else ""
        ahead, behind = text.partition(words[number])[::2]
        between, opening = (one.rpartition(words[number - 1])[2] if number else one for one in (ahead, opened))
        tail = self._text(messages[: number + 1]).rpartition(words[number])[2]
        if not between.startswith(opening) or not behind.startswith(tail) or any(word in between for word in words):
            raise ValueError(REWRITES)
        return between[len(opening) :], tail

    def _outline(self, messages: Sequence[Message]) -> Outline | None:
        roles = tuple(message["role"] for message in messages)
        if roles not in self._outlines:
            if len(self._outlines) >= MOST_OUTLINES:
                self._outlines.clear()
            self._outlines[roles] = self._found(roles)
        return self._outlines[roles]

    def _found(self, roles: Sequence[str]) -> Outline | None:
        """The outline of these roles, found with words that no template has; None where they do not come out."""
        messages = _of_words(roles)
        words = [message["content"] for message in messages]
        answers = [number for number, role in enumerate(roles) if role == "assistant"]
        try:
            text = self._text(messages)
            spans = [self._turn(messages, text, number) for number in answers]
        except ValueError:
            return None
        around, rest = [], text
        for word in words:
            piece, found, rest = rest.partition(word)
            if not found:
                return None
            around.append(piece)
        turns = {}
        for number, (first, last) in zip(answers, spans, strict=True):
            start = text.index(words[number])
            turns[number] = start - first, last - start - len(words[number])
        return Outline((*around, rest), turns)


def _word(number: int) -> str:
    """A word that no template has and none trims."""
    return f"qj{number}zx"


def _of_words(roles: Sequence[str]) -> list[Message]:
    return [{"role": role, "content": _word(number)} for number, role in enumerate(roles)]


def name_of(template: object) -> str | None:
    """What a chat template is commonly called; "its own" for one not known here, None where a base has none."""
    if not template or template == PLAIN:
        return None
    return next((name for sign, name in _SIGNS.items() if sign in str(template)), "its own")


def written(tokenizer: Any, messages: Sequence[Message], opening: bool = False) -> str:
    """A conversation as text; with `opening`, the words that begin the assistant's next turn stand at its end.

    Raises:
        ValueError: if the template refuses it.
    """
    try:
        (text,) = _apply(tokenizer, [messages], opening)
    except _REFUSALS as error:
        raise ValueError(f"The base model's chat template refused a row: {error}") from error
    return text


def _plain(messages: Sequence[Message]) -> list[Message]:
    """Messages as templates know them: role and content."""
    return [m if len(m) == 2 else {"role": m["role"], "content": m["content"]} for m in messages]


def _apply(tokenizer: Any, conversations: Sequence[Sequence[Message]], opening: bool) -> list[str]:
    """Raises _REFUSALS as the template raises them."""
    texts: list[str] = tokenizer.apply_chat_template(
        [_plain(messages) for messages in conversations], tokenize=False, add_generation_prompt=opening
    )
    return texts


def _check_complete(messages: Sequence[Message], text: str) -> None:
    """ValueError if the template passes over what tools say: many know only plain turns."""
    if any(message["role"] == "tool" and message["content"].strip() not in text for message in messages):
        raise ValueError("The base model's chat template leaves out what tools say, messages of the role tool.")


def _filling(outline: Outline, messages: Sequence[Message], text: str) -> list[str] | None:
    """What `outline` has to be filled with to be `text`: the contents as they are, or trimmed, as many templates do."""
    contents = [message["content"] for message in messages]
    if outline.fits(contents, text):
        return contents
    trimmed = [content.strip() for content in contents]
    return trimmed if outline.fits(trimmed, text) else None


def _trimmed(text: str, first: int, last: int) -> Span:
    return first, max(first, len(text[:last].rstrip()))
