"""Regular expressions from outside, matched in time that cannot run away.

Python's own matcher tries alternatives one after the other, and a pattern can make it try for ever or fill the memory.
Here a pattern becomes a small graph, and each (node, place in the text) is visited once at most, so that the work is
bounded by pattern times text. Understood is what people select modules with: letters, `.`, classes, groups, `|`,
repeats, `^ $ \\b` and looks ahead. Anything else (backreferences, flags, looks behind) is refused by name.

Knows nothing about adapters or what the patterns are for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

LONGEST = 2000  # characters of a pattern
DEEPEST = 40  # groups in groups
MOST_NODES = 3000
MOST_STEPS = 500_000  # for all questions to all patterns of one config: about a second

Test = Callable[[str], bool]


class PatternError(ValueError):
    """A pattern that cannot be used, with the reason in a few words."""


@dataclass
class Patience:
    """How many steps may still be spent; shared by all patterns of one config."""

    left: int = MOST_STEPS

    def refill(self) -> None:
        """All steps again, for a new set of questions."""
        self.left = MOST_STEPS

    def spend(self, steps: int) -> None:
        """Take `steps` away. PatternError when there are none left."""
        self.left -= steps
        if self.left < 0:
            raise PatternError("takes too long")


class _Node(NamedTuple):
    """A step of the graph: what has to hold here, and where it goes on. Of the four, one or none is set."""

    to: tuple[int, ...] = ()
    char: Test | None = None  # eats one character
    place: str = ""  # "^", "$" or "b"
    ahead: int | None = None  # what follows has to match from this node, or must not
    negative: bool = False


@dataclass
class _Graph:
    nodes: list[_Node] = field(default_factory=lambda: [_Node()])  # the first one is the end

    def add(self, node: _Node) -> int:
        if len(self.nodes) >= MOST_NODES:
            raise PatternError("is too large")
        self.nodes.append(node)
        return len(self.nodes) - 1


# A piece of a pattern: puts itself before the node it is given, and says where it begins.
_Piece = Callable[[_Graph, int], int]


class Pattern:
    """A parsed pattern."""

    def __init__(self, text: str) -> None:
        """PatternError, with the reason, for what is no pattern or is not understood."""
        if len(text) > LONGEST:
            raise PatternError(f"has {len(text)} characters, more than {LONGEST}")
        self._graph = _Graph()
        self._start = _Parser(text).whole()(self._graph, 0)

    def fits(self, text: str, patience: Patience) -> bool:
        """Whether the whole of `text` matches. PatternError when the patience is used up."""
        return self._reaches(self._start, text, 0, True, patience)

    def _reaches(self, start: int, text: str, at: int, whole: bool, patience: Patience) -> bool:
        waiting, seen = [(start, at)], {(start, at)}
        while waiting:
            patience.spend(1)
            here, at = waiting.pop()
            if here == 0 and (at == len(text) or not whole):
                return True
            node = self._graph.nodes[here]
            if node.char is not None:
                if at == len(text) or not node.char(text[at]):
                    continue
                at += 1
            elif node.ahead is not None:
                if self._reaches(node.ahead, text, at, False, patience) == node.negative:
                    continue
            elif node.place and not _holds(node.place, text, at):
                continue
            for step in ((one, at) for one in node.to):
                if step not in seen:
                    seen.add(step)
                    waiting.append(step)
        return False


def _holds(place: str, text: str, at: int) -> bool:
    if place == "^":
        return at == 0
    if place == "$":
        return at == len(text)
    before, after = at > 0 and _word(text[at - 1]), at < len(text) and _word(text[at])
    return before != after


def _word(char: str) -> bool:
    return char.isalnum() or char == "_"


_CLASSES: dict[str, Test] = {
    "d": str.isdecimal,
    "w": _word,
    "s": str.isspace,
    "D": lambda char: not char.isdecimal(),
    "W": lambda char: not _word(char),
    "S": lambda char: not char.isspace(),
}


class _Parser:
    """Reads a pattern from left to right into pieces."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth = text, 0, 0

    def whole(self) -> _Piece:
        piece = self.alternatives()
        if self.at < len(self.text):
            raise PatternError("closes a group that is not open")
        return piece

    def alternatives(self) -> _Piece:
        branches = [self.sequence()]
        while self.took("|"):
            branches.append(self.sequence())
        return _either(branches)

    def sequence(self) -> _Piece:
        pieces = []
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            pieces.append(self.repeated(self.atom()))
        return _one_after_another(pieces)

    def took(self, expected: str) -> bool:
        if self.text.startswith(expected, self.at):
            self.at += len(expected)
            return True
        return False

    def next(self) -> str:
        if self.at >= len(self.text):
            raise PatternError("ends too early")
        self.at += 1
        return self.text[self.at - 1]

    def atom(self) -> _Piece:
        char = self.next()
        if char == "(":
            return self.group()
        if char == "[":
            return _eats(self.members())
        if char == ".":
            return _eats(lambda given: given != "\n")
        if char in "^$":
            return _at(char)
        if char == "\\":
            return _at("b") if self.took("b") else _eats(self.escaped())
        if char in "*+?{":
            raise PatternError("repeats nothing")
        return _eats(char.__eq__)

    def group(self) -> _Piece:
        self.depth += 1
        if self.depth > DEEPEST:
            raise PatternError("has too many groups in groups")
        positive, negative = self.took("?="), self.took("?!")
        if not (positive or negative or self.took("?:")) and self.took("?"):
            raise PatternError(f"has a group of the kind (?{self.text[self.at : self.at + 2]}, which is not supported")
        inside = self.alternatives()
        if not self.took(")"):
            raise PatternError("leaves a group open")
        self.depth -= 1
        return _looks_ahead(inside, negative) if positive or negative else inside

    def escaped(self) -> Test:
        char = self.next()
        if char in _CLASSES:
            return _CLASSES[char]
        if char.isalnum():
            raise PatternError(f"uses \\{char}, which is not supported")
        return char.__eq__

    def members(self) -> Test:
        """A class in brackets; the opening one is read."""
        negated, tests = self.took("^"), [self.member()]
        while not self.took("]"):
            tests.append(self.member())
        return lambda given: any(test(given) for test in tests) != negated

    def member(self) -> Test:
        char = self.next()
        if char == "\\":
            return self.escaped()
        if self.text[self.at : self.at + 1] == "-" and self.text[self.at + 1 : self.at + 2] not in ("]", ""):
            self.at += 1
            last = self.next()
            if last == "\\" or last < char:
                raise PatternError(f"has a range {char}-{last} that makes no sense")
            return lambda given: char <= given <= last
        return char.__eq__

    def repeated(self, piece: _Piece) -> _Piece:
        least, most = self.times()
        if (least, most) == (1, 1):
            return piece
        if not self.took("?") and self.took("+"):  # lazy or not, the same texts match; possessive ones do not
            raise PatternError("has a possessive repeat, which is not supported")
        if self.at < len(self.text) and self.text[self.at] in "*+{":
            raise PatternError("repeats a repeat")
        return _again(piece, least, most)

    def times(self) -> tuple[int, int | None]:
        for sign, bounds in {"*": (0, None), "+": (1, None), "?": (0, 1)}.items():
            if self.took(sign):
                return bounds
        if not self.took("{"):
            return 1, 1
        end = self.text.find("}", self.at)
        low, comma, high = self.text[self.at : max(end, self.at)].partition(",")
        if not _is_count(low) or not (_is_count(high) or (comma and not high) or not comma):
            raise PatternError("has braces that are no count")
        self.at = end + 1
        least = int(low)
        most = (int(high) if high else None) if comma else least
        if most is not None and most < least:
            raise PatternError("has braces that are no count")
        return least, most


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 5


