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
from engine.settings import RunSettings
from engine.sizing import chosen_layers, count
from studio.page import fetch_words

SHOWN_ROWS = 3
SHOWN_CHARACTERS = 400  # of one piece of a row; the line is cut by the layout long before


def base_help(base: BaseModel | None) -> str:
    """The line under the base model."""
    if base is None:
        return '<p class="help">No base model yet.</p>'
    numbers, experts = (int(base.facts.get(name) or 0) for name in ("parameters", "frozen_experts"))
    mixture = f" {_short(experts)} of them are in experts, which get no adapter." if experts else ""
    return f'<p class="help">{_short(numbers)} parameters, on this machine. It stays frozen.{mixture}</p>'


def data_label(data: DataSet) -> str:
    """How a data set is called in the list: `pirate-style (sample, 240 rows)`."""
    kind = "sample, " if data.source == "sample" else ""
    return f"{data.name} ({kind}{data.rows:,} row{'' if data.rows == 1 else 's'})"


def data_help(data: DataSet | None) -> str:
    """The line under the data set: how its columns were understood."""
    if data is None:
        return '<p class="help">Drop a file below to begin.</p>'
    columns: Mapping[str, str] = data.facts.get("columns") or {}
    try:
        understood = detect([dict.fromkeys(columns.values(), "")]).understood
    except DataError:
        understood = f"Read as {data.format}."
    return f'<p class="help">{html.escape(understood)}</p>'


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


def shape_of(base: BaseModel | None, settings: RunSettings) -> dict[str, Any]:
    """The numbers the browser needs to draw the adapter and count it without asking: all of them are linear in r."""
    if base is None or not (layers := chosen_layers(base.facts, settings)):
        return {}
    first = next((layer for layer in layers if _is_attention(layer)), layers[0])
    one, two = (count(base.facts, settings.model_copy(update={"rank": rank})) for rank in (1, 2))
    return {
        "layer": f"Layer {_layer_number(str(first['path']))}, {first['name']}",
        "O": first["out"],
        "I": first["in"],
        "perRank": two.trained - one.trained,
        "fixed": 2 * one.trained - two.trained,
        "bytesPerRank": two.tensor_bytes - one.tensor_bytes,
        "bytesFixed": 2 * one.tensor_bytes - two.tensor_bytes,
        "parameters": int(base.facts.get("parameters") or 0),
    }


def _is_attention(layer: Mapping[str, Any]) -> bool:
    return "attn" in str(layer["path"]) or "attention" in str(layer["path"])


def _layer_number(path: str) -> str:
    return next((part for part in path.split(".") if part.isdigit()), "0")


def figures(plan: Mapping[str, Any] | None) -> str:
    """What a run will do, counted by the model's own tokenizer. Without a plan the places are kept."""
    if plan is None:
        words = ["", "", "", ""]
    else:
        words = [
            f"{plan['steps']:,}, {plan['steps_per_epoch']:,} an epoch",
            f"{plan['tokens_per_epoch']:,}",
            f"{plan['rows_cut']:,} of {plan['rows']:,}",
            f"{plan['validation_rows']:,}" if plan["validation_rows"] else "none",
        ]
    titles = ["Steps", "Tokens per epoch", "Rows cut short", "Validation rows"]
    pairs = "".join(f"<dt>{title}</dt><dd>{word or '–'}</dd>" for title, word in zip(titles, words, strict=True))
    return f'<dl class="facts">{pairs}</dl>' + _cut_warning(plan)


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


def card_head(title: str, fact: str) -> str:
    """A card's title on the left and one fact on the right."""
    return f'<div class="card-head"><h2>{html.escape(title)}</h2><span class="fact">{html.escape(fact)}</span></div>'


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
    words, share = fetch_words(job.progress)
    return (
        f'<div id="fetch-line"><p class="sentence words">{html.escape(words)}</p>'
        f'<div class="progress" role="progressbar" aria-label="Starter model" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{share}"><span style="width:{share}%"></span></div></div>'
    )


def added_line(job: Job | None) -> str:
    """What became of a model folder that was added by its path."""
    if job is None:
        return ""
    if job.state in ENDED_WITHOUT:
        return f'<p class="problems" role="alert">{html.escape(job.why or job.name + " could not be added.")}</p>'
    words = f"{job.name} is here." if job.state == "completed" else f"Looking at {job.settings.get('path')}."
    return f'<p class="status" role="status">{html.escape(words)}</p>'


def _short(number: int) -> str:
    for size, word in ((10**9, "B"), (10**6, "M")):
        if number >= size:
            return f"{number / size:.1f} {word}"
    return f"{number:,}"
