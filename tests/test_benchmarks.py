"""What the benchmarks count and how they write it down. What they measure belongs to a machine, and is not tested."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import generation, processes
from benchmarks.__main__ import PARTS, write, write_some
from benchmarks.contestant import BATCH, run_settings
from benchmarks.data_sets import TITLES, data_set
from benchmarks.table import Options, Row, markdown
from benchmarks.work import Parted, operations, shared_prefix, size_of
from engine import models
from engine.data.batches import collate
from engine.data.render import IGNORED, Example
from engine.methods import fit
from tests.workshop import shared_tiny_model


def loaded() -> models.LoadedBase:
    return models.load(shared_tiny_model(), models.Device("cpu", "CPU", torch.float32, "a test"))


def row(ids: list[int], learned_from: int = 0) -> Example:
    return Example(ids, [IGNORED] * learned_from + ids[learned_from:], len(ids))


def test_the_useful_operations_are_those_that_torch_counts_on_a_row_without_padding() -> None:
    model = loaded().model
    model.set_attn_implementation("eager")
    config = LoraConfig(r=16, target_modules="all-linear")
    batch = [row(list(range(10, 74)))]
    ids, labels = collate(batch, pad=0)
    before = size_of(model, 0)
    adapted = get_peft_model(model, config)
    size = replace(before, adapter=sum(p.numel() for p in adapted.parameters() if p.requires_grad))
    with FlopCounterMode(display=False) as counter:
        logits = adapted(input_ids=ids, use_cache=False).logits[:, :-1]
        torch.autograd.backward(torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten()))
    # Torch multiplies whole squares of attention, and a row of logits for the last token.
    tokens, counted = 64, counter.get_total_flops()
    squares = 12 * size.attention * (tokens * tokens - tokens * (tokens + 1) // 2)
    assert operations(batch, size) == pytest.approx(counted - squares - 4 * size.head, rel=0.01)


def test_a_beginning_that_all_rows_share_counts_once() -> None:
    size = size_of(loaded().model, 1000)
    apart = [row([1, *range(10, 40)], 20), row([2, *range(10, 40)], 20)]
    alike = [row([1, *range(10, 30), 5, 6], 21), row([1, *range(10, 30), 7, 8], 21)]
    assert shared_prefix(apart) == 0
    assert shared_prefix(alike) == 21
    assert operations(apart, size) == 2 * operations(apart[:1], size)
    assert operations(alike, size) < 1.2 * operations(alike[:1], size)


def test_time_is_parted_at_the_embedding_and_at_the_end_of_the_way_back() -> None:
    base = loaded()
    fit(base.model, run_settings())
    parted = Parted()
    ids = torch.arange(10, 40)[None]
    with parted.watching(base.model):
        with torch.no_grad():
            base.model(input_ids=ids)
        assert parted.computing == 0
        torch.autograd.backward(base.model(input_ids=ids).logits.mean())
        once = parted.computing
        assert once > 0
        base.model(input_ids=ids).logits.mean().backward()
    assert parted.computing > once
    assert torch.autograd.backward.__name__ == "backward"


@pytest.mark.parametrize("name", TITLES)
def test_everybody_learns_the_same_rows_and_is_measured_on_others(name: str) -> None:
    made, again = data_set(name, 2 * BATCH), data_set(name, 2 * BATCH)
    assert made == again
    assert len(made.train) == 2 * BATCH
    assert not [one for one in made.validation if one in made.train]


def test_a_missed_target_is_said_in_the_table() -> None:
    text = markdown([Row("Speed | one", "1 s", target="<= 0.5 s", met=False), Row("Speed, two", "2 s")])
    first, second = text.splitlines()[2:]
    assert first == r"| Speed \| one | 1 s |  |  | <= 0.5 s | **no** |"
    assert second == "| Speed, two | 2 s |  |  |  |  |"


def test_generation_is_measured_with_contestants_in_one_batch_too(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def run(module: str, given: Sequence[str], options: Options) -> str:
        asked.append([module, *given])
        return json.dumps([asdict(Row(f"row {len(asked)}", "1 s"))])

    monkeypatch.setattr(processes, "run", run)
    assert [row.what for row in generation.rows(Options(Path("starter"), threads=2))] == ["row 1", "row 2"]
    assert ["--contestants" in words for words in asked] == [False, True]


def test_one_part_is_measured_again_and_the_others_stay(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    sections = {name: f"## {title}\n\nmeasured in May\n" for name, title in PARTS.items()}
    for name in reversed(PARTS):
        write(document, name, sections[name])
    write(document, "training", "## Training\n\nmeasured in June\n")
    text = document.read_text("utf-8")
    assert text.count("measured in May") == len(PARTS) - 1
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == list(PARTS.values())
    assert text.index("measured in June") < text.index("measured in May")


def test_one_data_set_is_measured_again_and_the_rows_of_others_stay(tmp_path: Path) -> None:
    document, (one, other) = tmp_path / "benchmarks.md", [TITLES[name] for name in ("short-system", "uneven")]

    def section(month: str, *about: str) -> str:
        rows = [Row(f"Speed on {title}", f"measured in {month}") for title in about]
        return f"## Training\n\n{month}: a machine\n\n{markdown(rows)}\n"

    write(document, "training", section("May", other, one, "growing"))
    write(document, "page", "## Page and command line\n\n| load | measured in May |\n")
    for month in ("June", "July"):
        write_some(document, "training", one, section(month, one))
    _, training, page = document.read_text("utf-8").split("\n## ")
    assert training.count("measured in") == 3
    assert training.splitlines()[2:4] == ["May: a machine", f"Rows about {one}, July: a machine"]
    assert [line.split(" | ")[:2] for line in training.splitlines()[7:10]] == [
        [f"| Speed on {other}", "measured in May"],
        [f"| Speed on {one}", "measured in July"],
        ["| Speed on growing", "measured in May"],
    ]
    assert "measured in May" in page
