"""Foreign and hostile adapters are refused in words, and nothing in them is run, followed or fetched."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from adapters_store.store import Store
from engine import adapter_files, models
from engine.adapter_files import CONFIG, WEIGHTS, AdapterError
from engine.peft_files import HARMLESS, UNDERSTOOD
from jobs import adapter_package
from studio import adapter_actions
from studio.actions import ActionError
from tests.foreign import (
    change,
    do_job,
    nothing_is_left,
)
from tests.workshop import add_base, shared_tiny_model

pytestmark = pytest.mark.usefixtures("one_thread_each")


def reshaped(folder: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    """Write the adapter's tensors again after `edit` has had its way with them."""
    tensors = load_file(folder / WEIGHTS)
    edit(tensors)
    save_file(tensors, folder / WEIGHTS)


A0 = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "another PEFT type": (lambda f: change(f, peft_type="LOHA"), "is of PEFT's type 'LOHA'"),
    "a classifier": (lambda f: change(f, task_type="SEQ_CLS"), "is for the task 'SEQ_CLS'"),
    "raw PiSSA": (lambda f: change(f, init_lora_weights="pissa"), "path_initial_model_for_weight_conversion"),
    "raw LoRA-GA": (lambda f: change(f, init_lora_weights="lora_ga"), "fits a changed base only"),
    "experts": (lambda f: change(f, target_parameters=["experts.w"]), "uses target_parameters"),
    "routing": (lambda f: change(f, arrow_config={"top_k": 2}), "uses arrow_config"),
    "code": (lambda f: change(f, custom="x", **{"a\nb": 1}), r"uses 'a\\nb', custom"),
    "a wrong shape": (lambda f: reshaped(f, lambda t: t.update({A0: torch.zeros(3, 32)})), "adapter expects 64 x 32"),
    "a wrong rank": (lambda f: reshaped(f, lambda t: t.update({A0: torch.zeros(2, 64)})), "no A and B of rank 3"),
    "integers": (lambda f: reshaped(f, lambda t: t.update({A0: torch.zeros(3, 64).long()})), "as 'I64', which no"),
    "not a number": (lambda f: reshaped(f, lambda t: t[A0].fill_(float("nan"))), "not finite numbers"),
    "infinite": (lambda f: reshaped(f, lambda t: t[A0].fill_(float("inf"))), "not finite numbers"),
    "very loud": (lambda f: reshaped(f, lambda t: t[A0].fill_(1e9)), "larger than training ever leaves"),
    "a layer missing": (
        lambda f: reshaped(f, lambda t: [t.pop(name) for name in list(t) if "layers.1.self_attn.q_proj" in name]),
        r"its config names model\.layers\.1\.self_attn\.q_proj, for which it holds nothing",
    ),
    "a layer too many": (lambda f: change(f, target_modules=["q_proj"]), "v_proj and 1 more beyond what its"),
    "a strange tensor": (lambda f: reshaped(f, lambda t: t.update(evil=torch.zeros(1))), "more than plain LoRA: evil"),
    "a value of the base": (
        lambda f: reshaped(f, lambda t: t.update({"base_model.model.model.norm.weight": torch.zeros(64)})),
        r"holds model\.norm\.weight beyond what its config names",
    ),
    "a bias it has not": (
        lambda f: reshaped(f, lambda t: t.update({"base_model.model.model.norm.bias": torch.zeros(64)})),
        r"model\.norm\.bias does not exist here",
    ),
    "an adapted embedding": (
        lambda f: reshaped(f, lambda t: t.update({"base_model.model.wte.lora_embedding_A": torch.zeros(1)})),
        "adapts an embedding",
    ),
    "a picture's adapter": (
        lambda f: reshaped(f, lambda t: t.update({"unet.down_blocks.0.lora_A.weight": torch.zeros(1)})),
        "for a model that makes pictures",
    ),
    "no tensors": (lambda f: reshaped(f, dict.clear), "holds no LoRA matrices"),
    "a saved module missing": (lambda f: change(f, modules_to_save=["norm"]), "input_layernorm.weight and 4 more"),
    "a pattern for ever": (
        lambda f: change(f, target_modules="(?=(.*)*(?=(.*)*(?=(.*)*(?=(.*)*x))))" * 9), "takes too long"),
    "a pattern of nothing": (lambda f: change(f, target_modules="("), "leaves a group open"),
    "a flag that is none": (lambda f: change(f, use_rslora=1), "has use_rslora 1, which is neither true nor false"),
    "a flag in words": (lambda f: change(f, use_dora="no"), "has use_dora 'no', which is neither true nor false"),
    "another base": (lambda f: change(f, target_modules=None) or rename(f, "q_proj", "wq"), "another base model"),
}  # fmt: skip


def rename(folder: Path, old: str, new: str) -> None:
    """Give tensors another name."""
    tensors = {name.replace(old, new): value for name, value in load_file(folder / WEIGHTS).items()}
    save_file(tensors, folder / WEIGHTS)


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_or_is_not_understood_is_refused_in_words_and_leaves_nothing(
    store: Store, no_runner: None, sound: Path, tmp_path: Path, case: str
) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "adapter"))
    damage, told = REFUSED[case]
    damage(folder)
    base = add_base(store)
    job = do_job(store, adapter_actions.import_adapter(store, folder, base.id).id)
    assert job.state == "failed"
    assert re.search(told, job.why), job.why
    assert "Something unforeseen" not in job.why
    assert str(store.files.root) not in job.why
    assert len(job.why) < 700
    assert nothing_is_left(store)
    assert store.adapters()[1] == 0


def test_nothing_a_config_names_is_imported_or_opened(
    store: Store, no_runner: None, sound: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "adapter"))
    evil = {"parent_library": "antigravity", "base_model_class": "X"}
    change(folder, auto_mapping=evil, base_model_name_or_path="../../../etc", megatron_core="antigravity")
    add_base(store)
    job = do_job(store, adapter_actions.import_adapter(store, folder).id)
    assert job.state == "completed"
    assert "antigravity" not in sys.modules
    kept = (store.adapter_path(store.adapter(job.adapter_id or 0)) / CONFIG).read_text()
    assert "antigravity" not in kept
    assert "etc" not in kept


def test_an_adapter_that_fits_no_base_is_told_so_before_a_job_is_made(
    store: Store, no_runner: None, sound: Path
) -> None:
    add_base(store, shared_tiny_model("gpt2"))
    with pytest.raises(ActionError, match="fits none of the base models here"):
        adapter_actions.import_adapter(store, sound)
    assert store.jobs() == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("(.*)+q"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)
KEYS = sorted(UNDERSTOOD | HARMLESS | {"peft_type", "task_type", "num_virtual_tokens", "format", "version", "method"})


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6), st.sampled_from(["LORA", "PROMPT_TUNING", None]))
def test_any_config_gives_an_adapter_or_an_error_in_words(
    sound: Path, meta: Any, values: dict[str, Any], kind: str | None
) -> None:
    config = json.loads((sound / CONFIG).read_text()) | values | ({"peft_type": kind} if kind else {})
    with adapter_package.opened(sound) as package:
        facts = package.tensors
    with contextlib.suppress(AdapterError):
        adapter_files.check_fits(adapter_files.foreseen(config, facts), meta)
        return


@pytest.fixture(scope="module")
def meta() -> Any:
    return models.without_weights(shared_tiny_model())
