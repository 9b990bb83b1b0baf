"""Where in its text each token of a byte-level tokenizer stands, told from the tokens alone.

Such a tokenizer drops and adds nothing: the bytes that its tokens stand for, one after another, are the text's. So
widths are summed up, of many rows at once, and the tokenizer need not keep account of places, which takes it a third
of its time. Every row is checked to be its own bytes; of one that is not (a normaliser changed it, a token swallowed
the space beside it) nothing is told. Whether places leave out white space at the ends of tokens is found by asking.

Knows nothing about templates, or why a stretch of text is learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.data.outline import Span
from engine.data.template import Written

Numbers = NDArray[Any]
SAMPLE = "Arr,  matey! In 12 or 3   days\n   we \t sail."  # words and white space of many kinds, in ASCII
BETWEEN = "\U0010ffff"  # stands between names, as no character of Unicode
_PRINTED = [*range(33, 127), *range(161, 173), *range(174, 256)]  # bytes that a vocabulary writes as themselves
_OTHERS = [byte for byte in range(256) if byte not in _PRINTED]  # the others are written as signs from 256 on
_WHITE = " \t\n\r\v\f" + chr(256 + 32)  # white space, and the sign for a space
_BYTES = {byte: byte for byte in _PRINTED} | {256 + number: byte for number, byte in enumerate(_OTHERS)}


class Token(NamedTuple):
    """A token as it stands in the vocabulary, and the bytes that it stands for."""

    name: str
    spelt: bytes

    def edges(self) -> tuple[int, int]:
        """Bytes of white space at its beginning and at its end; of one that is nothing else all but the last byte."""
        bare = self.name.lstrip(_WHITE)
        if not bare:
            return max(0, len(self.spelt) - 1), 0
        return len(self.name) - len(bare), len(bare) - len(bare.rstrip(_WHITE))


class ByteTokens:
    """The tokens of one tokenizer as bytes."""

    def __init__(self, tokens: Sequence[Token], trims: bool) -> None:
        """`tokens` by their numbers; `trims` tells if white space at the ends of a token has no place."""
        self._spelt = [token.spelt for token in tokens]
        self._widths = np.array([len(spelt) for spelt in self._spelt], np.int64)
        edges = [token.edges() if trims else (0, 0) for token in tokens]
        self._heads, self._tails = np.array(edges, np.int64).reshape(-1, 2).T

    @classmethod
    def of(cls, core: Any) -> ByteTokens | None:
        """The tokens of a tokenizer's core; None if it is not known to be byte-level."""
        tokens, told = _tokens(core), core.encode(SAMPLE, add_special_tokens=False)
        places = placed(SAMPLE, told.offsets)
        tried = (cls(tokens, trims) for trims in (False, True))
        return next((one for one in tried if one._is_whole(SAMPLE, told.ids) and one._places(told.ids) == places), None)

    def learned(self, texts: Sequence[Written], ids: Sequence[list[int]]) -> list[bytes | None]:
        """For each text a byte for each of its tokens, 1 where it is learned; None where it is not known."""
        known = [self._is_whole(written.text, of_row) for written, of_row in zip(texts, ids, strict=True)]
        rows = [row for row, sure in enumerate(known) if sure]
        marks = iter(self._marks([texts[row] for row in rows], [ids[row] for row in rows]))
        return [next(marks) if sure else None for sure in known]

    def _is_whole(self, text: str, ids: list[int]) -> bool:
        # White space in front is left out: some tokenizers treat a space there as one of their own.
        return not text[:1].isspace() and b"".join(map(self._spelt.__getitem__, ids)) == text.encode()

    def _marks(self, texts: Sequence[Written], ids: Sequence[list[int]]) -> list[bytes]:
        """Marks of rows that are known to be whole, as if they were one long text."""
        counts = [len(of_row) for of_row in ids]
        flat = np.fromiter(chain.from_iterable(ids), np.int64, sum(counts))
        firsts, lasts = self._bounds(flat)
        spans = np.array(list(_in_bytes(texts)), np.int64).reshape(-1, 2)
        begin = np.searchsorted(firsts, spans[:, 0], "left")
        end = np.maximum(begin, np.searchsorted(lasts, spans[:, 1], "right"))
        steps = np.zeros(len(flat) + 1, np.int8)
        np.add.at(steps, begin, 1)
        np.add.at(steps, end, -1)
        marks, edges = np.cumsum(steps, dtype=np.int8).tobytes(), np.cumsum([0, *counts]).tolist()
        return [marks[first:last] for first, last in pairwise(edges)]

    def _bounds(self, ids: Numbers) -> tuple[Numbers, Numbers]:
        """Bytes from the beginning of the first token to the first byte of each, and to the one behind its last."""
        ends = np.cumsum(self._widths[ids])
        return ends - self._widths[ids] + self._heads[ids], ends - self._tails[ids]

    def _places(self, ids: list[int]) -> list[Span]:
        firsts, lasts = self._bounds(np.array(ids, np.int64))
        return list(zip(firsts.tolist(), lasts.tolist(), strict=True))


def placed(text: str, offsets: Sequence[Span]) -> Sequence[Span]:
    """Where tokens stand of which a tokenizer says `offsets` (first character, last + 1).

    Some tokenizers leave out white space at the ends of a token, so that one of nothing else has no width. It stands
    where its last sign does: it is part of the text, and has to be learned with it.
    """
    if all(first < last for first, last in offsets):
        return offsets
    return [
        (first - 1, last) if first == last and text[first - 1 : first].isspace() else (first, last)
        for first, last in offsets
    ]


def _tokens(core: Any) -> list[Token]:
    """All tokens by their numbers; empty ones for numbers without one."""
    vocabulary: dict[str, int] = core.get_vocab(with_added_tokens=False)
    names = [name for name in vocabulary if BETWEEN not in name]
    tokens = {vocabulary[name]: Token(name, spelt) for name, spelt in zip(names, _as_bytes(names), strict=True)}
    added = core.get_added_tokens_decoder().items()
    tokens |= {number: Token(token.content, token.content.encode()) for number, token in added}
    return [tokens.get(number, Token("", b"")) for number in range(max(tokens, default=0) + 1)]


def _as_bytes(names: Sequence[str]) -> list[bytes]:
    """The bytes that names in a vocabulary are written for; a name that is not written in bytes as it is."""
    written = BETWEEN.join(names).translate(_BYTES).split(BETWEEN)  # at once: there may be 200,000
    return [_encoded(name, told) for name, told in zip(names, written, strict=True)]


def _encoded(name: str, told: str) -> bytes:
    try:
        return told.encode("latin-1")
    except UnicodeEncodeError:
        return name.encode()


def _in_bytes(texts: Sequence[Written]) -> list[Span]:
    """The learned stretches of texts that stand one after another, counted in bytes from the first one's beginning."""
    spans, before = [], 0
    for written in texts:
        text, plain = written.text, written.text.isascii()
        for first, last in written.learned:
            span = (first, last) if plain else (len(text[:first].encode()), len(text[:last].encode()))
            spans.append((before + span[0], before + span[1]))
        before += len(text) if plain else len(text.encode())
    return spans
