"""How likely each contestant of a comparison is to give a reference answer: in all, per token, and as perplexity.

The sum of the log-probabilities of the reference's tokens after the same prompt (`engine/likelihood.py`); perplexity is
exp of minus the mean (Jelinek et al. 1977). Serves the page and the command line.
"""

from __future__ import annotations

import math
from typing import Any

from adapters_store.comparison_tables import Comparison
from adapters_store.errors import StoreError
from adapters_store.store import Store
from jobs.ask import Answerer
from studio import comparing, hearing, room_beside

DEADLINE = 900  # seconds for one model; a large one on a slow disk takes its time to load
LONGEST = 20_000  # characters

Facts = dict[str, Any]


def measure(store: Store, answerer: Answerer, kept: Comparison, text: str) -> Comparison:
    """Measure a reference under every contestant as it was asked then, and keep it with the comparison.

    Raises:
        StoreError: there is no text, it is too long, or somebody who answered is no longer here.
        AnswererError: no measurement.
    """
    text = text.strip()
    if not 0 < len(text) <= LONGEST:
        raise StoreError(f"A reference answer has 1 to {LONGEST:,} characters; this one has {len(text):,}.")
    question = room_beside.beside_runs(store, comparing.again(store, kept))
    logprobs, tokens = [0.0] * len(kept.answers), [0] * len(kept.answers)
    for sitting in hearing.sittings(store, question):
        told = answerer.request("reference", deadline=DEADLINE, reference=text, **sitting.payload)
        for place, logprob, count in zip(sitting.places, told["logprobs"], told["tokens"], strict=True):
            logprobs[place], tokens[place] = logprob, count
    return store.refer(kept.id, {"text": text, "logprobs": logprobs, "tokens": tokens})


def rows(kept: Comparison) -> list[Facts]:
    """What was measured, by place; empty where nothing was."""
    if kept.reference is None:
        return []
    measured = zip(kept.answers, kept.reference["logprobs"], kept.reference["tokens"], strict=True)
    return [_row(answer.name, logprob, tokens) for answer, logprob, tokens in measured]


def _row(name: str, logprob: float, tokens: int) -> Facts:
    each = logprob / tokens
    return {
        "name": name,
        "logprob": logprob,
        "tokens": tokens,
        "per_token": each,
        # Beyond what a float holds it says nothing more: the reference is out of the question.
        "perplexity": math.exp(-each) if each > -700 else None,
    }


def sentence(kept: Comparison) -> str:
    """Who is likeliest to give the reference, in words; only tokens of one tokenizer compare."""
    told = rows(kept)
    if len(told) < 2:
        return ""
    if len({row["tokens"] for row in told}) > 1:
        return "These models cut the reference into different tokens, so only the totals compare, and only roughly."
    best, next_best, *_ = sorted(told, key=lambda row: -row["logprob"])
    ahead = best["logprob"] - next_best["logprob"]
    if ahead < 0.05:
        return f"{best['name']} and {next_best['name']} are equally likely to give it."
    return f"{best['name']} is likeliest to give it, {times(ahead)} likelier than {next_best['name']}."


def times(nats: float) -> str:
    """A difference of log-probabilities as people say it: `2.5 times`, `340 times`, `10^12 times`."""
    if nats > math.log(1e6):
        return f"10^{nats / math.log(10):.0f} times"
    factor = math.exp(nats)
    return f"{factor:,.0f} times" if factor >= 10 else f"{factor:.1f} times"


def said(row: Facts) -> tuple[str, str, str]:
    """A row's figures in words: total, per token, perplexity."""
    perplexity = row["perplexity"]
    beyond = perplexity is None or perplexity >= 1e6
    return (
        f"{row['logprob']:.1f} nats",
        f"{row['per_token']:.2f} nats",
        "over a million" if beyond else f"{perplexity:.3g}" if perplexity < 1000 else f"{perplexity:,.0f}",
    )
