"""A row as the model will see it, in pieces of text: which of it is learned, special, or behind the cut.

Knows nothing about how the pieces are drawn; their text is a file's and a model's, and for showing only.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from engine.data.render import Spelt

MOST_CHARACTERS = 20_000  # of a row that are shown; nobody reads more


@dataclass(frozen=True)
class Piece:
    """A stretch of a row whose tokens are alike in all three."""

    text: str
    learned: bool  # carries loss; the first token of a row never does
    special: bool
    beyond: bool  # behind the cut


def view(tokenizer: Any, spelt: Spelt, length: int) -> dict[str, Any]:
    """One row for showing, cut to `length` tokens.

    Returns:
        tokens (before the cut), answer_tokens (of what is left), cut (tokens behind it), pieces, and hidden: characters
        behind the last piece that are not shown.
    """
    marked, pieces, done = spelt.cut(length), [], 0
    for piece in _pieces(tokenizer, spelt, length):
        if done < MOST_CHARACTERS:
            pieces.append({**vars(piece), "text": piece.text[: MOST_CHARACTERS - done]})
        done += len(piece.text)
    return {
        "tokens": len(spelt.ids),
        "answer_tokens": marked.answer_tokens,
        "cut": len(spelt.ids) - len(marked.ids),
        "pieces": pieces,
        "hidden": max(0, done - MOST_CHARACTERS),
    }


def _pieces(tokenizer: Any, spelt: Spelt, length: int) -> Iterator[Piece]:
    """Tokens that are alike, joined; each special token is a piece of its own."""
    joined = groupby(enumerate(_each(tokenizer, spelt, length)), lambda one: (one[0] * one[1].special, _kind(one[1])))
    for _, tokens in joined:
        alike = [piece for _, piece in tokens]
        first = alike[0]
        yield Piece("".join(piece.text for piece in alike), first.learned, first.special, first.beyond)


def _each(tokenizer: Any, spelt: Spelt, length: int) -> Iterator[Piece]:
    """One piece a token. What the tokenizer passes over, such as white space, stands with the token behind it."""
    special = set(tokenizer.all_special_ids)
    special |= {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    done = 0
    for place, (token, (first, last)) in enumerate(zip(spelt.ids, spelt.offsets, strict=True)):
        text = spelt.text[done:last] if last > done else ""
        if first == last and token in special:  # the tokenizer's own, which the text does not have
            text = tokenizer.convert_ids_to_tokens(token)
        done = max(done, last)
        yield Piece(text, place > 0 and bool(spelt.learned[place]), token in special, place >= length)


def _kind(piece: Piece) -> tuple[bool, bool, bool]:
    return piece.learned, piece.special, piece.beyond