def _eats(test: Test) -> _Piece:
    return lambda graph, to: graph.add(_Node((to,), char=test))


def _at(place: str) -> _Piece:
    return lambda graph, to: graph.add(_Node((to,), place=place))


def _looks_ahead(inside: _Piece, negative: bool) -> _Piece:
    return lambda graph, to: graph.add(_Node((to,), ahead=inside(graph, 0), negative=negative))


def _either(branches: list[_Piece]) -> _Piece:
    if len(branches) == 1:
        return branches[0]
    return lambda graph, to: graph.add(_Node(tuple(branch(graph, to) for branch in branches)))


def _one_after_another(pieces: list[_Piece]) -> _Piece:
    def put(graph: _Graph, to: int) -> int:
        for piece in reversed(pieces):
            to = piece(graph, to)
        return to

    return put


def _again(piece: _Piece, least: int, most: int | None) -> _Piece:
    def put(graph: _Graph, to: int) -> int:
        end = to
        if most is None:
            to = graph.add(_Node())
            graph.nodes[to] = _Node((piece(graph, to), end))
        for _ in range(0 if most is None else most - least):
            to = graph.add(_Node((piece(graph, to), end)))
        for _ in range(least):  # a node for each, so that repeats of nothing are counted, too
            to = graph.add(_Node((piece(graph, to),)))
        return to

    return put
