"""From clean rows to tokens and labels: what the model sees, and which of it it learns.

A token is learned where it lies inside a stretch of text that is learned (see `template.py`). Plain text is learned
as a whole. Rows go through template and tokenizer many at a time.

Knows nothing about batches or training.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from engine.data.byte_tokens import ByteTokens, placed
from engine.data.outline import Span
from engine.data.problems import DataError
from engine.data.template import Message, Writer, Written, written

Row = dict[str, Any]
Text = Written | ValueError | str  # a conversation, or why it cannot be written; or a plain text
Encoded = Any  # with ids, and with offsets: where in the text each stands

IGNORED = -100  # the label that torch's cross-entropy leaves out
AT_ONCE = 1024  # rows that are written and tokenised together: few enough to be cancelled soon
FEW = 2  # portions, after which it pays to know the bytes of all tokens
PROBED = 8  # texts on which a tokenizer's call and its core are compared
MOST_CHARACTERS = 2_000_000  # of the rows together; a single row may have more
MOST_NAMED = 100  # rows with a problem that are named; beyond that only their number is told


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


@dataclass(frozen=True)
class Marked:
    """One row as tokens, with a byte for each that is 1 where it is learned: the same as an `Example`, and quicker."""

    ids: list[int]
    learned: bytes
    full_length: int  # tokens before the row was cut
    source: str = ""  # where it comes from, as its column says

    @property
    def answer_tokens(self) -> int:
        """As those of an `Example`."""
        return self.learned.count(1, 1)

    def example(self) -> Example:
        """The same row with labels."""
        labels = [token if mark else IGNORED for token, mark in zip(self.ids, self.learned, strict=True)]
        return Example(self.ids, labels, self.full_length)


@dataclass(frozen=True)
class Spelt:
    """One row before it is cut: its text, its tokens, and where in the text each stands (first, last + 1)."""

    text: str
    ids: list[int]
    offsets: Sequence[Span]
    learned: bytes

    def cut(self, length: int) -> Marked:
        """The first `length` tokens."""
        return Marked(self.ids[:length], self.learned[:length], len(self.ids))


class Speller:
    """Turns rows into tokens, many at a time, with one tokenizer and one choice of what carries loss."""

    def __init__(self, tokenizer: Any, loss_on: str = "answers") -> None:
        self._tokenizer = tokenizer
        self._core: Any = getattr(tokenizer, "backend_tokenizer", None)
        self._trusted: dict[bool, bool] = {}
        self._bytes: tuple[ByteTokens | None] | None = None  # looked for once
        self._writer = Writer(tokenizer, loss_on)

    def spell(self, rows: Sequence[Row]) -> list[Spelt | ValueError]:
        """Each row as tokens, or the reason why it cannot be, in a sentence."""
        texts = self._texts(rows)
        return list(self._spelt(texts, self._tokens(texts)))

    def marked(self, portions: Iterable[Sequence[Row]], length: int) -> Iterator[Marked | ValueError]:
        """The rows of all portions as `spell` has them, cut to `length` tokens.

        Of many portions the tokenizer is not asked for places, if they follow from its tokens.
        """
        for number, rows in enumerate(portions):
            known = self._byte_tokens() if number >= FEW else None
            yield from self._marked(rows, known, length)

    def _byte_tokens(self) -> ByteTokens | None:
        if self._bytes is None and self._trusted.get(False):
            self._bytes = (ByteTokens.of(self._core),)
        return self._bytes[0] if self._bytes else None

    def _texts(self, rows: Sequence[Row]) -> list[Text]:
        """What the tokenizer is given for each row: a conversation as it is written, a plain text as it is."""
        chats = [row for row in rows if "text" not in row]
        conversations = iter(self._writer.write(chats) if chats else ())
        return [row["text"] if "text" in row else next(conversations) for row in rows]

    def _tokens(self, texts: Sequence[Text], of_chats: bool = True, of_plain: bool = True) -> list[Encoded]:
        """Tokens of each text that is one, in their order: conversations first, then plain texts. With their offsets
        `of_chats` and `of_plain`."""
        chats = self._tokenised([one.text for one in texts if isinstance(one, Written)], False, of_chats)
        return [*chats, *self._tokenised([one for one in texts if isinstance(one, str)], True, of_plain)]

    def _tokenised(self, texts: list[str], special: bool, places: bool) -> Iterable[Encoded]:
        """Tokens and offsets of each text; from the tokenizer's core, which is quicker, where that gives the same.

        Without `places` it is asked for no offsets, if it is its core that is asked.
        """
        if not texts:
            return ()
        if special not in self._trusted:
            self._trusted[special] = self._core is not None and self._agrees(texts[:PROBED], special)
        if not self._trusted[special]:
            return self._called(texts, special)
        asked = self._core.encode_batch if places else self._core.encode_batch_fast
        encoded: Iterable[Encoded] = asked(texts, add_special_tokens=special)
        return encoded

    def _called(self, texts: list[str], special: bool) -> list[Encoded]:
        tokens = self._tokenizer(
            texts,
            add_special_tokens=special,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        pairs = zip(tokens["input_ids"], tokens["offset_mapping"], strict=True)
        return [SimpleNamespace(ids=ids, offsets=offsets) for ids, offsets in pairs]

    def _agrees(self, texts: list[str], special: bool) -> bool:
        """Whether the tokenizer does nothing to these texts but what its core does. Leaves the core without limits."""
        by_call = self._called(texts, special)
        self._core.no_truncation()
        self._core.no_padding()
        by_core = self._core.encode_batch(texts, add_special_tokens=special)
        without = self._core.encode_batch_fast(texts, add_special_tokens=special)
        same = [(one.ids, one.offsets) for one in by_call] == [(one.ids, one.offsets) for one in by_core]
        return same and [one.ids for one in by_core] == [one.ids for one in without]

    def _spelt(self, texts: Sequence[Text], tokens: Sequence[Encoded]) -> Iterator[Spelt | ValueError]:
        chats = sum(isinstance(one, Written) for one in texts)
        of_chats, of_plain = iter(tokens[:chats]), iter(tokens[chats:])
        for one in texts:
            if isinstance(one, Written):
                tokens_of = next(of_chats)
                offsets = placed(one.text, tokens_of.offsets)
                yield Spelt(one.text, tokens_of.ids, offsets, _mask(offsets, one.learned))
            elif isinstance(one, str):
                tokens_of = next(of_plain)
                ids, learned = self._whole(tokens_of.ids)
                ends = [(len(one), len(one))] * (len(ids) - len(tokens_of.ids))
                yield Spelt(one, ids, [*tokens_of.offsets, *ends], learned)
            else:
                yield one

    def _marked(self, rows: Sequence[Row], known: ByteTokens | None, length: int) -> Iterator[Marked | ValueError]:
        texts = self._texts(rows)
        tokens, chats = self._tokens(texts, known is None, False), [one for one in texts if isinstance(one, Written)]
        of_chats = self._of_chats(chats, tokens[: len(chats)], known)
        of_plain = (self._whole(one.ids) for one in tokens[len(chats) :])
        for row, one in zip(rows, texts, strict=True):
            if isinstance(one, ValueError):
                yield one
            else:
                ids, learned = next(of_chats if isinstance(one, Written) else of_plain)
                yield Marked(ids[:length], learned[:length], len(ids), row.get("source", ""))

    def _of_chats(
        self, chats: Sequence[Written], tokens: Sequence[Encoded], known: ByteTokens | None
    ) -> Iterator[tuple[list[int], bytes]]:
        """The tokens of each conversation, and a byte for each that is 1 where it is learned."""
        ids = [one.ids for one in tokens]
        found = known.learned(chats, ids) if known else [None] * len(chats)
        for chat, of_row, encoded, learned in zip(chats, ids, tokens, found, strict=True):
            if learned is None:
                asked = self._core.encode(chat.text, add_special_tokens=False) if known else encoded
                learned = _mask(placed(chat.text, asked.offsets), chat.learned)
            yield of_row, learned

    def _whole(self, ids: list[int]) -> tuple[list[int], bytes]:
        """The tokens of a plain text with the mark that ends it: all are learned."""
        end = self._tokenizer.eos_token_id
        ids = ids if end is None else [*ids, end]
        return ids, b"\1" * len(ids)


def encode_all(tokenizer: Any, rows: Iterable[Row], length: int, loss_on: str = "answers") -> Iterator[Marked]:
    """Render clean rows one after another, each cut to `length` tokens.

    Raises:
        DataError: if the chat template cannot write some of the rows; it names them. Raised after the last row.
    """
    speller, refused, total = Speller(tokenizer, loss_on), [], 0
    for number, one in enumerate(speller.marked(_portions(rows), length)):
        if isinstance(one, ValueError):
            total += 1
            refused += [(number, str(one))] if total <= MOST_NAMED else []
        elif not total:
            yield one
    if total:
        error = DataError([f"Row {number + 1}: {reason}" for number, reason in refused], total)
        error.refused = refused
        raise error


def encode(tokenizer: Any, row: Row, length: int, loss_on: str = "answers") -> Example:
    """Render one clean row, cut to `length` tokens.

    Raises:
        ValueError: if the chat template cannot write this conversation, or nothing would be left of it.
    """
    if length < 1:
        raise ValueError(f"A row cannot be cut to {length} tokens.")
    (spelt,) = Speller(tokenizer, loss_on).spell([row])
    if isinstance(spelt, ValueError):
        raise spelt
    return spelt.cut(length).example()


def prompt_ids(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """The tokens a model is given to answer `messages`, up to the opening of its turn."""
    ids: list[int] = tokenizer(written(tokenizer, messages, opening=True), add_special_tokens=False)["input_ids"]
    return ids


def _mask(offsets: Sequence[Span], spans: Sequence[Span]) -> bytes:
    """A byte for each token: 1 where it lies inside one of `spans`, which stand one after another."""
    if not spans:
        return bytes(len(offsets))
    if len(spans) == 1:
        ((start, end),) = spans
        return bytes([start <= first and last <= end and first < last for first, last in offsets])
    firsts, lasts = np.array(offsets, dtype=np.int64).reshape(-1, 2).T
    starts, ends = np.array(spans, dtype=np.int64).T
    nearest = np.searchsorted(starts, firsts, side="right") - 1  # the last span that begins before the token
    inside: bytes = ((nearest >= 0) & (lasts <= ends[nearest]) & (firsts < lasts)).tobytes()
    return inside


def _portions(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows in portions of AT_ONCE rows, or fewer long ones."""
    portion: list[Row] = []
    characters = 0
    for row in rows:
        portion.append(row)
        characters += _characters(row)
        if len(portion) == AT_ONCE or characters > MOST_CHARACTERS:
            yield portion
            portion, characters = [], 0
    if portion:
        yield portion


def _characters(row: Row) -> int:
    return len(row["text"]) if "text" in row else sum(len(message["content"]) for message in row["messages"])
