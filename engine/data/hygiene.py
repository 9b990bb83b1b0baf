"""What is doubtful about clean rows: copies, near copies, contradictions, empty or echoed answers, secrets.

Near copies are found by MinHash and locality-sensitive hashing (Broder 1997; Leskovec et al., Mining of Massive
Datasets, chapter 3), and each pair is then compared in full: the share of runs of SHINGLE characters that two rows have
in common, of all that either has (Jaccard), is NEAR or more. What a system message says does not count, since all rows
may share it. A search by hashes can miss a pair.

Knows nothing about files, tokens or the library. A row that is doubtful may be right; a person decides.
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from typing import Any

from engine.data.secrets import has_email, has_secret
from engine.data.sources import Sources
from engine.data.split import split

Row = dict[str, Any]
Groups = list[list[int]]

# What is looked for; of the first three rows form groups, whose first row a cleaned copy keeps.
GROUPED = ("exact", "near", "conflicts")
KINDS = (*GROUPED, "empty_answers", "echoes", "secrets", "emails")
ADVISED = ("exact", "near", "empty_answers", "echoes")  # nothing is lost without them; of the others a person decides
MOST_LISTED = 100
SHINGLE = 5  # characters
NEAR = 0.8
HASHES = 120
BANDS = 24  # of 5 hashes each: rows that share 0.8 are compared with a probability of 1 - (1 - 0.8^5)^24 = 0.9999
MOST_COMPARED = 20  # rows a row is compared with; rows of one pattern would be compared with all before
AT_ONCE = 500  # rows between two looks at whether to go on
_SPACES = re.compile(r"\s+")


@dataclass
class Findings:
    """Rows by number, from 0: groups of those that belong together, or single rows, each as a list.

    Attributes:
        rows: how many rows were looked at.
        groups: by kind, a name of KINDS. In a group the first row is the one to keep.
        sources: the number of the source of each row, as its column tells it.
    """

    rows: int
    groups: dict[str, Groups] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    sources: list[int] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """For each kind the number of rows that a cleaned copy would leave out, and the first 100 groups."""
        return {kind: _told(groups, len(self.out([kind]))) for kind, groups in self.groups.items()}

    def out(self, fixes: Collection[str]) -> set[int]:
        """Rows that are left out by a cleaned copy which mends these kinds."""
        return {row for kind in fixes for group in self.groups[kind] for row in group[kind in GROUPED :]}

    def overlap(self, share: float, seed: int) -> dict[str, Any]:
        """Rows kept aside by a run's split that a row to be learned is like, each with one such row.

        Copies are always on one side (see `split`), and near copies while there are other rows to measure on. A run
        tells near copies by their tokens, which comes close to telling them by their text, as here.
        """
        marks, near = list(range(self.rows)), {row: group for group in self.groups["near"] for row in group}
        for group in self.groups["exact"]:
            for row in group:
                marks[row] = group[0]
        line = split(marks, share, seed, self.sources, lambda rows: [near.get(row, []) for row in rows])
        aside = set(line.validation)
        pairs = []
        for group in self.groups["near"]:
            learned = next((row for row in group if row not in aside), None)
            pairs += [[row, learned] for row in group if row in aside] if learned is not None else []
        return {**_told(pairs, len(pairs)), "share": share, "seed": seed}


def _told(groups: Groups, total: int) -> dict[str, Any]:
    return {"total": total, "rows": [group[:MOST_LISTED] for group in groups[:MOST_LISTED]]}


def examine(
    rows: Sequence[Row], kinds: Collection[str] = KINDS, tell: Callable[[int], None] = lambda done: None
) -> Findings:
    """Look at all rows.

    Args:
        kinds: what to look for; near copies take most of the time.
        tell: told how many rows are done, after every few hundred; what it raises ends the search.
    """
    found, joined = Findings(len(rows)), {kind: dict[int, list[int]]() for kind in GROUPED}
    copies, prompts, near = _Copies(), _Prompts(), _Near(rows) if "near" in kinds else None
    sources = Sources()
    for number, row in enumerate(rows):
        if number % AT_ONCE == 0:
            tell(number)
        found.sources.append(sources.number(row.get("source", "")))
        first, like = copies.first(number, row), None
        if near is not None and first == number:
            like = near.like(number, row)
        others = {"exact": None if first == number else first, "near": like}
        others["conflicts"] = prompts.contradicted(number, row)
        for kind, other in others.items():
            if other is not None and kind in kinds:
                joined[kind].setdefault(other, [other]).append(number)
        for kind, doubtful in _ALONE.items():
            if kind in kinds and doubtful(row):
                found.groups[kind].append([number])
    found.groups.update({kind: sorted(groups.values()) for kind, groups in joined.items()})
    if not sources.are_few:
        found.sources.clear()
    tell(len(rows))
    return found


def clean(rows: Sequence[Row], left_out: Collection[int]) -> Iterator[Row]:
    """The rows but those with these numbers, in their order."""
    return (row for number, row in enumerate(rows) if number not in left_out)


# --- one row by itself --------------------------------------------------------------------------------------------


def _empty(row: Row) -> bool:
    return not all(text.strip() for text in _answers(row))


def _echoes(row: Row) -> bool:
    """Whether an answer says what was just asked, but for case and white space."""
    messages = row.get("messages", [])
    asked = pairwise(messages)
    return any(two["role"] == "assistant" and _same(one["content"], two["content"]) for one, two in asked)


def _same(one: str, two: str) -> bool:
    return _flat(one) == _flat(two) != ""


def _flat(text: str) -> str:
    return _SPACES.sub(" ", text).strip().casefold()


def _answers(row: Row) -> list[str]:
    if "text" in row:
        return [row["text"]]
    return [message["content"] for message in row["messages"] if message["role"] == "assistant"]


def _texts(row: Row) -> list[str]:
    return [row["text"]] if "text" in row else [message["content"] for message in row["messages"]]


_ALONE: dict[str, Callable[[Row], bool]] = {
    "empty_answers": _empty,
    "echoes": _echoes,
    "secrets": lambda row: any(map(has_secret, _texts(row))),
    "emails": lambda row: any(map(has_email, _texts(row))),
}


# --- rows beside each other ---------------------------------------------------------------------------------------


class _Copies:
    """Rows that are the same but for white space at the ends of their messages."""

    def __init__(self) -> None:
        self._first: dict[int, int] = {}

    def first(self, number: int, row: Row) -> int:
        """The first row that is the same as this one; its own number if it is the first."""
        return self._first.setdefault(_digest(_said(row)), number)


class _Prompts:
    """The first answer to each prompt: all that stands before the last answer of a row."""

    def __init__(self) -> None:
        self._first: dict[int, tuple[int, int]] = {}

    def contradicted(self, number: int, row: Row) -> int | None:
        """The first row with the same prompt, if its answer is another one."""
        said = _said(row)
        if len(said) < 2:
            return None
        answer = _digest(said[-1:])
        first, its_answer = self._first.setdefault(_digest(said[:-1]), (number, answer))
        return None if answer == its_answer else first


class _Near:
    """Rows that are like a row before them. Rows that are like none are kept to compare others with."""

    def __init__(self, rows: Sequence[Row]) -> None:
        from rensa import RMinHash, RMinHashLSH

        self._rows, self._hash = rows, RMinHash
        self._kept = RMinHashLSH(threshold=NEAR, num_perm=HASHES, num_bands=BANDS)

    def like(self, number: int, row: Row) -> int | None:
        """A row before this one that is like it."""
        mine = _shingles(row)
        if not mine:
            return None
        (hashed,) = self._hash.from_token_sets([list(mine)], num_perm=HASHES, seed=1)
        candidates = sorted(self._kept.query(hashed))[:MOST_COMPARED]
        for candidate in candidates:
            theirs = _shingles(self._rows[candidate])
            if len(mine & theirs) >= NEAR * len(mine | theirs):
                return int(candidate)
        self._kept.insert(number, hashed)
        return None


def _said(row: Row) -> list[str]:
    if "text" in row:
        return [row["text"].strip()]
    return [f"{message['role']}\0{message['content'].strip()}" for message in row["messages"]]


def _digest(parts: Sequence[str]) -> int:
    joined = "\0\0".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(joined, digest_size=8).digest(), "little")


def _shingles(row: Row) -> set[str]:
    if "text" in row:
        flat = _flat(row["text"])
    else:
        flat = "\n".join(_flat(m["content"]) for m in row["messages"] if m["role"] != "system")
    return {flat[at : at + SHINGLE] for at in range(max(1, len(flat) - SHINGLE + 1))} if flat else set()
