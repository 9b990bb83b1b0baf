"""Adapters from elsewhere: written by the real `peft`, zipped, changed, and taken in by a job. For several tests."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adapters_store.store import Store
from adapters_store.tables import Job
from engine import adapter_files, models
from engine.adapter_files import CONFIG
from engine.methods.attach import attached
from jobs.ending import Ending
from jobs.worker import do
from tests.workshop import shared_tiny_model

CPU = models.Device("cpu", "CPU", torch.float32, "a test")
IDS = torch.randint(3, 300, (2, 19), generator=torch.Generator().manual_seed(5))


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


def same(ours: Tensor, theirs: Tensor, within: float) -> None:
    torch.testing.assert_close(ours, theirs, atol=within, rtol=0)


def in_peft_again(kind: str, folder: Path) -> Tensor:
    from peft import PeftModel

    adapted = PeftModel.from_pretrained(models.load(shared_tiny_model(kind), CPU).model, folder)
    logits: Tensor = adapted.eval()(IDS).logits.detach()
    return logits


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


def nothing_is_left(store: Store) -> bool:
    root = store.files.root
    return not any((root / "temp").iterdir()) and not any((root / "adapters").iterdir())
