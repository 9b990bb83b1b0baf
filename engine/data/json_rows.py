"""Rows in JSON: one object a line (JSONL), a list of objects, or an object with such a list in it.

A list is read value by value as the file goes by, so that its length does not matter; one value is never longer than
`LONGEST`. Knows nothing about what a row means.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Iterator
from itertools import chain, islice
from typing import Any, TextIO

from engine.data.problems import DataError, RowError
from engine.data.raw import Raw, RawRow, too_long
from engine.data.stream import BLOCK, LONGEST, is_foreign

WRAPPERS = ("data", "rows", "train", "examples", "instances")  # names of the list in an object
_SPACE = " \t\r\n"
_LIST = re.compile(r'\[\s*(?:[\[{"\]]|(?:-?\d[\d.eE+-]*|true|false|null)\s*(?:,|\]\s*$))')
_NEST = "this is nested too deeply to be a row of text."
_SEEN = 20  # lines that tell JSONL from other text
_SHORT = 20  # characters: words such as -Infinity and escapes such as \\u00e9 are no longer
_MOST_NAMES = 10_000  # of one object, or values of one list in it; more are no row of text


def is_lines(head: str) -> bool:
    """Whether the text that begins with `head` is JSONL: at least half of its first lines are whole objects."""
    lines = [line for line in head.split("\n") if line.strip()][:_SEEN]
    if not lines or (len(lines) == 1 and _is_wrapper(lines[0])):
        return False
    if not _begins_with_object(lines[0]) and lines[0].rstrip()[-1] in "[{,:":  # a value over several lines
        return False
    return 2 * sum(map(_begins_with_object, lines)) >= len(lines)


def is_json(head: str) -> bool:
    """Whether the text that begins with `head` is one JSON value that can hold rows."""
    return head.startswith("{") or bool(_LIST.match(head))


class JsonLines(Raw):
    """One object a line."""

    container = "JSONL"

    def rows(self) -> Generator[RawRow]:
        """As `Raw.rows`; a line that cannot be read is told and passed over."""
        number = 0
        with self._stream.text("\n") as text:
            while line := text.readline(LONGEST + 1):
                number += 1
                if len(line) > LONGEST and not line.endswith("\n"):
                    _skip_line(text)
                    yield number, too_long(LONGEST)
                elif not line.isspace():
                    yield number, self._value(line)

    def _value(self, line: str) -> Any:
        try:
            return json.loads(self._decoding.mend(line))
        except RowError as error:
            return error
        except RecursionError:
            return RowError(_NEST)
        except ValueError as error:
            return RowError(f"this is not valid JSON ({_why(error)}).")


class Json(Raw):
    """One value: a list of rows, an object that has such a list, or an object that is a row; or several in a row."""

    container = "JSON"
    unit = "Row"

    def rows(self) -> Generator[RawRow]:
        """As `Raw.rows`. After a mistake there is no telling where the next row begins, so it ends the file."""
        with self._stream.text() as text:
            reader = _Reader(text)
            for number, value in enumerate(self._values(reader), 1):
                yield number, self._meant(value) if reader.foreign else value

    def _values(self, reader: _Reader) -> Iterator[Any]:
        while (sign := reader.peek()) != "":
            if sign == "[":
                yield from reader.items()
            elif sign == "{":
                yield from _object(reader)
            else:
                reader.fail("a list or an object is expected")

    def _meant(self, value: Any) -> Any:
        """The value with its bytes as they were meant."""
        try:
            return _mended(value, self._decoding.mend)
        except RowError as error:
            return error


class _Reader:
    """Reads JSON from text that goes by, a piece at a time."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._decode = json.JSONDecoder().raw_decode
        self._held, self._at, self._over = "", 0, False
        self._passed = 0  # characters before what is held
        self.foreign = False  # whether any of its bytes were not UTF-8

    def peek(self) -> str:
        """The next sign that is no white space; empty at the end."""
        while True:
            while self._at < len(self._held):
                if self._held[self._at] not in _SPACE:
                    return self._held[self._at]
                self._at += 1
            if not self._more():
                return ""

    def take(self, sign: str) -> None:
        """Pass over the next sign, which has to be this one."""
        if self.peek() != sign:
            self.fail(f"{sign!r} is expected")
        self._at += 1

    def value(self) -> Any:
        """The next value, whole."""
        self.peek()
        while True:
            try:
                value, end = self._decode(self._held, self._at)
            except RecursionError:
                raise DataError([f"The JSON in this file cannot be read: {_NEST}"]) from None
            except ValueError as error:
                if self._is_certain(error) or not self._more():
                    self.fail(_why(error))
            else:
                whole = end < len(self._held) or isinstance(value, str | dict | list)
                if whole or not self._more():  # a number may go on behind what is held
                    self._at = end
                    return value

    def items(self) -> Iterator[Any]:
        """The values of the list that begins here."""
        self.take("[")
        if self.peek() == "]":
            self.take("]")
            return
        while True:
            yield self.value()
            if self.peek() != ",":
                break
            self.take(",")
        self.take("]")

    def fail(self, why: str) -> None:
        """Raise the DataError that says what is wrong, and where."""
        place = f"at character {self._passed + self._at + 1:,}"
        if self.peek() == "":
            raise DataError([f"The file is not valid JSON: it ends {place}, before it is complete."])
        raise DataError([f"The file is not valid JSON {place}: {why}."])

    def _is_certain(self, error: ValueError) -> bool:
        """Whether it would be an error however the text goes on."""
        if not isinstance(error, json.JSONDecodeError):
            return True
        return not error.msg.startswith("Unterminated") and error.pos < len(self._held) - _SHORT

    def _more(self) -> bool:
        """Hold more of the text, at least twice as much as is waiting; False at the end."""
        waiting = len(self._held) - self._at
        if waiting > LONGEST:
            raise DataError([f"A value in this file has more than {LONGEST:,} characters, the limit for a row."])
        piece = "" if self._over else self._text.read(max(BLOCK, waiting))
        self._over = not piece
        if not piece:
            return False
        self.foreign = self.foreign or is_foreign(piece)
        self._held, self._passed, self._at = self._held[self._at :] + piece, self._passed + self._at, 0
        return True


