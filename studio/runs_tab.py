"""The Runs tab: what the page may ask about jobs, and what its buttons do.

The tab is one piece of our own (static/runs.js), which pulls what is new about once a second; so a curve grows without
being drawn anew, and a reload or a second tab shows the same. What it may ask is public like any endpoint: every
argument is checked. Knows nothing about how a job is done, or about drawing.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import gradio as gr

from adapters_store.states import LIVE
from adapters_store.store import Store
from adapters_store.tables import Job
from jobs import resuming, stalls
from jobs.queue import SPARE_MEMORY, queue_paused, spares_memory
from studio import actions, again, group_curves, job_log, line, live_chart, pinning, run_facts, run_group
from studio.contestants import MOST_COLUMNS
from studio.latest import Latest
from studio.listing import SETTLED, TOPICS, Listing, newest
from studio.page import Studio, log, problems_of
from studio.shell import Shell, scripted
from studio.static_files import PLOTLY, static_url

LISTED = 200  # jobs in the list; older ones are still opened by their address

_GIVEN = f'element, server, trigger, plotly: "{static_url(PLOTLY)}", job: window.studioJob || null'

# The open run is shown at once, without a way over the server; a tab that is not there yet finds the number later.
_TELL = """job => { window.studioJob = Number(job) || null;
  window.dispatchEvent(new CustomEvent('studio:job', {detail: job})) }"""

Answer = dict[str, Any]


def build(studio: Studio, shell: Shell) -> None:
    """Fill the tab; it stands in its gr.Tab."""
    view = scripted(
        "runs.js",
        "mount",
        _GIVEN,
        "job_open compare show_adapter go_train change_run",
        html_template="<div></div>",
        server_functions=[answered(fn) for fn in questions(studio)],
        elem_id="runs",
    )
    # "multiple": by default a press that comes while another is under way would be lost.
    quiet: dict[str, Any] = {
        "show_progress": "hidden",
        "queue": False,
        "api_visibility": "private",
        "trigger_mode": "multiple",
    }

    def to_train() -> gr.Tabs:
        return shell.go("train")

    def to_library(event: gr.EventData) -> tuple[gr.Tabs, str]:
        return shell.go("library"), number_of(event, "adapter")

    def to_compare(event: gr.EventData) -> tuple[gr.Tabs, str]:
        return shell.go("compare"), number_of(event, "adapter") or _numbers_of(event, "adapters")

    def to_change(event: gr.EventData) -> tuple[gr.Tabs, str]:
        # The moment makes it another text, so that a second press is seen, too.
        return shell.go("train"), f"job-{number_of(event, 'job')} {time.monotonic_ns()}"

    shell.job.change(None, [shell.job], None, js=_TELL, show_progress="hidden")
    view.job_open(_opened, None, shell.job, **quiet)
    view.go_train(to_train, None, shell.tabs, **quiet)
    view.change_run(to_change, None, [shell.tabs, shell.start], **quiet)
    view.show_adapter(to_library, None, [shell.tabs, shell.adapter], **quiet)
    view.compare(to_compare, None, [shell.tabs, shell.contestants], **quiet)


def _opened(event: gr.EventData) -> str:
    return number_of(event, "id")


def number_of(event: gr.EventData, name: str) -> str:
    """A number that came with an event, as text for a hidden field; nothing where it is none."""
    data = event._data if isinstance(event._data, dict) else {}
    value = data.get(name)
    return str(value) if isinstance(value, int) and 0 < value < 2**53 else ""


def _numbers_of(event: gr.EventData, name: str) -> str:
    """As many numbers of an event as stand beside a base, as text for a hidden field; nothing where one is none."""
    data = event._data if isinstance(event._data, dict) else {}
    given = data.get(name)
    values = given[: MOST_COLUMNS - 1] if isinstance(given, list) else []
    sound = all(isinstance(one, int) and 0 < one < 2**53 for one in values)
    return ",".join(map(str, values)) if sound else ""


def questions(studio: Studio) -> list[Callable[[object], Answer]]:
    """What the page may ask. Each takes one JSON object, of which nothing is believed, and answers with one."""
    store = studio.store

    long = Latest(lambda: (store.jobs(limit=LISTED), store.waiting()))
    # Progress moves only what is under way, each second: the long list is read when something else has changed.
    listing = Latest(lambda: Listing(*long.at(newest(store.changed(), SETTLED)), store.jobs(states=LIVE)))

    def runs_state(question: object) -> Answer:
        """What is new of the list, the open run, and what is new of its curve."""
        asked = question if isinstance(question, dict) else {}
        changed = store.changed()
        revision = newest(changed, TOPICS)
        known = listing.at(revision)
        job, missing = known.chosen(_id(asked) if asked.get("job") is not None else None, store)
        listed = asked.get("listed")
        since = listed if isinstance(listed, int) else -1
        moved = newest(changed, SETTLED) > since
        return {
            "revision": revision,
            "rows": known.rows if moved else None,
            # Progress alone touches only what is under way; the rest of a long list need not travel each second.
            "going": known.going if revision > since else [],
            "open": _open(job) if job else None,
            "missing": missing,
            "curve": _curve(job, asked) if job else None,
            "auto_resume": resuming.auto_resume(store),
            "spare_memory": spares_memory(store),
            "end_stalled": stalls.ends_stalled(store),
            "queue": {"paused": queue_paused(store), "says": line.PAUSED, "unlisted": known.unlisted},
        }

    def _open(job: Job) -> Answer:
        best = store.best_of_grid(job.grid) if job.grid and job.adapter_id is not None else []
        group = run_group.table(store.jobs_of_grid(job.grid)) if job.grid else []
        left = [adapter.id for adapter in best] if len(best) > 1 else []
        return {**run_facts.opened(job), "grid": left, "group": group, "checkpoints": pinning.of_run(store, job)}

    def runs_stretch(question: object) -> Answer:
        """A part of a run's curve that was zoomed into."""
        asked = question if isinstance(question, dict) else {}
        return live_chart.stretch(store, store.job(_id(asked)), _whole(asked, "from"), _whole(asked, "to"))

    def _curve(job: Job, asked: dict[str, Any]) -> dict[str, object]:
        known, after = asked.get("series"), asked.get("after")
        return live_chart.curve(
            store, job, known if isinstance(known, str) else "", after if isinstance(after, int) else -1
        )

    def runs_log(question: object) -> Answer:
        """What a job has logged behind so many bytes."""
        asked = question if isinstance(question, dict) else {}
        job = store.job(_id(asked))
        return job_log.stretch(store.files.log(f"job-{job.id}"), _whole(asked, "after"))._asdict()

    def stop_run(question: object) -> Answer:
        """End a job: keep the adapter so far, or cancel it. Or pause it."""
        asked = question if isinstance(question, dict) else {}
        how = asked.get("how")
        if how == "pause":
            line.pause_run(store, _id(asked))
            return {}
        if how not in ("keep", "cancel"):
            raise ValueError(f"A job ends with keep, cancel or pause, not {how!r}.")
        actions.stop_job(store, _id(asked), how)
        return {}

    def train_again(question: object) -> Answer:
        """Queue the same settings again, once for one key. A run that was interrupted or paused goes on instead."""
        asked = question if isinstance(question, dict) else {}
        job = store.job(_id(asked))
        if job.state in ("interrupted", "paused"):
            return {"open": again.after_interruption(store, job).id}
        return {"open": again.from_the_beginning(store, job, _key(asked)).id}

    def more_epochs(question: object) -> Answer:
        """Queue more epochs of a finished run, from the adapter it left; asking twice with one key queues once."""
        asked = question if isinstance(question, dict) else {}
        more = again.more_epochs(store, store.job(_id(asked)), asked.get("epochs"), _key(asked))
        return {"open": more.id}

    def retry(question: object) -> Answer:
        """Try a fetch, an import or an export that left nothing once more."""
        job = again.retry(store, store.job(_id(question if isinstance(question, dict) else {})))
        return {"open": job.id} if job else {}

    return [
        *(runs_state, runs_stretch, runs_log),
        *(stop_run, train_again, more_epochs, retry),
        *_of_the_line(store),
        *_switches(store),
        *pinning.questions(store),
        *group_curves.questions(store),
    ]


