"""A run over a suite as a file: JSONL, CSV and Markdown, one answer a line or paragraph.

Knows nothing about routes or the command line.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

from adapters_store.store import Store
from adapters_store.suite_tables import SuiteRun
from studio import suite_results
from studio.comparison_files import defused, quoted

Facts = dict[str, Any]


def records(store: Store, run: SuiteRun) -> Iterator[Facts]:
    """Every answer with its prompt, prompt by prompt."""
    prompts = {one.id: one for one in store.suite_prompts(run.suite_id)}
    for one in store.suite_answers(run.id):
        prompt, person = prompts[one.prompt_id], run.people[one.place]
        yield {
            "prompt": prompt.place + 1,
            "messages": prompt.messages,
            "reference": prompt.reference,
            "contestant": person["name"],
            "identity": person["identity"],
            "answer": one.text,
            "tokens": one.tokens,
            "finished": one.finished,
            "scores": one.scores,
            "reference_logprob": one.logprob,
            "reference_tokens": one.reference_tokens,
            "problem": one.problem,
        }


def jsonl(store: Store, run: SuiteRun) -> str:
    """One answer a line."""
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records(store, run))


def table(store: Store, run: SuiteRun) -> str:
    """CSV, one answer a line. A cell that a spreadsheet would take for a formula gets an apostrophe in front."""
    scores = list(store.suite(run.suite_id).scores)
    heads = ["prompt", "question", "reference", "contestant", "answer", *scores, "problem"]
    out = io.StringIO()
    rows = csv.DictWriter(out, heads, lineterminator="\n", extrasaction="ignore")
    rows.writeheader()
    for one in records(store, run):
        row = {**one, **one["scores"], "question": one["messages"][-1]["content"], "perplexity": _perplexity(one)}
        rows.writerow({name: defused(value) for name, value in row.items()})
    return out.getvalue()


def markdown(store: Store, run: SuiteRun) -> str:
    """To read: the scores, then each prompt with the answers under it. Texts are quoted line by line."""
    told = suite_results.result(store, run)
    parts = [f"# {told['name']}, run {run.id}\n", told["says"], ""]
    parts += [f"- {one['title']}: {_means(told, one)}" for one in told["scores"]]
    parts += ["", *(sentence for one in told["scores"] for sentence in one["sentences"]), ""]
    number = 0
    for one in records(store, run):
        if one["prompt"] != number:
            number = one["prompt"]
            parts += [f"## Prompt {number}\n", quoted(one["messages"][-1]["content"]), ""]
        parts += [f"### {one['contestant']}\n", quoted(one["answer"] or one["problem"]), ""]
    return "\n".join(parts)


def _means(told: Facts, score: Facts) -> str:
    return ", ".join(f"{name} {mean['words']}" for name, mean in zip(told["names"], score["means"], strict=True))


def _perplexity(one: Facts) -> object:
    if one["reference_logprob"] is None:
        return ""
    import math

    return math.exp(-one["reference_logprob"] / one["reference_tokens"])


FORMS: dict[str, Callable[[Store, SuiteRun], str]] = {"jsonl": jsonl, "csv": table, "md": markdown}
