"""What a chat template writes around the messages of a conversation, the same for all with these roles.

Knows nothing about how that was found out: see `template.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

Span = tuple[int, int]  # characters: first, last + 1


@dataclass(frozen=True)
class Outline:
    """What a template writes around the messages of one sequence of roles, and where each message's turn lies.

    Attributes:
        around: one text more than there are messages; `around[i]` stands before message i, the last one at the end.
        turns: for each answer by its place, characters from the beginning of its turn to its content, and from the end
            of its content to the end of its turn.
    """

    around: tuple[str, ...]
    turns: dict[int, tuple[int, int]]

    def fits(self, contents: Sequence[str], text: str) -> bool:
        """Whether `text` is nothing but this outline with `contents` filled in."""
        filled = chain.from_iterable(zip(self.around, contents, strict=False))
        return "".join(filled) + self.around[-1] == text

    def span(self, contents: Sequence[str], number: int) -> Span:
        """Where the turn of the answer at this place lies in a text that fits."""
        start = sum(map(len, self.around[: number + 1])) + sum(map(len, contents[:number]))
        before, behind = self.turns[number]
        return start - before, start + len(contents[number]) + behind
