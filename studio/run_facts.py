"""What the Runs tab shows about jobs, as plain facts for the page: the rows of the list, and the run that is open.

Rows of the store in, JSON out. The page writes every text as text, so names are passed on as they are. Knows nothing
about widgets, and asks the store nothing: what it needs is handed to it.
"""

from collections.abc import Sequence
from typing import Any

from adapters_store.states import LIVE
from adapters_store.tables import Job
from jobs.progress import duration, job_sentence, loss_text, measured
from studio import again, method_words, mixtures
from studio.words import ANEW

DONE = ("completed", "stopped", "cancelled", "failed", "interrupted")
# What a row is said to be, where it is no run.
KINDS = {
    "fetch": "model",
    "import": "import",
    "export": "merge",
    "data": "data set",
    "examine": "examine",
    "clean": "clean",
    "suite": "suite",
}
WORDS = {"stopped": "stopped, kept"}
PLACES = ("next", "second", "third", "fourth", "fifth")
SHOWN_WAITING = 200  # jobs of the queue in the list; the others are counted
SHORT = 60  # characters of a reason that fit under a name

Facts = dict[str, Any]


def rows(jobs: Sequence[Job], waiting: Sequence[Job]) -> list[Facts]:
    """The list: what runs now, the queue in its order, what is paused, then what is done, newest first."""
    now = [job for job in jobs if job.state in LIVE]
    done = [job for job in jobs if job.state in DONE]
    return [
        *[_row(job, "Now", _progress_fact(job), _left(job)) for job in reversed(now)],
        *[_waiting(job, place, len(waiting)) for place, job in enumerate(waiting[:SHOWN_WAITING])],
        *[_row(job, "Queue", _outcome(job), "", job.finished_at) for job in jobs if job.state == "paused"],
        *[_row(job, "Done", _outcome(job), "", job.finished_at or job.created_at) for job in done],
    ]


def opened(job: Job) -> Facts:
    """The run that is open: head, sentence, progress, figures and which buttons make sense."""
    live = job.state in LIVE
    adapter = job.adapter_id if job.state in ("completed", "stopped") else None
    return {
        "id": job.id,
        "name": job.name,
        "train": job.kind == "train",
        "state": job.state,
        "word": word(job),
        "live": live,
        "waiting": job.state == "queued",
        "stopping": bool(job.stop) and live,
        "sentence": job_sentence(job),
        "share": share(job),
        "steps": int(job.progress.get("steps") or 0),
        "broke": job.progress.get("broke_at"),
        "adapter": adapter,
        "figures": figures(job) if job.kind == "train" and job.started_at is not None else [],
        "again": job.state in (*DONE, "paused"),
        "pause": job.kind == "train" and not job.stop and job.state in ("queued", "starting", "running"),
        "retry": again.can_retry(job),
        "go_on": goes_on_from(job),
        "more": more(job),
        "about": about(job),
    }


def goes_on_from(job: Job) -> int | None:
    """The step that a run would go on from; None where it cannot go on, 0 where a paused one has no checkpoint."""
    if job.state == "paused":
        return job.checkpoint_step or 0
    return job.checkpoint_step if job.state == "interrupted" else None


def more(job: Job) -> Facts | None:
    """What the question for more epochs says and starts from; None where the run cannot be given any."""
    if not again.can_go_on(job):
        return None
    return {
        "epochs": int(job.settings.get("epochs") or 1),
        "says": f"On the same data with the same settings, from the adapter of this run. {ANEW}",
    }


def word(job: Job) -> str:
    """The state in a word or two."""
    return WORDS.get(job.state, job.state)


def share(job: Job) -> float | None:
    """How much is done, 0 to 1; None where it cannot be known yet or no longer matters."""
    done, total = measured(job.kind)
    if job.state == "completed":
        return 1.0
    if not job.progress.get(total):
        return None if job.state in ("queued", "paused", *DONE) else 0.0
    return min(1.0, float(job.progress.get(done) or 0) / float(job.progress[total]))


