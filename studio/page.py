"""What the page is made with: the store, the answerer, and the edge around every event.

The edge is one of the six places in the product where every exception is caught: the traceback goes to the log, and
the person reads a sentence at the place that was pressed. This module knows nothing about tabs or their widgets.
"""

from __future__ import annotations

import functools
import html
import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from adapters_store.states import LIVE
from adapters_store.store import Store, StoreError
from adapters_store.tables import Job
from engine.data.check import DataError
from engine.settings import SettingsError
from jobs.ask import Answerer, AnswererError
from jobs.examining import ExamineError
from jobs.queue import ON_DEVICE
from studio.actions import ActionError
from studio.latest import Latest
from studio.machine import machine_sentence

log = logging.getLogger(__name__)

_FOR_PEOPLE = (StoreError, SettingsError, DataError, ExamineError, ActionError, AnswererError)


class Studio:
    """One per page process: what every tab asks. It holds nothing about a visitor; that lives in the page itself."""

    def __init__(self, store: Store, answerer: Answerer, data_dir: Path):
        self.store = store
        self.answerer = answerer
        self.data_dir = data_dir
        self._facts = Latest(self._top_facts)

    def changes(self, after: int) -> dict[str, Any]:
        """What has changed since revision `after`, and the few facts the top bar shows. -1 asks for the facts alone."""
        changed = self.store.changed()
        revision = max(changed.values(), default=0)
        topics = [topic for topic, at in changed.items() if at > after] if after >= 0 else []
        facts = self._facts.at(revision)
        machine = machine_sentence(facts["device"])  # how much memory is free changes without anybody writing it down
        return {"revision": revision, "topics": topics, "machine": machine, **facts}

    def _top_facts(self) -> dict[str, Any]:
        kinds = sorted(ON_DEVICE)
        live = self.store.jobs(kinds=kinds, states=LIVE)
        if live:  # it may need the memory of a model that is kept warm for the next answer
            self.answerer.rest()
        return {
            "jobs": {
                "running": len(live),
                "queued": len(self.store.waiting(kinds=kinds)),
                "open": live[0].id if live else None,
                "name": live[0].name if live else "",
                "step": int(live[0].progress.get("step") or 0) if live else 0,
                "steps": int(live[0].progress.get("steps") or 0) if live else 0,
            },
            "device": next(filter(None, map(_device, live)), None) or self._measured_device(),
            "fetches": self._fetches(),
        }

    def _measured_device(self) -> str | None:
        """The device the newest run found for itself, which only a process with tensors can know."""
        newest = self.store.jobs(kinds=["train"], limit=5)
        return next(filter(None, map(_device, newest)), None)

    def _fetches(self) -> list[dict[str, Any]]:
        """How far the models are that are on their way."""
        live = self.store.jobs(kinds=["fetch"], states=["queued", *LIVE])
        said = [(job.id, *fetch_words(job)) for job in live]
        return [{"job": id, "words": words, "share": share} for id, words, share in said]


def _device(job: Job) -> str | None:
    found = job.progress.get("device")
    return str(found) if found else None


def fetch_words(job: Job) -> tuple[str, int]:
    """How far a model is that is on its way, as a sentence and in whole percent."""
    called = "The starter model" if job.settings.get("source") == "starter" else job.name
    done, total = (int(job.progress.get(key) or 0) for key in ("done_bytes", "total_bytes"))
    stage = str(job.progress.get("stage") or "").rstrip(".")
    if total and done < total:
        digits = 0 if total >= 10**7 else 1
        return f"{called} is on its way: {done / 1e6:.{digits}f} of {total / 1e6:.{digits}f} MB.", 100 * done // total
    if job.state == "queued":
        return f"{called} waits for its turn.", 0
    return " ".join([f"{called} is on its way.", *([f"{stage}."] if stage else [])]), 100 if total else 0


def problems_of(error: Exception) -> list[str]:
    """The sentences a person should read about an error, in plain text."""
    problems: Sequence[str] | None = getattr(error, "problems", None)
    if problems:
        rest = getattr(error, "total", len(problems)) - len(problems)
        return [*problems, *([f"And {rest:,} more."] if rest > 0 else [])]
    if isinstance(error, _FOR_PEOPLE) and str(error):
        return [str(error)]
    return [f"That did not work ({type(error).__name__}). The log of the page says more: logs/page.log."]


def problem_list(problems: Sequence[str]) -> str:
    """Problems as HTML that a screen reader announces: one as a line, several as a list. Escapes them."""
    if not problems:
        return ""
    if len(problems) == 1:
        return f'<p class="problems" role="alert">{html.escape(problems[0])}</p>'
    items = "".join(f"<li>{html.escape(problem)}</li>" for problem in problems)
    reach = ' tabindex="0"' if len(problems) > 8 else ""  # a list that scrolls can be reached by key
    return f'<div class="problems" role="alert"{reach}><ul>{items}</ul></div>'


def said(fn: Callable[..., Any], place: gr.HTML) -> Callable[..., Any]:
    """The edge around a page event: when `fn` raises, `place` (one of the event's outputs) says why and the rest stays.

    A generator stays a generator. Errors made for people are shown as they are; any other is logged with its traceback.
    """

    def spoken(error: Exception) -> dict[Any, str]:
        if not isinstance(error, _FOR_PEOPLE) and not getattr(error, "problems", None):
            log.exception("The event %s failed", getattr(fn, "__name__", fn))
        return {place: problem_list(problems_of(error))}

    if inspect.isgeneratorfunction(fn):

        @functools.wraps(fn)
        def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:
            try:
                yield from fn(*args, **kwargs)
            except Exception as error:
                yield spoken(error)

        return stream

    @functools.wraps(fn)
    def once(*args: Any, **kwargs: Any) -> Any:
        try:
            return fn(*args, **kwargs)
        except Exception as error:
            return spoken(error)

    return once
