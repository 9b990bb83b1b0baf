"""Every method, as a person at a terminal has it: asked for by command, trained, listed, exported, and answering.

One data folder for all of them; the base is the tiny GPT-2, which has a place for each method. The runs are done here,
one after the other, by what a worker process does: that workers are started and ended is tested elsewhere.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from adapters_store.store import Store
from adapters_store.tables import Adapter
from engine.settings import IN_THE_BASE, LOW_RANK, Method, RunSettings
from engine.sizing import count
from jobs.ask import Answerer
from studio import actions, asking
from studio.asking import Sampling
from studio.records import adapter_record
from tests.terminal import Terminal
from tests.tiny import tiny_rows
from tests.workshop import add_base, one_thread, shared_tiny_model

METHODS: tuple[Method, ...] = get_args(Method)
QUICK = ("--epochs", "1", "--batch-size", "8", "--length", "64")
CHOSEN: dict[Method, tuple[str, ...]] = {
    "lora": ("--rank", "4", "--start", "pissa", "--rank-pattern", "c_attn=2", "--base-precision", "full"),
    "dora": ("--rank", "4", "--bias", "lora_only", "--b-ratio", "16"),
    "bottleneck": ("--bottleneck", "8"),
    "prompt": ("--prompt-tokens", "4"),
    "blocks": ("--blocks", "1"),
}
NAMES = {
    "lora": "rows-r4",
    "dora": "rows-dora-r4",
    "bottleneck": "rows-bottleneck8",
    "prompt": "rows-prompt4",
    "bitfit": "rows-bitfit",
    "norms": "rows-norms",
    "blocks": "rows-blocks1",
    "full": "rows-full",
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A library in which one run of each method was asked for by command and has ended."""
    place = tmp_path_factory.mktemp("methods")
    rows = place / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in tiny_rows(24)))
    terminal, store = Terminal(place / "data"), Store(place / "data")
    add_base(store, shared_tiny_model("gpt2"))
    with one_thread():
        for method in METHODS:
            words = ("--method", method, "--data", str(rows), "--model", "tiny", *QUICK, *CHOSEN.get(method, ()))
            terminal.json("train", *words)
        yield store
    store.close()


def of(store: Store, method: Method) -> Adapter:
    return next(one for one in store.adapters(limit=50)[0] if one.settings["method"] == method)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_of_it_puts_an_adapter_in_the_library(library: Store, method: Method) -> None:
    adapter = of(library, method)
    assert adapter.name == NAMES[method]
    assert adapter.base_validation_loss is not None
    assert adapter.validation_loss != adapter.base_validation_loss
    record = adapter_record(adapter)
    assert record["described"].startswith(record["method"])
    assert record["rank"] == (4 if method in LOW_RANK else None)


@pytest.mark.parametrize("method", METHODS)
def test_its_log_says_where_it_ran_and_how_its_rows_went_through_the_model(library: Store, method: Method) -> None:
    job = of(library, method).job_id
    told = library.files.log(f"job-{job}").read_text()
    assert "There is no GPU that torch can use" in told
    # A soft prompt stands before every row, where no test vouches for packing.
    assert ("Rows are padded" if method == "prompt" else "without padding") in told


@pytest.mark.parametrize("method", METHODS)
def test_its_file_is_as_large_as_was_counted_before_the_run(library: Store, method: Method) -> None:
    adapter = of(library, method)
    file = (library.adapter_path(adapter) / "adapter_model.safetensors").read_bytes()
    header = int.from_bytes(file[:8], "little")
    counted = count(library.base_models()[0].facts, RunSettings.model_validate(adapter.settings))
    assert len(file) - 8 - header == counted.tensor_bytes


@pytest.mark.parametrize("method", METHODS)
def test_it_is_exported_whole_and_says_in_which_format(library: Store, method: Method, tmp_path: Path) -> None:
    file = tmp_path / "adapter.zip"
    actions.zip_adapter(library, of(library, method).id, file)
    ours = method in (*IN_THE_BASE, "bottleneck")
    config = "studio_adapter.json" if ours else "adapter_config.json"
    with zipfile.ZipFile(file) as archive:
        assert sorted(archive.namelist()) == sorted(["README.md", "adapter_model.safetensors", config])
        written: dict[str, Any] = json.loads(archive.read(config))
    if ours:
        assert (written["format"], written["method"]) == ("lora-studio-adapter", method)
    else:
        assert written["peft_type"] == ("PROMPT_TUNING" if method == "prompt" else "LORA")


def test_all_of_them_answer_beside_the_base_which_stays_what_it_was(library: Store) -> None:
    answerer = Answerer(library.files.log("answerer"))
    sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=6, seed=1)
    alone: set[str] = set()
    try:
        for few in (METHODS[:4], METHODS[4:]):
            adapters = [of(library, method) for method in few]
            answers = asking.answers_of(answerer, library, adapters, "What is rain?", "", sampling)
            assert [answer["id"] for answer in answers] == [None, *(adapter.id for adapter in adapters)]
            assert all(answer["tokens"] for answer in answers)
            alone.add(answers[0]["text"])
    finally:
        answerer.close()
    assert len(alone) == 1


def test_a_setting_of_another_method_is_refused_in_words(library: Store) -> None:
    refused = Terminal(library.files.root).run(
        "train", "--method", "norms", "--data", "rows", "--model", "tiny", "--rank", "8"
    )
    assert refused.returncode == 2
    assert "Rank (r) means nothing to the method Norms only." in refused.stderr


def test_the_help_says_what_each_method_is_and_what_it_can_be_told(library: Store) -> None:
    shown = " ".join(Terminal(library.files.root).run("train", "--help").stdout.split())
    assert "arXiv 2106.09685" in shown
    for heading, option in (("Settings of lora and dora:", "--rank"), ("Settings of prompt:", "--prompt-tokens")):
        assert shown.index(heading) < shown.index(option)
