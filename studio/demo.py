"""The main job without a browser: fetch, fine-tune, keep, compare, and say by how much it helped.

Goes through the real queue and the real answerer, so that what it shows is what the studio does. The figures are of
this machine and this run; nothing here decides what is a good result.
"""

import platform
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from adapters_store.store import Store
from adapters_store.tables import Adapter, BaseModel, Job
from engine import starter
from engine.data import check
from jobs.ask import Answerer
from jobs.progress import duration, job_sentence
from studio import actions, asking, contestants, records
from studio.edge import CommandFailed
from studio.terminal import plain, print_json, say, side_by_side

SAMPLE = "pirate-style"
# Fewer rows a step and a higher rate than a careful run would take: the effect should show within minutes on two cores.
SETTINGS = {"epochs": 1, "batch_size": 4, "micro_batch": 4, "learning_rate": 6e-4, "validation_share": 0.05}
MOST_SECONDS = 420.0  # of training; the whole demo should take less than ten minutes on two cores
PROMPTS = 3
SAMPLING = asking.Sampling(temperature=0.0, top_p=1.0, max_tokens=60, seed=0)
PACKAGES = ("torch", "transformers", "safetensors", "gradio")


def demo(data_dir: Path | None, *, as_json: bool = False, max_seconds: float | None = None) -> None:
    """Fine-tune the starter model on a sample and show what changed.

    Args:
        data_dir: the data folder; the person's own by default, where the adapter stays.
        as_json: print one object of figures on stdout, and nothing else there.
        max_seconds: a limit for the training, in place of the demo's own.

    Raises:
        CommandFailed: the model could not be fetched, or the run left no adapter.
    """
    with asking.opened(data_dir) as store:
        base = asking.base_model(store, asking.STARTER)
        job = _train(store, base, max_seconds or MOST_SECONDS)
        adapter = _adapter_of(store, job)
        figures = _measure(store, job, base, adapter)
    if as_json:
        print_json(figures)
    else:
        _tell(figures)


def _train(store: Store, base: BaseModel, max_seconds: float) -> Job:
    data = asking.data_set(store, SAMPLE)
    values = {**SETTINGS, "max_seconds": max_seconds}
    say(f"Fine-tuning {base.name} on {data.name} ({data.rows} rows).")
    return asking.wait(
        store, actions.start_run(store, base_model_id=base.id, data_set_id=data.id, values=values, name="demo")
    )


def _adapter_of(store: Store, job: Job) -> Adapter:
    if job.adapter_id is None:
        raise CommandFailed(f"The run left no adapter. {job_sentence(job)}")
    return store.adapter(job.adapter_id)


def _measure(store: Store, job: Job, base: BaseModel, adapter: Adapter) -> dict[str, Any]:
    held_out = check.read(next(s.held_out for s in starter.samples() if s.name == SAMPLE)).rows
    answerer = Answerer(store.files.log("answerer"))
    try:
        say(f"Answering {PROMPTS} prompts that were not in the training data.")
        answers = [_answer(answerer, store, adapter, row) for row in held_out[:PROMPTS]]
        say(f"Measuring the loss on {len(held_out)} held-out rows.")
        before, after = _losses(answerer, store, base, adapter, held_out)
    finally:
        answerer.close()
    return {
        "base": {"name": base.name, "held_out_loss": before},
        "adapter": {**records.adapter_record(adapter), "held_out_loss": after},
        "improvement": 1 - after / before,
        **_course(store, job, adapter),
        "answers": answers,
        "machine": _machine(job),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }


def _answer(answerer: Answerer, store: Store, adapter: Adapter, row: check.Row) -> dict[str, str]:
    prompt = next(message["content"] for message in row["messages"] if message["role"] == "user")
    plain_base, tuned = asking.answers_of(answerer, store, [adapter], prompt, "", SAMPLING)
    return {"prompt": prompt, "base": plain_base["text"], "adapter": tuned["text"]}


def _losses(
    answerer: Answerer, store: Store, base: BaseModel, adapter: Adapter, rows: Sequence[check.Row]
) -> tuple[float, float]:
    with tempfile.TemporaryDirectory(dir=store.files.root / "temp") as scratch:
        path = Path(scratch) / "rows.jsonl"
        check.write_rows(rows, path)
        scored = answerer.request(
            "score",
            deadline=asking.DEADLINE,
            base_path=str(store.base_path(base)),
            precision=contestants.precision([adapter]),
            adapters=[str(store.adapter_path(adapter))],
            rows_path=str(path),
        )
    before, after = scored["losses"]
    return before, after


def _course(store: Store, job: Job, adapter: Adapter) -> dict[str, Any]:
    """How the run went: seconds of training, the pace over all of it, and the most memory its worker held."""
    metrics = store.metrics(job.id)
    tokens = max((metric.tokens or 0 for metric in metrics), default=0)
    memory = max((metric.memory_bytes or 0 for metric in metrics), default=0)
    return {
        "seconds": adapter.seconds,
        "tokens_per_second": tokens / adapter.seconds if adapter.seconds else None,
        "peak_memory_bytes": job.progress.get("peak_memory_bytes") or memory,
        "steps": adapter.steps,
    }


def _machine(job: Job) -> dict[str, Any]:
    return {
        "system": platform.system(),
        "processor": platform.processor() or platform.machine(),
        "cores": psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "device": job.progress.get("device"),
    }


def _tell(figures: dict[str, Any]) -> None:
    base, adapter = figures["base"], figures["adapter"]
    for answer in figures["answers"]:
        print(f"\n{plain(answer['prompt'])}\n")
        print(side_by_side([base["name"], adapter["name"]], [answer["base"], answer["adapter"]]))
    lower, memory = f"{figures['improvement']:.0%} lower", f"{figures['peak_memory_bytes'] / 1e9:.1f} GB"
    speed = f"{figures['tokens_per_second'] or 0:.0f} tokens/s"
    print(
        f"\nHeld-out loss: {base['held_out_loss']:.3f} for the base, "
        f"{adapter['held_out_loss']:.3f} with the adapter ({lower}).\n"
        f"{figures['steps']} steps in {duration(figures['seconds'])}, {speed}, {memory} at most.\n"
        f"The adapter is in the library as {plain(adapter['name'])} ({adapter['sha256'][:10]}). "
        "See it, and compare by hand: python app.py"
    )
