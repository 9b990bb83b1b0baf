"""What the Train tab says: pieces of HTML made from rows of the store, and nothing else.

Pure functions; they know no widgets and ask nobody. Every text that a person or a file could have brought is escaped.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from adapters_store.tables import BaseModel, DataSet, Job
from engine.data.check import DataError, Row, spans
from engine.data.detect import detect
from engine.data.lost import warnings
from engine.settings import IN_THE_BASE, LOW_RANK
from jobs.sources import Found
from studio.page import fetch_words
from studio.records import remarks
from studio.words import size

SHOWN_ROWS = 3
SHOWN_CHARACTERS = 400  # of one piece of a row; the line is cut by the layout long before


def base_help(base: BaseModel | None, method: str = "lora") -> str:
    """The line under the base model: how large it is, and what the method does to it."""
    if base is None:
        return '<p class="help">No base model yet.</p>'
    numbers, experts = (int(base.facts.get(name) or 0) for name in ("parameters", "frozen_experts"))
    kept = "Its own files stay as they are." if method in IN_THE_BASE else "It stays frozen."
    told = experts and method in LOW_RANK
    mixture = f" {_short(experts)} of them are in experts, which get no adapter." if told else ""
    remark = "".join(f" {html.escape(sentence)}" for sentence in remarks(base))
    return f'<p class="help">{_short(numbers)} parameters, on this machine. {kept}{mixture}{remark}</p>'


def data_label(data: DataSet) -> str:
    """How a data set is called in the list: `pirate-style (sample, 240 rows)`."""
    kind = "sample, " if data.source == "sample" else ""
    return f"{data.name} ({kind}{data.rows:,} row{'' if data.rows == 1 else 's'})"


def data_help(data: DataSet | None) -> str:
    """The line under the data set: how its columns were understood."""
    if data is None:
        return '<p class="help">Drop a file below to begin.</p>'
    look = '<button type="button" class="link">Look at it</button>'
    return f'<p class="help">{html.escape(understood(data))} {look}</p>'


def understood(data: DataSet) -> str:
    """How the rows of a data set were understood, in a sentence."""
    if said := data.facts.get("understood"):
        return str(said)
    columns: Mapping[str, str] = data.facts.get("columns") or {}
    try:
        return detect([dict.fromkeys(columns.values(), "")]).understood
    except DataError:
        return f"Read as {data.format}."


OTHERWISE = '<p class="help">The Data tab lets you say which column is what, and skip rows that cannot be used.</p>'


def rows_shown(rows: Sequence[Row], total: int) -> str:
    """The first rows as the model sees them: learned text marked, the rest grey."""
    if not rows:
        return ""
    items = "".join(
        f'<li><span class="n">{number}</span><span class="text">{_row(row)}</span></li>'
        for number, row in enumerate(rows, 1)
    )
    which = "Row 1" if len(rows) == 1 else f"Rows 1 to {len(rows)}"
    return (
        f'<ol class="rows" aria-label="First rows of the data set">{items}</ol><p class="proof">{which} of {total:,}. '
        'The model learns the <span class="learned">marked</span> text; the rest is context.</p>'
    )


def _row(row: Row) -> str:
    return " ".join(_piece(text, learned) for text, learned in spans(row))


def _piece(text: str, learned: bool) -> str:
    short = text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"
    safe = html.escape(" ".join(short.split()))
    return f'<span class="learned">{safe}</span>' if learned else f"<span>{safe}</span>"


def figures(plan: Mapping[str, Any] | None) -> str:
    """What a run will do, counted by the model's own tokenizer. Without a plan the places are kept."""
    if plan is None:
        words = ["", "", "", ""]
    else:
        words = [
            f"{plan['steps']:,}, {plan['steps_per_epoch']:,} an epoch",
            f"{plan['tokens_per_epoch']:,}, {plan['answer_tokens_per_epoch']:,} learned",
            f"{plan['rows_cut']:,} of {plan['rows']:,}",
            f"{plan['validation_rows']:,}" if plan["validation_rows"] else "none",
        ]
    titles = ["Steps", "Tokens per epoch", "Rows cut short", "Validation rows"]
    pairs = "".join(f"<dt>{title}</dt><dd>{word or '–'}</dd>" for title, word in zip(titles, words, strict=True))
    return f'<dl class="facts">{pairs}</dl>' + _mixture(plan) + _cut_warning(plan) + _much_lost(plan) + _alike(plan)


def _mixture(plan: Mapping[str, Any] | None) -> str:
    """Of several sets, what each gives to an epoch and to the validation rows."""
    if not plan or len(plan.get("portions", ())) < 2:
        return ""
    items = "".join(
        f"<li>{html.escape(name)}: {_counted(part['an_epoch'])} an epoch, {part['aside']:,} aside</li>"
        for name, part in zip(plan["named"], plan["portions"], strict=True)
    )
    return f'<ul class="help portions" aria-label="Rows of each data set">{items}</ul>'


