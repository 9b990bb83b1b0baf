"""The library as markup: the quiet table of adapters and the card of the one that is open.

Pure: rows of the store in, HTML out. Every text of a person is escaped here, once, on its way into the markup. Knows
nothing about widgets or events; static/library.js turns clicks and keys into events.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from datetime import datetime
from html import escape
from typing import Literal, NamedTuple, get_args

from adapters_store.tables import Adapter
from jobs.progress import duration
from studio import method_words, mixtures
from studio.adapter_actions import cannot_merge
from studio.words import size

Sort = Literal["name", "base", "data", "method", "rank", "alpha", "validation", "size", "made"]
SORTS: tuple[Sort, ...] = get_args(Sort)
SHOWN = 200  # rows; more than that is searched, not scrolled
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Column(NamedTuple):
    """A column: how it sorts, its word, and whether it holds numbers or can be spared on a phone."""

    sort: Sort
    word: str
    number: bool = False
    spare: bool = True


COLUMNS = (
    Column("name", "Name", spare=False),
    Column("base", "Base"),
    Column("data", "Data"),
    Column("method", "Method", spare=False),
    Column("rank", "r", number=True),
    Column("alpha", "alpha", number=True),
    Column("validation", "Validation", number=True, spare=False),
    Column("size", "Size", number=True),
    Column("made", "Made"),
)

EMPTY = """<div class="empty-place"><h2>Nothing saved yet</h2><p>Every finished run puts its adapter here.
A run stopped early keeps what it has learned.</p>
<button type="button" class="small main" data-act="go_train">Go to Train</button></div>"""


class Order(NamedTuple):
    """What the table is sorted by."""

    sort: Sort = "made"
    descending: bool = True

    @classmethod
    def read(cls, text: str | None) -> Order:
        """From the page's hidden field, as `made desc`; anything else is the newest first."""
        sort, _, way = (text or "").partition(" ")
        return cls(sort, way == "desc") if sort in SORTS else cls()

    def after(self, sort: str) -> Order:
        """The order after a press on a column's head: turned round, or the new column from its useful end."""
        if sort not in SORTS:
            return self
        if sort == self.sort:
            return Order(self.sort, not self.descending)
        return Order(sort, sort == "made")

    def __str__(self) -> str:
        return f"{self.sort} {'desc' if self.descending else 'asc'}"


