"""What a judge is asked about two answers to one prompt, and what two readings of them come to.

Two readings of each pair, with the answers in swapped places; only a verdict that is the same both times counts (Zheng
et al. 2023, arXiv 2306.05685, section 3.4). A reading is the odds of the next token being "A" or "B", as
`engine/choice.py` has it. Knows nothing about models or where answers come from.
"""

from __future__ import annotations

from collections.abc import Sequence

# The prompt of Zheng et al. 2023, figure 5, in a few words: small models lose the thread of the long one.
QUESTION = """Which answer to the request is better? Order and length do not matter.

[Request]
{prompt}

[Answer A]
{a}

[Answer B]
{b}

Reply with one letter, A or B."""


def question(asked: Sequence[str], a: str, b: str) -> list[dict[str, str]]:
    """The messages a judge reads. `asked` is all that was asked, in order; what is empty is left out."""
    return [{"role": "user", "content": QUESTION.format(prompt="\n\n".join(filter(None, asked)), a=a, b=b)}]


def preferred(forward: float, backward: float) -> int:
    """Which of two answers is better: 1 the one, -1 the other, 0 where the readings contradict each other.

    Args:
        forward: log P("A") - log P("B") with the one standing as A.
        backward: the same with the other as A.
    """
    if forward > 0 > backward:
        return 1
    return -1 if backward > 0 > forward else 0