def _counted(rows: int) -> str:
    return f"{rows:,} row{'' if rows == 1 else 's'}"


def _alike(plan: Mapping[str, Any] | None) -> str:
    if not plan or not plan.get("validation_is_like"):
        return ""
    return (
        '<p class="help"><span class="pill warn">alike</span> Nearly all rows have others that are like them, so the '
        "validation rows are like learned ones, and their loss flatters.</p>"
    )


def _cut_warning(plan: Mapping[str, Any] | None) -> str:
    if not plan or not plan["rows_cut"]:
        return ""
    longest = f" The longest has {plan['longest']:,}." if plan.get("longest") else ""
    lost = plan.get("rows_unusable")
    left_out = f" {lost:,} of them lose their whole answer and are left out." if lost else ""
    return (
        f'<p class="help"><span class="pill warn">cut</span> Rows longer than {plan["length"]:,} tokens lose their end.'
        f"{left_out}{longest} Raise Length to keep them whole.</p>"
    )


def _much_lost(plan: Mapping[str, Any] | None) -> str:
    if not plan:
        return ""
    told = warnings(plan["rows"], plan["rows_cut"], plan.get("rows_unusable") or 0, plan["length"])
    return "".join(
        f'<p class="help"><span class="pill warn">much is lost</span> {html.escape(sentence)}</p>' for sentence in told
    )


def card_head(title: str, fact: str) -> str:
    """A card's title on the left and one fact on the right."""
    return f'<div class="card-head"><h2>{html.escape(title)}</h2><span class="fact">{html.escape(fact)}</span></div>'


PAUSED = "Waits: the queue is paused on the Runs tab."


def wait_line(ahead: int) -> str:
    """Under Start, before the click: whether the run would begin at once."""
    if not ahead:
        return "Starts at once."
    return f"Waits for {ahead} run{'' if ahead == 1 else 's'}."


ENDED_WITHOUT = ("failed", "cancelled", "interrupted")  # states in which a fetch has ended and left nothing

_STATE_WORDS = {
    "queued": "Queued as {name}.",
    "starting": "{name} is starting.",
    "running": "{name} is running.",
    "finishing": "{name} is being saved.",
    "completed": "{name} is done.",
    "stopped": "{name} was stopped and kept.",
    "cancelled": "{name} was cancelled.",
    "failed": "{name} failed.",
    "paused": "{name} is paused.",
    "interrupted": "{name} was interrupted.",
}


def queued_line(job: Job) -> str:
    """Under Start, after the click: what became of the run, and the way to it."""
    words = _STATE_WORDS.get(job.state, "{name}.").format(name=job.name)
    button = f'<button type="button" class="link" data-job="{job.id:d}">Open the run</button>'
    return f"{html.escape(words)} {button}"


def arrival(job: Job | None) -> str:
    """The way of the starter model: how far it is, or why it did not come. The pulse moves words and bar."""
    if job is None:
        return '<p class="sentence">The starter model is not here yet.</p>'
    if job.state in ENDED_WITHOUT:
        why = job.why or "The starter model could not be fetched."
        return f'<p class="problems" role="alert">{html.escape(why)}</p>'
    return _on_its_way(job, "Starter model")


def _on_its_way(job: Job, called: str) -> str:
    words, share = fetch_words(job)
    return (
        f'<div class="fetch-line" data-job="{job.id:d}"><p class="sentence words">{html.escape(words)}</p>'
        f'<div class="progress" role="progressbar" aria-label="{html.escape(called)}" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{share}"><span style="width:{share}%"></span></div></div>'
    )


def added_line(job: Job | None) -> str:
    """What became of a model that was added: from a folder, a GGUF file or a hub."""
    if job is None:
        return ""
    if job.state in ENDED_WITHOUT:
        return f'<p class="problems" role="alert">{html.escape(job.why or job.name + " could not be added.")}</p>'
    if job.state == "completed":
        return f'<p class="status" role="status">{html.escape(job.name)} is here.</p>'
    if job.settings.get("source") == "folder":
        return f'<p class="status" role="status">Looking at {html.escape(str(job.settings.get("path")))}.</p>'
    return _on_its_way(job, job.name)


def found_label(found: Found) -> str:
    """A model that lies on this disk, as it is called in a list: name, kind, size, and why it cannot serve."""
    kind = "GGUF, " if found.kind == "gguf" else ""
    return f"{found.name} ({kind}{size(found.size_bytes)})" + (f". {found.why_not}" if found.why_not else "")


def _short(number: int) -> str:
    for one, word in ((10**9, "B"), (10**6, "M")):
        if number >= one:
            return f"{number / one:.1f} {word}"
    return f"{number:,}"