def figures(job: Job) -> list[Facts]:
    """The key readings. They keep their places: a reading that is still to come is shown as a dash."""
    seen, ended = job.progress, job.state in (*DONE, "paused")
    result = [
        _figure("Loss", _loss(seen.get("loss"))),
        _figure("Best validation" if ended else "Validation", _loss(_validation(job))),
        _figure("Tokens/s", _whole(seen.get("tokens_per_second"))),
        _figure("Took", _took(job))
        if ended
        else _figure("Time left", _clock(None if job.why else seen.get("seconds_left"))),
    ]
    if seen.get("memory_bytes"):
        result.append(_figure("Memory", f"{float(seen['memory_bytes']) / 1e9:.1f}", "GB"))
    return result


def about(job: Job) -> str:
    """One line: which base and data, by which method and with which rate."""
    if job.kind != "train":
        return ""
    used = job.settings
    names = [job.base_model.name if job.base_model else "", mixtures.named(job.mixture)]
    how = f"{method_words.of_settings(used)}, learning rate {_rate(used.get('learning_rate'))}"
    start = f"from {job.start_adapter_name}" if job.start_adapter_name else ""
    return " · ".join(filter(None, [*names, start, how, where(job)]))


def where(job: Job) -> str:
    """The device of a job, where devices have names: the one it has, or the one that was chosen for it."""
    if job.device and job.state not in ("queued", "paused"):
        return f"on {job.device}"
    return f"waits for {job.wanted_device}" if job.wanted_device and job.state == "queued" else ""


def _row(job: Job, group: str, fact: str, time: str, at: float | None = None) -> Facts:
    return {
        "key": job.id,
        "group": group,
        "name": job.name,
        "state": job.state,
        "word": word(job),
        "fact": ", ".join(filter(None, [KINDS.get(job.kind, ""), fact, where(job)])),
        "time": time,
        "at": at,
    }


def _waiting(job: Job, place: int, count: int) -> Facts:
    """A row of the queue, and which ways it can be moved in the line."""
    return {**_row(job, "Queue", _place(place), "", job.created_at), "up": place > 0, "down": place < count - 1}


def _progress_fact(job: Job) -> str:
    return f"no progress, {_how_far(job)}" if job.why else _how_far(job)


def _how_far(job: Job) -> str:
    seen = job.progress
    if job.kind == "fetch" and seen.get("total_bytes"):
        return f"{float(seen.get('done_bytes') or 0) / 1e6:,.0f} of {float(seen['total_bytes']) / 1e6:,.0f} MB"
    if job.kind == "train" and seen.get("steps"):
        return f"step {int(seen.get('step') or 0):,} of {int(seen['steps']):,}"
    if job.kind == "suite" and seen.get("step"):
        return f"prompt {int(seen['step']):,} of {int(seen['steps']):,}"
    return str(seen.get("stage") or "starting")


def _left(job: Job) -> str:
    seconds = job.progress.get("seconds_left")
    return f"{duration(float(seconds))} left" if seconds and not job.why else ""


def _place(place: int) -> str:
    return PLACES[place] if place < len(PLACES) else f"number {place + 1}"


def _outcome(job: Job) -> str:
    best = _validation(job)
    if job.state in ("failed", "interrupted", "cancelled", "paused"):
        reason = job.why.split(". ")[0].rstrip(".")
        return reason if len(reason) <= SHORT else f"{reason[: SHORT - 1]}…"
    if best is not None:
        return f"validation {_loss(best)}"
    loss = job.progress.get("loss")
    return f"loss {_loss(loss)}" if loss is not None else ""


def _validation(job: Job) -> Any:
    seen = job.progress
    return seen.get("best_validation_loss") if job.state in (*DONE, "paused") else seen.get("validation_loss")


def _took(job: Job) -> str:
    if job.started_at is None or job.finished_at is None:
        return "–"
    return _clock(job.finished_at - job.started_at)


def _figure(name: str, value: str, unit: str = "") -> Facts:
    return {"key": name, "value": value, "unit": unit}


def _loss(value: Any) -> str:
    return "–" if value is None else loss_text(float(value))


def _whole(value: Any) -> str:
    return "–" if value is None else f"{float(value):,.0f}"


def _rate(value: Any) -> str:
    return f"{float(value):.0e}".replace("e-0", "e-") if value else "–"


def _clock(seconds: Any) -> str:
    """4:10, or 1:04:10 from an hour on."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(max(0, round(float(seconds))), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