def _switches(store: Store) -> list[Callable[[object], Answer]]:
    """What the page may switch on and off, for all runs."""

    def set_auto_resume(question: object) -> Answer:
        """Whether interrupted runs go on by themselves."""
        store.remember(resuming.AUTO_RESUME, _on(question))
        return {}

    def set_spare_memory(question: object) -> Answer:
        """Whether a run for which memory is too small goes on with fewer rows at once."""
        store.remember(SPARE_MEMORY, _on(question))
        return {}

    def set_end_stalled(question: object) -> Answer:
        """Whether workers that make no progress are ended."""
        store.remember(stalls.END_STALLED, _on(question))
        return {}

    return [set_auto_resume, set_spare_memory, set_end_stalled]


def _on(question: object) -> bool:
    on = question.get("on") if isinstance(question, dict) else None
    if not isinstance(on, bool):
        raise ValueError(f"The switch is on or off, not {on!r}.")
    return on


def _of_the_line(store: Store) -> list[Callable[[object], Answer]]:
    """What the page may ask of the line of waiting jobs."""

    def move_in_line(question: object) -> Answer:
        """Move a waiting job up or down, to the end, or to right before another one."""
        asked = question if isinstance(question, dict) else {}
        if "before" in asked:
            line.move_before(store, _id(asked), _whole(asked, "before"))
        else:
            line.move(store, _id(asked), asked.get("to"))
        return {}

    def pause_queue(question: object) -> Answer:
        """Keep waiting runs where they are, or let their turns come again."""
        line.pause_queue(store, _on(question))
        return {}

    return [move_in_line, pause_queue]


def answered(fn: Callable[[object], Answer]) -> Callable[[object], Answer]:
    """The edge around a question of the page: what goes wrong is answered as a sentence, and the log has the rest."""

    @functools.wraps(fn)
    def edge(question: object) -> Answer:
        try:
            return fn(question)
        except Exception as error:
            log.info("%s was not answered", fn.__name__, exc_info=True)
            return {"problem": " ".join(problems_of(error))}

    return edge


def _key(asked: dict[str, Any]) -> str | None:
    """What makes two presses one wish."""
    key = asked.get("key")
    return f"again-{key[:64]}" if isinstance(key, str) and key else None


def _id(asked: dict[str, Any]) -> int:
    number = asked.get("job")
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 2**53:
        raise ValueError(f"A job has a number, not {number!r}.")
    return number


def _whole(asked: dict[str, Any], name: str) -> int:
    number = asked.get(name)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**53:
        raise ValueError(f"{name} is a whole number, not {number!r}.")
    return number
