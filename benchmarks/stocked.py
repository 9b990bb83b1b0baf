"""A library as full as years of use would make it: adapters, the runs that made them, and their curves.

The schema is the store's own; the rows go in by the bulk, because a thousand times a thousand reports would take hours.
What is random has a fixed seed. It makes rows only: the folders they name are not there, so nothing can be compared or
downloaded. Knows nothing about what is measured with it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, text

from adapters_store.database import write_engine
from adapters_store.store import Store
from adapters_store.tables import Adapter, BaseModel, DataSet, Job

BASES, DATA_SETS = 6, 40
DAY = 86_400.0
THEMES = ("pirate", "legal", "haiku", "support", "medical", "sql", "poem", "chess", "recipe", "news")
METHODS = ("lora", "dora", "pissa", "vera", "ia3")
BASE_NAMES = ("SmolLM2-135M", "Llama-3.2-1B", "Qwen3-0.6B", "gemma-3-270m", "Mistral-7B", "Phi-4-mini")

# A falling loss with noise. The numbers come from SQLite itself, so that a million rows take seconds.
_CURVE = text(
    """
    INSERT INTO metric (job_id, step, loss, validation_loss, learning_rate, gradient_norm, tokens, tokens_per_second,
                        memory_bytes, seconds)
    WITH RECURSIVE count (step) AS (SELECT 1 UNION ALL SELECT step + 1 FROM count WHERE step < :points)
    SELECT job.id, step, 1 + 2 / (1 + step * 0.002) + abs(random() % 1000) / 4000.0,
           CASE WHEN step % (:points / 10) = 0 THEN 1.1 + 2 / (1 + step * 0.002) END, 0.0002, 1.0, step * 512, 900.5,
           1200000000, step * 0.25
    FROM job, count WHERE job.id BETWEEN :first AND :last
    """
)


def stock(root: Path, *, adapters: int, metrics: int, longest: int, long_runs: int = 5) -> Store:
    """A store in `root` with so many adapters and metric rows.

    The first `long_runs` jobs have curves of `longest` points, the other jobs share the rest evenly; there is one job
    for each adapter.
    """
    store = Store(root)
    engine = write_engine(store.files.database)
    with engine.begin() as connection:
        _fill(connection, adapters, root)
        _add_curves(connection, adapters, metrics, longest, long_runs)
    engine.dispose()
    return store


def _add_curves(connection: Connection, jobs: int, metrics: int, longest: int, long_runs: int) -> None:
    connection.execute(_CURVE, {"points": longest, "first": 1, "last": long_runs})
    rest = metrics - longest * long_runs
    each, over = divmod(rest, jobs - long_runs)
    connection.execute(_CURVE, {"points": each + 1, "first": long_runs + 1, "last": long_runs + over})
    if each:
        connection.execute(_CURVE, {"points": each, "first": long_runs + over + 1, "last": jobs})


def _fill(connection: Connection, adapters: int, root: Path) -> None:
    chance = random.Random(0)
    connection.execute(insert(BaseModel), [_base(i, root) for i in range(BASES)])
    connection.execute(insert(DataSet), [_data_set(i) for i in range(DATA_SETS)])
    made = list(_made(chance, adapters))
    connection.execute(insert(Job), [job for job, _ in made])
    connection.execute(insert(Adapter), [adapter for _, adapter in made])


def _base(i: int, root: Path) -> dict[str, Any]:
    """A base model of 30 blocks, with facts as long as a real one's. The first stands for the starter model."""
    sizes = {"q_proj": (576, 576), "k_proj": (576, 192), "v_proj": (576, 192), "o_proj": (576, 576)}
    sizes |= {"gate_proj": (576, 1536), "up_proj": (576, 1536), "down_proj": (1536, 576)}
    places = [(block, name) for block in range(30) for name in sizes]
    layers = [
        {"path": f"model.layers.{block}.{name}", "name": name, "in": sizes[name][0], "out": sizes[name][1]}
        for block, name in places
    ]
    modules = [
        {"path": layer["path"], "kind": "linear", "block": block, "weight": [layer["out"], layer["in"]], "bias": 0}
        for layer, (block, _) in zip(layers, places, strict=True)
    ]
    facts = {"architecture": "Llama", "parameters": 134_515_008, "blocks": 30, "layers": layers, "modules": modules}
    facts |= {"hidden": 576, "embedding_width": 576, "max_length": 2048, "vocabulary": 49_152}
    return {
        "name": BASE_NAMES[i % len(BASE_NAMES)],
        "source": "folder" if i else "starter",
        "path": str(root / "models"),
        "folder": None,
        "fingerprint": f"sha256:base-{i}",
        "facts": facts,
        "created_at": 0.0,
    }


def _data_set(i: int) -> dict[str, Any]:
    return {
        "name": f"{THEMES[i % len(THEMES)]}-rows-{i}",
        "source": "file",
        "format": "messages",
        "rows": 1000 + i,
        "content_hash": f"sha256:data-{i}",
        "folder": f"data-{i}",
        "facts": {},
        "created_at": 0.0,
    }


def _made(chance: random.Random, count: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Runs with the adapters they left."""
    for i in range(1, count + 1):
        at = 1.7e9 + i * DAY / 20
        shared = {
            "name": f"{chance.choice(THEMES)}-{chance.choice(METHODS)}-{i}",
            "base_model_id": chance.randint(1, BASES),
            "data_set_id": chance.randint(1, DATA_SETS),
            "settings": {"method": "lora", "rank": 16, "alpha": 32.0, "learning_rate": 2e-4, "epochs": 3, "seed": i},
            "created_at": at,
        }
        loss = 1 + chance.random()
        yield shared | _run(loss, at), shared | _adapter(chance, i, loss)


def _run(loss: float, at: float) -> dict[str, Any]:
    progress = {"step": 50, "steps": 50, "loss": loss, "best_validation_loss": loss, "tokens_per_second": 900.5}
    return {
        "kind": "train",
        "state": "completed",
        "why": "",
        "attempt": 1,
        "token": 1,
        "progress": progress,
        "started_at": at,
        "finished_at": at + 600,
    }


def _adapter(chance: random.Random, i: int, loss: float) -> dict[str, Any]:
    return {
        "job_id": i,
        "folder": f"adapter-{i}",
        "method": chance.choice(METHODS),
        "rank": chance.choice((4, 8, 16, 32, 64)),
        "alpha": 32.0,
        "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        "training_loss": loss,
        "validation_loss": loss if i % 7 else None,
        "base_validation_loss": 3.0,
        "best_step": 40,
        "steps": 50,
        "seconds": 600.0,
        "size_bytes": chance.randint(10**6, 10**8),
        "sha256": f"{i:064x}",
    }
