"""The demo goes the whole way with the tiny model in the starter's place, and its figures hold together."""

import json
import math
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from adapters_store.store import Store
from studio.demo import demo
from studio.edge import at_the_edge
from tests.terminal import Terminal
from tests.workshop import add_base, one_thread


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The data folder, and what the finished demo printed."""
    root = tmp_path_factory.mktemp("demo") / "data"
    store = Store(root)
    add_base(store, source="starter")
    store.close()
    with one_thread():
        return root, Terminal(root).done(lambda: at_the_edge(lambda: demo(root, as_json=True, max_seconds=60)))


@pytest.fixture(scope="module")
def figures(done: tuple[Path, subprocess.CompletedProcess[str]]) -> dict[str, Any]:
    assert done[1].returncode == 0, done[1].stderr
    found = json.loads(done[1].stdout)  # exactly one object
    assert isinstance(found, dict)
    return found


def test_the_adapter_beats_the_base_on_rows_nobody_trained_on(figures: dict[str, Any]) -> None:
    base, adapter = figures["base"]["held_out_loss"], figures["adapter"]["held_out_loss"]
    assert math.isfinite(base)
    assert adapter < base
    assert figures["improvement"] == pytest.approx(1 - adapter / base)


def test_the_adapter_stays_in_the_library(
    done: tuple[Path, subprocess.CompletedProcess[str]], figures: dict[str, Any]
) -> None:
    store = Store(done[0])
    kept = store.adapter(figures["adapter"]["id"])
    store.close()
    assert (kept.name, kept.sha256) == (figures["adapter"]["name"], figures["adapter"]["sha256"])
    assert kept.steps == figures["steps"]


def test_three_prompts_are_answered_by_both(figures: dict[str, Any]) -> None:
    assert len(figures["answers"]) == 3
    assert len({answer["prompt"] for answer in figures["answers"]}) == 3
    assert all(answer["base"] != answer["adapter"] for answer in figures["answers"])


def test_the_figures_say_what_they_were_measured_on(figures: dict[str, Any]) -> None:
    for name in ("seconds", "tokens_per_second", "peak_memory_bytes", "steps"):
        assert figures[name] > 0, name
    assert figures["machine"]["cores"] == os.cpu_count()
    assert {"python", "torch", "transformers"} <= set(figures["versions"])


def test_progress_goes_to_stderr(done: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    assert "Fine-tuning tiny on pirate-style" in done[1].stderr
