"""How far a job is and how long it will take: plain arithmetic, and one sentence for people.

Pure: takes numbers and a job's fields, gives numbers and words. Knows no database, no clock and no model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

RECENT = 0.2  # weight of the newest reading in a smoothed figure
MEGABYTE = 1_000_000
TELLING = ("running", "finishing", "completed", "stopped")  # states in which it matters what an interruption cost
WISHES = {"cancel": "Cancelling.", "pause": "Pausing after the last whole step."}
SAVED = {  # by kind; of the others it is a model
    "train": "adapter",
    "import": "adapter",
    "data": "data set",
    "clean": "data set",
    "examine": "findings",
    "suite": "answers",
}
FIRST_STEPS = "First steps. Loss and time left follow in a moment."
ALIKE = "Nearly all rows are like others, so it was measured on rows like learned ones: this loss flatters."


class Progressing(Protocol):
    """The fields of a job that a sentence is made from."""

    @property
    def kind(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def why(self) -> str: ...
    @property
    def stop(self) -> str | None: ...
    @property
    def progress(self) -> Mapping[str, Any]: ...
    @property
    def adapter_id(self) -> int | None: ...
    @property
    def started_at(self) -> float | None: ...
    @property
    def finished_at(self) -> float | None: ...


def smooth(previous: float | None, reading: float) -> float:
    """A moving average that leans on the past by 1 - RECENT; the first reading stands alone."""
    return reading if previous is None else previous + RECENT * (reading - previous)


def seconds_left(step: int, steps: int, elapsed: float, recent: float | None) -> float | None:
    """Seconds until the last step, or None before the first.

    Args:
        step, steps: optimizer steps done and in all.
        elapsed: seconds the done steps took together.
        recent: smoothed seconds of one step, which follows a change of pace; the overall mean keeps it calm.
    """
    if step < 1:
        return None
    mean = elapsed / step
    pace = mean if recent is None else (mean + recent) / 2
    return max(0.0, (steps - step) * pace)


def duration(seconds: float) -> str:
    """A length of time as people say it: "8 s", "4 min", "1 h 20 min", "2 d 3 h"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def loss_text(loss: float) -> str:
    """A loss with the digits that mean something: two after the point, three below one, never a false zero."""
    return f"{loss:.2f}" if loss >= 1 else f"{loss:.3f}" if loss >= 0.001 else f"{loss:.1e}"


def job_sentence(job: Progressing) -> str:
    """Where a job stands, in a sentence or a few: what the page and the command line say about it."""
    if job.state in ("starting", "running") and job.stop:
        return WISHES.get(job.stop, "Stopping; what it has learned so far is kept.")
    sentences: dict[str, Callable[[], str]] = {
        "queued": lambda: _joined([job.why, "Waiting for its turn."]),
        "starting": lambda: _stage(job) or "Starting.",
        "running": lambda: _RUNNING.get(job.kind, _fetching)(job),
        "finishing": lambda: f"Saving the {SAVED.get(job.kind, 'model')}.",
        "completed": lambda: _completed(job),
        "stopped": lambda: _stopped(job),
        "paused": lambda: job.why or "Paused.",
        "cancelled": lambda: job.why or cancelled(job.kind),
        "interrupted": lambda: job.why or "Interrupted. Start it again.",
        "failed": lambda: job.why or "It failed. The log has the details.",
    }
    interruption = _interruption(job.progress) if job.state in TELLING else ""
    return _joined([_remark(job), sentences[job.state](), interruption])


def _remark(job: Progressing) -> str:
    """What is said about a job while it is worked on, such as that nothing moves."""
    return job.why if job.state in ("starting", "running", "finishing") else ""


def measured(kind: str) -> tuple[str, str]:
    """Where the progress of a job of this kind says how much is done, and how much there is."""
    return ("step", "steps") if kind in ("train", "suite") else ("done_bytes", "total_bytes")


def _interruption(p: Mapping[str, Any]) -> str:
    """What an interruption has cost the run, and what one would cost it."""
    return _joined([str(p.get("resumed") or ""), str(p.get("checkpoint_problem") or "")])


def again(kind: str, step: int | None = None) -> str:
    """What to do about a job that was interrupted. `step`: that of a run's newest checkpoint, if it has one."""
    if kind == "suite":
        return "Start it again; it goes on with what is left."
    if kind != "train":
        return "Start it again."  # what is fetched may go on where it stopped
    return f"Continue it from step {step}." if step else "Start it again; it begins from the first step."


