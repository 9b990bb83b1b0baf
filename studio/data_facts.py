"""What the Data tab shows about data sets, as plain facts for the page: the list, the open set, and rows of it.

Rows of the store in, JSON out. The page writes every text as text, so names and rows are passed on as they are. Knows
nothing about widgets, and asks the store nothing: what it needs is handed to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from adapters_store.states import FINAL
from adapters_store.tables import Adapter, DataSet, Job
from engine.data.check import Row
from studio.library_view import bare_hash, short_hash
from studio.run_facts import share, word
from studio.train_facts import understood
from studio.words import size

SHOWN_CHARACTERS = 1500  # of one message; the rest is asked for
WHOLE_CHARACTERS = 1_000_000  # of one message when a single row is asked for whole
SOURCES = {"sample": "Sample that comes with the studio", "file": "File", "hub": "Hub", "cleaned": "Cleaned copy"}
SHOWN_SOURCES = 8
DETECTED = ("container", "packed", "encoding", "delimiter", "files")  # what is told of the file, in this order

Facts = dict[str, Any]


def listed(data: DataSet) -> Facts:
    """A row of the list."""
    rows = f"{data.rows:,} row{'' if data.rows == 1 else 's'}"
    return {
        "key": data.id,
        "name": data.name,
        "kind": "sample" if data.source == "sample" else "",
        "fact": f"{rows}, {skipped} skipped" if (skipped := _skipped(data)["total"]) else rows,
        "at": data.created_at,
    }


def opened(data: DataSet, size_bytes: int | None) -> Facts:
    """The data set that is open: how it was understood, where it comes from, and what was left out.

    Args:
        size_bytes: of its rows on disk; None where they are gone.
    """
    return {
        "id": data.id,
        "name": data.name,
        "sentence": understood(data),
        "rows": data.rows,
        "skipped": _skipped(data),
        "facts": [[title, said] for title, said in _facts(data, size_bytes) if said],
        "hash": bare_hash(data.content_hash),
        "at": data.created_at,
        "here": size_bytes is not None,
    }


def users(jobs: Sequence[Job], adapters: Sequence[Adapter], job_total: int, adapter_total: int) -> Facts:
    """Who used a data set: the newest runs and adapters, and how many there are in all."""
    return {
        "runs": [{"id": job.id, "name": job.name, "word": word(job)} for job in jobs],
        "adapters": [{"id": adapter.id, "name": adapter.name, "word": _loss(adapter)} for adapter in adapters],
        "run_total": job_total,
        "adapter_total": adapter_total,
    }


def coming(job: Job) -> Facts:
    """A data set that is still being read: how far it is, and in the end what it became or why it did not."""
    return {
        "key": job.id,
        "name": job.name,
        "words": word(job) if job.state == "queued" else str(job.progress.get("stage") or "starting"),
        "share": share(job) or 0,
        "why": job.why if job.state in FINAL else "",
        "ended": job.state in FINAL,
        "data": job.progress.get("data_set"),
    }


def shown_row(row: Row, characters: int = SHOWN_CHARACTERS) -> list[Facts]:
    """A clean row as pieces to show: who says what, whether the model learns it, and how much of it was left out."""
    if "text" in row:
        return [_piece("text", str(row["text"]), True, characters)]
    return [_message(message, characters) for message in row["messages"]]


def _message(message: Mapping[str, Any], characters: int) -> Facts:
    role, content = str(message.get("role")), message.get("content")
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    if message.get("tool_calls"):
        text = f"{text}\n{json.dumps(message['tool_calls'], ensure_ascii=False)}".strip()
    return _piece(role, text, role == "assistant" and message.get("weight") != 0, characters)


def _piece(role: str, text: str, learned: bool, characters: int) -> Facts:
    left = max(0, len(text) - characters)
    return {"role": role, "text": text[:characters], "learned": learned, "left": left}


def _facts(data: DataSet, size_bytes: int | None) -> list[tuple[str, str]]:
    file = str(data.facts.get("file") or "")
    source = SOURCES.get(data.source, data.source)
    made_from = data.facts.get("cleaned") or {}
    if made_from:
        source = f"Copy of {made_from.get('name')} without {int(made_from.get('left_out') or 0):,} of its rows"
    return [
        ("Source", f"{source}: {file}" if file and data.source in ("file", "hub") else source),
        ("Columns", _columns(data.facts.get("columns"))),
        ("Sources", _sources(data.facts)),
        ("Kind of file", _detected(data.facts.get("detected"))),
        ("Size", "its rows are gone from disk" if size_bytes is None else size(size_bytes)),
        ("SHA-256", short_hash(data.content_hash)),
    ]


def _columns(columns: object) -> str:
    """Which column serves as what: `prompt from question, answer from reply`."""
    if not isinstance(columns, dict):
        return ""
    pairs = [(str(role), str(column)) for role, column in columns.items()]
    return ", ".join(role if role == column else f"{role} from {column}" for role, column in pairs)


def _sources(facts: Mapping[str, Any]) -> str:
    """What validation rows are drawn from, each its share: values of a column, or files."""
    told, files = facts.get("by_source") or {}, facts.get("sources") or []
    parts = [f"{name} {count:,}" for name, count in (told.get("rows") or {}).items()]
    more = [f"and {len(parts) - SHOWN_SOURCES} more"] if len(parts) > SHOWN_SOURCES else []
    shown = [*parts[:SHOWN_SOURCES], *more]
    if told and not parts:
        return f"the column {told['column']} has too many values to split by"
    if parts:
        return f"by {told['column']}: {', '.join(shown)}; each gives its share of the validation rows"
    return f"{len(files)} files; each gives its share of the validation rows" if files else ""


def _detected(found: object) -> str:
    """What was found out about the file: `CSV, utf-8, comma`."""
    if not isinstance(found, dict):
        return ""
    said = {**found, "files": f"{found['files']} files" if found.get("files") else ""}
    return ", ".join(str(said[name]) for name in DETECTED if said.get(name))


def _skipped(data: DataSet) -> Facts:
    """What was left out: how many rows, the first of them with their reasons, and which files of a folder."""
    bad = data.facts.get("bad") or {}
    reasons, files = bad.get("first") or [], data.facts.get("left_out") or []
    return {"total": int(bad.get("total") or 0), "first": [str(one) for one in reasons], "files": [*map(str, files)]}


def _loss(adapter: Adapter) -> str:
    return "" if adapter.validation_loss is None else f"validation {adapter.validation_loss:.3f}"
