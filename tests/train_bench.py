"""The Train tab on a bench: its events over a real library, with an answerer that answers from a list.

Stands for the page in tests that call what happens as Gradio calls it. Knows nothing of what they ask.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast

import gradio as gr

from adapters_store.store import Store
from engine.settings import RunSettings
from jobs.ask import Answerer
from studio import actions
from studio.page import Studio
from studio.shell import FIELDS, Shell, hidden, html
from studio.train_events import TrainEvents
from studio.train_layout import Layout
from studio.train_settings import ORDER
from tests.pages import in_a_loop

LAYERS = [
    {"path": f"model.layers.{n}.{part}", "name": part.split(".")[-1], "in": 64, "out": 32}
    for n in range(2)
    for part in ("mlp.up_proj", "self_attn.q_proj")
]
FACTS = {
    "parameters": 99_000,
    "layers": LAYERS,
    "modules": [
        {"path": layer["path"], "kind": "linear", "block": i // 2, "weight": [32, 64], "bias": 0}
        for i, layer in enumerate(LAYERS)
    ],
    "blocks": 2,
    "hidden": 64,
    "embedding_width": 64,
    "max_length": 256,
    "vocabulary": 384,
}
PLAN = {
    "steps": 90,
    "steps_per_epoch": 30,
    "tokens_per_epoch": 41_280,
    "answer_tokens_per_epoch": 12_384,
    "rows": 240,
    "rows_cut": 0,
    "validation_rows": 24,
    "length": 256,
    "longest": 200,
}


class ListedAnswerer:
    """Answers each plan with the next thing of a list: a plan, or an error to raise. Waits while `hold` is not set."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.hold = threading.Event()
        self.hold.set()

    def request(self, kind: str, **payload: Any) -> dict[str, Any]:
        assert kind == "plan"
        self.asked = payload
        assert self.hold.wait(10)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)


def make(store: Store, data_dir: Path, *answers: Any) -> TrainEvents:
    studio = Studio(store, cast(Answerer, ListedAnswerer(*answers)), data_dir)

    def build() -> TrainEvents:
        page = gr.Blocks()
        with page:
            layout = Layout()
            shell = Shell(page, gr.Tabs(), html(), *map(hidden, FIELDS))
        return TrainEvents(studio, shell, layout)

    return in_a_loop(build)


def add(store: Store, base_path: Path) -> tuple[int, int]:
    """A base with known layers and the first sample. Their ids."""
    base = store.add_base_model(
        name="small",
        source="folder",
        path=str(base_path),
        folder=None,
        fingerprint="sha256:0",
        facts=FACTS,
    )
    actions.import_samples(store)
    return base.id, store.data_sets()[0].id


def defaults() -> list[Any]:
    values = RunSettings(length=256).model_dump(mode="json")
    return [[] if name == "target_modules" else values[name] for name in ORDER]


def with_value(name: str, value: Any) -> list[Any]:
    return [value if n == name else v for n, v in zip(ORDER, defaults(), strict=True)]


def shown(events: TrainEvents, updates: dict[Any, Any], name: str) -> Any:
    update = updates[getattr(events.ui, name)]
    if isinstance(update, dict) and update.get("__type__") == "update":
        return update["value"]
    return update.value if isinstance(update, gr.HTML) else update