def _object(reader: _Reader) -> Iterator[Any]:
    """The rows in an object: those of the first list in it that is called as such lists are, else the object."""
    whole: dict[str, Any] = {}
    found = False
    reader.take("{")
    while reader.peek() != "}":
        name = reader.value()
        if not isinstance(name, str):
            reader.fail("a name is expected")
        reader.take(":")
        if not found and name in WRAPPERS and reader.peek() == "[":
            rows = reader.items()
            first = list(islice(rows, 1))
            found = any(isinstance(value, dict) and not _is_turn(value) for value in first)
            if found:
                yield from chain(first, rows)
            else:
                whole[name] = [*first, *islice(rows, _MOST_NAMES)]
        else:
            whole[name] = reader.value()
        if len(whole) > _MOST_NAMES:
            reader.fail("an object with so many names is no row; make it a list of rows")
        if reader.peek() != ",":
            break
        reader.take(",")
    reader.take("}")
    if not found:
        yield whole


def _is_turn(value: dict[str, Any]) -> bool:
    """Whether this is one message of a conversation rather than a row."""
    return {"from", "value"} <= value.keys() or {"role", "content"} <= value.keys()


def _is_wrapper(line: str) -> bool:
    """Whether a lone line is an object with a list of rows in it, or too long to be told from its beginning."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return True
    lists = [v for k, v in value.items() if k in WRAPPERS and isinstance(v, list)] if isinstance(value, dict) else []
    return any(v and isinstance(v[0], dict) and not _is_turn(v[0]) for v in lists)


def _begins_with_object(line: str) -> bool:
    start = line.lstrip(_SPACE + "\ufeff")
    if not start.startswith("{"):
        return False
    try:
        return isinstance(json.JSONDecoder().raw_decode(start)[0], dict)
    except (ValueError, RecursionError):
        return False


def _mended(value: Any, mend: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return mend(value)
    if isinstance(value, dict):
        return {mend(key): _mended(item, mend) for key, item in value.items()}
    return [_mended(item, mend) for item in value] if isinstance(value, list) else value


def _skip_line(text: TextIO) -> None:
    while (piece := text.readline(BLOCK)) and not piece.endswith("\n"):
        pass


def _why(error: ValueError) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else "a number is too long"
