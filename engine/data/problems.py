"""What can be wrong with data, in words: a whole file that cannot be learned from, and one row of it.

Knows nothing about files or formats.
"""

MOST_NAMED = 100  # problems told one by one; beyond that only their number
_SAID = 3  # of them in the error's own text


class DataError(ValueError):
    """A file that cannot be learned from.

    Attributes:
        problems: the first 100 sentences; `total` counts them all.
        column_names: those of the file, where it is the meaning of its columns that is not understood.
        refused: the numbers of rows, from 0, and the reason for each, where single rows are what is wrong.
    """

    def __init__(self, problems: list[str], total: int | None = None) -> None:
        self.column_names: list[str] = []
        self.refused: list[tuple[int, str]] = []
        self.problems = problems[:MOST_NAMED]
        self.total = len(problems) if total is None else total
        more = [f"And {self.total - _SAID:,} more."] if self.total > _SAID else []
        super().__init__(" ".join([*problems[:_SAID], *more]))


class RowError(ValueError):
    """One row that cannot be used, with the reason. Where it stands is for the reader to say."""
