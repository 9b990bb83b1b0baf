"""Rows of the library as plain dictionaries: what `--json` prints. Times are ISO 8601 in UTC, sizes bytes.

One place, so that a job looks the same in every answer. Knows nothing about how they are printed.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from adapters_store.store import Store
from adapters_store.tables import Adapter, BaseModel, Checkpoint, DataSet, Job, Metric, Weighted
from jobs.progress import job_sentence
from jobs.sources import Found
from studio import method_words, mixtures

Record = dict[str, Any]

UNUSED_CODE = "It comes with code of its own, which is never run: transformers' code for this kind of model is used."


def when(seconds: float | None) -> str | None:
    """Seconds since 1970 as `2026-11-22T12:00:00Z`."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def job_record(job: Job) -> Record:
    """A job and where it stands."""
    return {
        "id": job.id,
        "kind": job.kind,
        "name": job.name,
        "state": job.state,
        "says": job_sentence(job),
        "why": job.why,
        "base": job.base_model.name if job.base_model else None,
        "data": mixtures.named(job.mixture) or None,
        "mixture": mixture_record(job.mixture),
        "from": job.start_adapter_name,
        "grid": job.grid,
        "device": job.device,
        "wanted_device": job.wanted_device,
        "settings": job.settings,
        "progress": job.progress,
        "adapter_id": job.adapter_id,
        "created": when(job.created_at),
        "started": when(job.started_at),
        "finished": when(job.finished_at),
    }


def mixture_record(mixture: Sequence[Weighted]) -> list[Record]:
    """The data sets that are learned from, with their weights."""
    return [{"data": data.name, "sha256": data.content_hash, "weight": weight} for data, weight in mixture]


def metric_record(metric: Metric) -> Record:
    """What one step measured."""
    return {
        "step": metric.step,
        "loss": metric.loss,
        "validation_loss": metric.validation_loss,
        "learning_rate": metric.learning_rate,
        "gradient_norm": metric.gradient_norm,
        "tokens": metric.tokens,
        "tokens_per_second": metric.tokens_per_second,
        "memory_bytes": metric.memory_bytes,
        "seconds": metric.seconds,
    }


def checkpoint_record(row: Checkpoint) -> Record:
    """A checkpoint of a run."""
    return {"id": row.id, "job_id": row.job_id, "step": row.step, "pinned": row.pinned, "written": when(row.created_at)}


def adapter_record(adapter: Adapter) -> Record:
    """An adapter of the library."""
    return {
        "id": adapter.id,
        "name": adapter.name,
        "base": adapter.base_model.name,
        "data": mixtures.named(adapter.mixture) or None,
        "mixture": mixture_record(adapter.mixture),
        "job_id": adapter.job_id,
        "from": adapter.parent_name,
        "method": adapter.method,
        "described": method_words.of_adapter(adapter),
        "rank": adapter.rank if method_words.has_rank(adapter) else None,
        "alpha": adapter.alpha if method_words.has_rank(adapter) else None,
        "target_modules": adapter.target_modules if method_words.has_rank(adapter) else [],
        "settings": adapter.settings,
        "training_loss": adapter.training_loss,
        "validation_loss": adapter.validation_loss,
        "base_validation_loss": adapter.base_validation_loss,
        "best_step": adapter.best_step,
        "steps": adapter.steps,
        "seconds": adapter.seconds,
        "size_bytes": adapter.size_bytes,
        "sha256": adapter.sha256,
        "made": when(adapter.created_at),
    }


def model_record(store: Store, base: BaseModel) -> Record:
    """A base model, and whether its files are here."""
    path = store.base_path(base)
    return {
        "id": base.id,
        "name": base.name,
        "source": base.source,
        "path": str(path),
        "hub": base.facts.get("hub"),
        "present": path.is_dir(),
        "parameters": base.facts.get("parameters"),
        "fingerprint": base.fingerprint,
        "added": when(base.created_at),
        "remarks": remarks(base),
    }


def data_record(store: Store, data: DataSet) -> Record:
    """A data set, and whether its rows are here."""
    return {
        "id": data.id,
        "name": data.name,
        "source": data.source,
        "file": data.facts.get("file"),
        "format": data.format,
        "understood": data.facts.get("understood"),
        "mapping": data.facts.get("columns"),
        "rows": data.rows,
        "bad_rows": data.facts.get("bad", {}).get("total", 0),
        "sha256": data.content_hash,
        "present": store.rows_path(data).is_file(),
        "added": when(data.created_at),
    }


def remarks(base: BaseModel) -> list[str]:
    """In sentences, what a person should know of a base model before training it."""
    told = []
    if not base.facts.get("chat_template", True):
        told.append(
            'It has no chat template: conversations are written as plain "User: ..." and "Assistant: ..." lines, '
            "unless you choose another chat template."
        )
    if base.facts.get("brings_code"):
        told.append(UNUSED_CODE)
    return told


def found_record(found: Found) -> Record:
    """A model that lies on this disk and may not be in the library."""
    return {
        "name": found.name,
        "kind": found.kind,
        "path": str(found.path),
        "size_bytes": found.size_bytes,
        "usable": found.usable,
        "why_not": found.why_not,
    }
