"""Plain text and Markdown, cut into passages that are short enough to be learned from.

A passage is never cut within a paragraph that fits: paragraphs that follow each other are put together until the next
would be too much. Markdown begins a passage at each heading and keeps code together. Knows nothing about tokens: the
length in characters is a guess at what fits.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import TextIO

from engine.data.problems import RowError
from engine.data.raw import Raw, RawRow
from engine.data.stream import Stream

PASSAGE = 2_000  # characters, about 500 tokens of English
LONGEST_PARAGRAPH = 1_000_000  # characters held at a time
_HEADING = re.compile(r"#{1,6} \S")
_FENCE = re.compile(r"\s{0,3}(```|~~~)")


def is_markdown(head: str) -> bool:
    """Whether text that begins with `head` has headings or code as Markdown writes them."""
    return any(_HEADING.match(line) or _FENCE.match(line) for line in head.splitlines())


class Prose(Raw):
    """A file of text that nobody has cut into rows."""

    unit = "Passage"

    def __init__(self, stream: Stream, markdown: bool) -> None:
        super().__init__(stream)
        self._markdown = markdown
        self.container = "Markdown" if markdown else "plain text"
        where = "at headings and blank lines" if markdown else "at blank lines"
        self.understood = (
            f"Read as {'Markdown' if markdown else 'plain text'}, cut {where} into passages of up to {PASSAGE:,} "
            "characters, each a row; the model learns all of it."
        )

    def rows(self) -> Generator[RawRow]:
        """As `Raw.rows`: each a passage under the name text."""
        with self._stream.text(None) as text:
            for number, passage in enumerate(_passages(_paragraphs(text, self._markdown)), 1):
                try:
                    yield number, {"text": self._decoding.mend(passage)}
                except RowError as error:
                    yield number, error


def _passages(paragraphs: Iterator[str]) -> Iterator[str]:
    held = ""
    for paragraph in paragraphs:
        joined = f"{held}\n\n{paragraph}" if held else paragraph
        begins = _HEADING.match(paragraph) and not all(map(_HEADING.match, held.split("\n\n")))
        if len(joined) <= PASSAGE and not begins:
            held = joined
            continue
        if held:
            yield held
        *whole, held = _pieces(paragraph)
        yield from whole
    if held:
        yield held


def _paragraphs(text: TextIO, markdown: bool) -> Iterator[str]:
    """What stands between blank lines; in Markdown a heading begins one, and code is not parted."""
    lines: list[str] = []
    length, fenced = 0, False
    while line := text.readline(PASSAGE):
        if markdown and _FENCE.match(line):
            fenced = not fenced
        ends = not fenced and (not line.strip() or (markdown and bool(_HEADING.match(line))))
        if lines and (ends or length > LONGEST_PARAGRAPH):
            yield "".join(lines).rstrip()
            lines, length = [], 0
        if line.strip() or lines:
            lines.append(line)
            length += len(line)
    if lines:
        yield "".join(lines).rstrip()


def _pieces(paragraph: str) -> Iterator[str]:
    """A paragraph in pieces that are not too long: cut at a line's end, a sentence's, a word's, or anywhere."""
    rest = paragraph
    while len(rest) > PASSAGE:
        window = rest[: PASSAGE + 1]
        cut = next(
            (at for sign in ("\n", ". ", " ") if (at := window.rfind(sign) + len(sign.rstrip(" "))) > PASSAGE // 4), 0
        )
        cut = cut or PASSAGE
        yield rest[:cut].rstrip()
        rest = rest[cut:].lstrip("\n ")
    yield rest