def goes_on(kind: str, step: int | None) -> str:
    """How a job that is queued again by itself goes on. `step` as in `again`."""
    if kind == "suite":
        return "It goes on with what is left."
    return f"It goes on from step {step}." if step else "It begins again."


def cancelled(kind: str, pinned: int = 0) -> str:
    """What is said of a job of this kind that was cancelled while it worked; a run may have `pinned` checkpoints."""
    stay = "; its pinned checkpoints stay" if pinned else ""
    return f"Cancelled. {'What was answered is' if kind == 'suite' else 'Nothing was'} kept{stay}."


def paused(step: int | None) -> str:
    """What is said of a run that paused; `step` is that of its newest checkpoint, if it has one."""
    return f"Paused after step {step}." if step else "Paused before its first step was kept; it will begin there."


def _stage(job: Progressing) -> str:
    stage = str(job.progress.get("stage") or "")
    return stage if not stage or stage.endswith(".") else f"{stage}."


def _training(job: Progressing) -> str:
    p = job.progress
    if not p.get("step"):
        return FIRST_STEPS if p.get("steps") else _stage(job) or FIRST_STEPS
    said = [f"Step {p['step']} of {p['steps']}.", _loss(p), _validation(p)]
    if p.get("seconds_left") is not None and not job.why:
        said.append(f"About {duration(p['seconds_left'])} left.")
    return _joined(said)


def _asking(job: Progressing) -> str:
    p = job.progress
    if p.get("seconds_left") is None:
        return _stage(job) or "Starting."
    stage = _stage(job).rstrip(".") or "Answering"
    return f"{stage}: {p['step']:,} of {p['steps']:,}. About {duration(p['seconds_left'])} left."


def _loss(p: Mapping[str, Any]) -> str:
    loss, first = p.get("loss"), p.get("first_loss")
    if loss is None:
        return ""
    if first is None or p.get("step") == 1:
        return f"Loss {loss_text(loss)}."
    way = "down" if loss < first else "up"
    return f"Loss {loss_text(loss)}, {way} from {loss_text(first)}."


def _validation(p: Mapping[str, Any]) -> str:
    now, best = p.get("validation_loss"), p.get("best_validation_loss")
    if now is None:
        return ""
    if best is None:
        return f"Validation {loss_text(now)} before the first step."
    if now <= best:
        return f"Validation {loss_text(now)}, best so far."
    return f"Validation {loss_text(now)}; the best was {loss_text(best)} at step {p['best_step']}."


def _fetching(job: Progressing) -> str:
    done, total = job.progress.get("done_bytes"), job.progress.get("total_bytes")
    stage = _stage(job).rstrip(".") or "Working"
    if not total or done is None or done >= total:
        return f"{stage}."
    return f"{stage}: {done / MEGABYTE:.0f} of {total / MEGABYTE:.0f} MB."


_RUNNING = {"train": _training, "suite": _asking}


def _completed(job: Progressing) -> str:
    return _joined([f"Done{_after(job)}.", _kept(job.progress) if job.kind == "train" else ""])


def _stopped(job: Progressing) -> str:
    p = job.progress
    if job.kind == "suite":
        return f"Stopped after {p.get('step', 0):,} of {p.get('steps', 0):,} steps. What was answered is kept."
    where = f" at step {p['step']} of {p['steps']}" if p.get("step") else ""
    return _joined([f"Stopped{where}{_after(job, ' after ')}.", job.why, _kept(p)])


def _kept(p: Mapping[str, Any]) -> str:
    flatters = p.get("alike") and p.get("best_validation_loss") is not None
    return _joined([_best(p), ALIKE if flatters else ""])


def _best(p: Mapping[str, Any]) -> str:
    best, first, step = p.get("best_validation_loss"), p.get("first_validation_loss"), p.get("best_step")
    if best is None:
        return _joined([_loss(p), "The last step was kept."])
    start = p.get("start_validation_loss")
    for what, before in (("the base", first), ("the adapter it started from", start)):
        if before is not None and best >= before:
            return (
                f"Best validation {loss_text(best)} at step {step}, kept, but no better than {what} "
                f"({loss_text(before)}). Try a smaller learning rate or more data."
            )
    return f"Best validation {loss_text(best)} at step {step}, kept."


def _after(job: Progressing, word: str = " in ") -> str:
    if job.started_at is None or job.finished_at is None:
        return ""
    return word + duration(job.finished_at - job.started_at)


def _joined(sentences: list[str]) -> str:
    return " ".join(s for s in sentences if s)
