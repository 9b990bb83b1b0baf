"""Adapters that the real `peft` wrote compute the same here, and foreign or hostile ones are refused in words."""

from __future__ import annotations

import json
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from adapters_store.store import Store
from adapters_store.tables import Job
from engine import adapter_files, models
from engine.adapter_files import CONFIG, WEIGHTS
from engine.methods import fit
from engine.methods.attach import attached
from engine.methods.stored import load_stored
from engine.settings import parse
from jobs import process, runner
from jobs.ending import Ending
from jobs.worker import do
from studio import adapter_actions
from tests.workshop import add_base, one_thread, shared_tiny_model

CPU = models.Device("cpu", "CPU", torch.float32, "a test")
IDS = torch.randint(3, 300, (2, 19), generator=torch.Generator().manual_seed(5))


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def in_peft(kind: str, folder: Path, **config: Any) -> Tensor:
    """Have `peft` write an adapter with these settings and numbers of its own; what the adapted model computes."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(3)
    config.setdefault("task_type", "CAUSAL_LM")
    adapted: Any = get_peft_model(models.load(shared_tiny_model(kind), CPU).model, LoraConfig(**config))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape))
                assert "lora_A" not in name or float(parameter.abs().max()) > 0
    logits: Tensor = adapted.eval()(IDS).logits.detach()
    adapted.save_pretrained(folder)
    return logits


def change(folder: Path, **changes: Any) -> None:
    """Write other values into the adapter's config."""
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | changes))


def logits_here(base: models.LoadedBase, folder: Path) -> Tensor:
    adapter = adapter_files.read(folder)
    adapter_files.check_fits(adapter, base.model)
    with torch.no_grad(), attached(base.model, [adapter]):
        logits: Tensor = base.model(IDS).logits
    return logits


WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "a list of names": ("llama", {"r": 3, "lora_alpha": 10, "target_modules": ["q_proj", "down_proj"]}),
    "a path": ("llama", {"r": 3, "target_modules": ["model.layers.1.self_attn.v_proj"]}),
    "an ending of a path": ("llama", {"r": 3, "target_modules": ["self_attn.v_proj", "0.mlp.up_proj"]}),
    "a pattern": ("llama", {"r": 3, "target_modules": r".*layers\.[1-9]\..*\.(q|v)_proj"}),
    "all-linear": ("llama", {"r": 2, "target_modules": "all-linear"}),
    "all-linear, Conv1D": ("gpt2", {"r": 2, "target_modules": "all-linear", "fan_in_fan_out": True}),
    "null": ("llama", {"r": 3, "target_modules": None}),
    "null, Conv1D": ("gpt2", {"r": 3, "fan_in_fan_out": True}),
    "the head": ("gpt2", {"r": 3, "target_modules": ["c_attn", "lm_head"], "fan_in_fan_out": True}),
    "ranks and alphas": (
        "llama",
        {
            "r": 4,
            "lora_alpha": 12,
            "target_modules": ["q_proj", "v_proj", "up_proj"],
            "rank_pattern": {r"layers\.1\..*q_proj": 2, "q_proj": 5, "model.layers.0.mlp.up_proj": 3},
            "alpha_pattern": {"v_proj": 3, r"layers.\d.mlp.*": 7.5},
        },
    ),
    "some layers": ("llama", {"r": 3, "target_modules": ["q_proj", "up_proj"], "layers_to_transform": [1]}),
    "one layer of a list": (
        "gpt2",
        {"r": 3, "target_modules": ["c_attn"], "layers_to_transform": 0, "layers_pattern": "h", "fan_in_fan_out": True},
    ),
    "some left out": ("llama", {"r": 3, "target_modules": "all-linear", "exclude_modules": ["mlp.up_proj", "q_proj"]}),
    "some left out by a pattern": ("llama", {"r": 3, "target_modules": ["q_proj"], "exclude_modules": r".*\.0\..*"}),
    "modules saved": ("gpt2", {"r": 3, "target_modules": ["c_attn"], "modules_to_save": ["ln_f", "ln_1"]}),
    "an embedding saved apart": ("gpt2", {"r": 3, "target_modules": ["c_attn"], "modules_to_save": ["wte"]}),
    "a whole part saved": ("llama", {"r": 3, "target_modules": "all-linear", "modules_to_save": ["0.mlp", "norm"]}),
    "a head saved apart": ("llama", {"r": 3, "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}),
    "an embedding saved with its head": (
        "llama",
        {"r": 3, "target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
    ),
    "rank-stabilised": ("llama", {"r": 9, "lora_alpha": 16, "target_modules": ["q_proj"], "use_rslora": True}),
    "DoRA": ("llama", {"r": 3, "target_modules": ["q_proj", "down_proj"], "use_dora": True}),
    "DoRA, Conv1D": ("gpt2", {"r": 3, "target_modules": ["c_attn", "c_proj"], "use_dora": True, "use_rslora": True}),
    "all biases": ("gpt2", {"r": 3, "target_modules": ["c_attn"], "bias": "all"}),
    "biases of its layers": ("gpt2", {"r": 3, "target_modules": ["c_attn", "c_fc"], "bias": "lora_only"}),
}
# A run adapts layers of the blocks only, and keeps what is tied.
BEYOND_A_RUN = ("the head", "a head saved apart", "an embedding saved apart")


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def base(request: pytest.FixtureRequest) -> models.LoadedBase:
    return models.load(shared_tiny_model(request.param), CPU)


def on_meta(base: models.LoadedBase) -> Any:
    """The base model without weights, as an import sees it."""
    return models.without_weights(base.path)


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to:UserWarning")
@pytest.mark.filterwarnings("ignore:.*tie_word_embeddings.*:UserWarning")
@pytest.mark.filterwarnings("ignore:.*[Tt]ied.*:UserWarning")
@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning")
@pytest.mark.parametrize("way", WAYS)
def test_what_peft_wrote_computes_the_same_here_and_after_it_was_taken_over(way: str, tmp_path: Path) -> None:
    kind, config = WAYS[way]
    theirs, source, target = in_peft(kind, tmp_path / "theirs", **config), tmp_path / "theirs", tmp_path / "ours"
    base = models.load(shared_tiny_model(kind), CPU)
    same(logits_here(base, source), theirs, 1e-5)  # by rows, where the scaling is folded into B

    target.mkdir()
    adapter = adapter_files.take_over(source, target, base_name="tiny", model=on_meta(base))
    assert sorted(file.name for file in target.iterdir()) == ["README.md", CONFIG, WEIGHTS]
    same(logits_here(base, target), theirs, 1e-5)
    same(in_peft_again(kind, target), theirs, 1e-6)

    if way not in BEYOND_A_RUN:  # a run goes on from it: the same layers in the same shapes, and no others
        fitted = fit(base.model, parse(adapter_files.shape_settings(adapter, on_meta(base))))
        load_stored(fitted, adapter_files.read(target))
        with torch.no_grad():
            same(base.model(IDS).logits, theirs, 1e-5 if "DoRA" in way else 1e-6)
        fitted.remove()


def same(ours: Tensor, theirs: Tensor, within: float) -> None:
    torch.testing.assert_close(ours, theirs, atol=within, rtol=0)


def in_peft_again(kind: str, folder: Path) -> Tensor:
    from peft import PeftModel

    adapted = PeftModel.from_pretrained(models.load(shared_tiny_model(kind), CPU).model, folder)
    logits: Tensor = adapted.eval()(IDS).logits.detach()
    return logits


# --- as a job ---------------------------------------------------------------------------------------------------------


def plain_adapter(folder: Path, kind: str = "llama", **config: Any) -> Path:
    in_peft(kind, folder, **{"r": 3, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj"], **config})
    return folder


def zipped(folder: Path, to: Path, top: str = "") -> Path:
    with zipfile.ZipFile(to, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"{top}{file.name}")
    return to


def do_job(store: Store, job_id: int) -> Job:
    """Do a job in this process, as a worker does."""
    assert do(store, job_id, Ending()) == 0
    return store.job(job_id)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No runner is started: the test does the jobs itself."""
    monkeypatch.setattr(runner, "ensure", lambda root: None)


def nothing_is_left(store: Store) -> bool:
    root = store.files.root
    return not any((root / "temp").iterdir()) and not any((root / "adapters").iterdir())


def test_a_worker_process_imports_a_zip_and_the_library_lists_it(store: Store, tmp_path: Path, asked: None) -> None:
    folder = plain_adapter(tmp_path / "peft", rank_pattern={"v_proj": 2}, bias="none")
    base = add_base(store)
    upload = zipped(folder, tmp_path / "pirate.zip", "pirate/")
    job = adapter_actions.import_adapter(store, upload, upload=True)
    assert not upload.exists()
    command = process.module_command("jobs.worker", str(job.id), "--data-dir", str(store.files.root))
    assert subprocess.run(command, timeout=120, check=False).returncode == 0

    done = store.job(job.id)
    assert (done.state, done.why) == ("completed", "")
    (adapter,), _ = store.adapters()
    assert (adapter.name, adapter.base_model.id, adapter.method, adapter.rank, adapter.alpha) == (
        "pirate", base.id, "LoRA", 3, 6
    )  # fmt: skip
    assert (adapter.target_modules, adapter.data_set, adapter.job_id) == (["q_proj", "v_proj"], None, job.id)
    assert parse(adapter.settings).rank_pattern == {"v_proj": 2}
    assert store.files.problems("adapters", adapter.folder) == []
    loaded = models.load(shared_tiny_model(), CPU)
    same(logits_here(loaded, store.adapter_path(adapter)), logits_here(loaded, folder), 0)
    assert not any((store.files.root / "temp").iterdir())