def table(rows: Sequence[Adapter], order: Order, opened: int | None, marked: Collection[int]) -> str:
    """The table of adapters; `opened` is the row whose card is shown, `marked` those chosen for a comparison."""
    heads = "".join(_head(column, order) for column in COLUMNS)
    body = "".join(_row(adapter, adapter.id == opened, adapter.id in marked) for adapter in rows)
    return (
        '<div class="card table-card"><table class="quiet library" aria-label="Adapters"><thead><tr>'
        f'<th class="mark"><span class="for-readers">Compare</span></th>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def no_hit(search: str) -> str:
    """What stands in the table's place when nothing matches."""
    return (
        f'<div class="empty-place"><h2>No adapter matches “{escape(search)}”</h2>'
        '<button type="button" class="small" data-act="clear_search">Clear search</button></div>'
    )


def count(shown: int, matching: int, every: int) -> str:
    """How many adapters there are, match, and are shown."""
    if matching > shown:
        return f"The first {shown:,} of {matching:,}. Search to narrow it down."
    return f"{matching:,} of {every:,}" if matching < every else f"{every:,} adapter{'s' if every != 1 else ''}"


def card(adapter: Adapter, marked: Sequence[Adapter]) -> str:
    """The card of one adapter: its facts and what can be done with it."""
    facts = "".join(f"<dt>{what}</dt><dd{more}>{escape(fact)}</dd>" for what, fact, more in _facts(adapter))
    return (
        f'<div class="card detail" data-id="{adapter.id}" data-name="{escape(adapter.name)}">'
        f'<div class="card-head"><h2>{escape(adapter.name)}</h2>'
        '<input class="rename" type="text" maxlength="80" aria-label="New name" hidden>'
        f'<span class="fact">#{adapter.id}</span></div>'
        f'<dl class="facts">{facts}</dl>{_buttons(adapter, marked)}</div>'
    )


def deleted(adapter: Adapter) -> str:
    """The line that takes a deletion back; library.js takes it away after ten seconds."""
    return (
        f'<p role="status" class="undo">Deleted {escape(adapter.name)}. '
        f'<button type="button" class="link" data-act="undo" data-id="{adapter.id}">Undo</button></p>'
    )


def _head(column: Column, order: Order) -> str:
    chosen = column.sort == order.sort
    way = ("descending" if order.descending else "ascending") if chosen else "none"
    arrow = (" ↓" if order.descending else " ↑") if chosen else ""
    return (
        f'<th scope="col" class="{_classes(column)}" aria-sort="{way}">'
        f'<button type="button" data-sort="{column.sort}">{column.word}'
        f'<span aria-hidden="true">{arrow}</span></button></th>'
    )


def _row(adapter: Adapter, opened: bool, marked: bool) -> str:
    cells = "".join(map(_cell, COLUMNS, _texts(adapter)))
    box = f'<input type="checkbox" aria-label="Compare {escape(adapter.name)}"{" checked" if marked else ""}>'
    return (
        f'<tr data-id="{adapter.id}" aria-selected="{"true" if opened else "false"}" tabindex="{0 if opened else -1}">'
        f'<td class="mark">{box}</td>{cells}</tr>'
    )


def _cell(column: Column, text: str) -> str:
    classes = f"{_classes(column)}{' name' if column.sort == 'name' else ''}"
    return f'<td class="{classes}" title="{escape(text)}">{escape(text)}</td>'


def _classes(column: Column) -> str:
    return f"{'number' if column.number else ''}{' spare' if column.spare else ''}".strip()


def _texts(adapter: Adapter) -> tuple[str, ...]:
    """The cells of a row, in the order of COLUMNS."""
    return (
        adapter.name,
        adapter.base_model.name,
        mixtures.named(adapter.mixture),
        method_words.name(adapter),
        method_words.rank(adapter),
        method_words.alpha(adapter),
        _loss(adapter.validation_loss),
        size(adapter.size_bytes),
        time.strftime("%Y-%m-%d", time.localtime(adapter.created_at)),
    )


def _facts(adapter: Adapter) -> list[tuple[str, str, str]]:
    made = datetime.fromtimestamp(adapter.created_at).astimezone()
    validation = _loss(adapter.validation_loss)
    at_step = f" at step {adapter.best_step:,}" if adapter.best_step is not None and validation else ""
    took = f", {duration(adapter.seconds)}" if adapter.steps else ""
    facts = [
        ("Base", adapter.base_model.name, ""),
        ("Data", mixtures.counted(adapter.mixture), ""),
        ("Started from", adapter.parent_name or "", ""),
        ("Method", method_words.of_adapter(adapter), ""),
        ("Target modules", ", ".join(adapter.target_modules) if method_words.has_rank(adapter) else "", ""),
        ("Steps", f"{adapter.steps:,}" if adapter.steps else "", ""),
        ("Training loss", _loss(adapter.training_loss), ""),
        ("Validation loss", f"{validation}{at_step}", ""),
        ("Base's validation loss", _loss(adapter.base_validation_loss), ""),
        ("Size", size(adapter.size_bytes), ""),
        ("SHA-256", short_hash(adapter.sha256), f' class="hash" title="{escape(bare_hash(adapter.sha256))}"'),
        ("Made" if adapter.steps else "Imported", f"{made.day} {MONTHS[made.month - 1]} {made.year}{took}", ""),
    ]
    return [fact for fact in facts if fact[1]]


def _buttons(adapter: Adapter, marked: Sequence[Adapter]) -> str:
    label = "Compare with the base" if not marked else f"Compare {len(marked)} with the base"
    names = f'<p class="help">{escape(", ".join(one.name for one in marked))}</p>' if marked else ""
    return (
        '<div class="detail-buttons">'
        f'<button type="button" class="small main" data-act="compare">{label}</button>{names}'
        '<button type="button" class="small" data-act="train_on">Train on from here</button>'
        f'<div class="thirds"><a class="small" href="/download/adapter/{adapter.id}" download>Download</a>'
        '<button type="button" class="small" data-act="rename">Rename</button>'
        f'<button type="button" class="small danger" data-act="delete">Delete</button></div>{_merge(adapter)}</div>'
    )


def _merge(adapter: Adapter) -> str:
    """The way to a merged model, folded; or why there is none."""
    if why := cannot_merge(adapter):
        return f'<p class="help">{escape(why)}</p>'
    return (
        '<button type="button" class="link" data-act="merge_open" aria-expanded="false">Export merged model</button>'
        '<div class="merge" hidden><label>Folder for the base model with this adapter merged into it'
        '<input class="folder" type="text" maxlength="4000" placeholder="Empty: a new one among the studio\'s exports">'
        '</label><button type="button" class="small" data-act="merge">Write the model</button></div>'
    )


def bare_hash(sha256: str) -> str:
    """The hash without the name of its algorithm."""
    return sha256.rpartition(":")[2]


def short_hash(sha256: str) -> str:
    """The two ends of a hash, enough to recognise it: 9f3c1a…e07b."""
    bare = bare_hash(sha256)
    return f"{bare[:6]}…{bare[-4:]}"


def _loss(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
