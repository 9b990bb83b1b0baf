"""What a user would pick instead: PEFT with transformers' Trainer, and TRL's SFTTrainer, each in a few configurations.

They get the same base, the same tokens and labels, the same starting values of A, rate, schedule and batch. Knows
nothing about how contestants are started or compared.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from engine.data.render import Example
from engine.methods import fit
from engine.models import LoadedBase
from engine.settings import RunSettings

Lap = Callable[[float | None], None]  # called after each optimizer step, with its loss where it is known


@dataclass(frozen=True)
class Rival:
    """A library and how it is set up."""

    title: str
    library: str  # peft or trl
    order: str = "random"  # random, grouped (by length), or recorded: as the rows come
    options: tuple[tuple[str, Any], ...] = ()


RIVALS = {
    "peft": Rival("PEFT + Trainer, defaults", "peft"),
    "peft-grouped": Rival("PEFT + Trainer, grouped by length", "peft", "grouped"),
    "trl": Rival("TRL SFTTrainer", "trl"),
    "trl-grouped": Rival("TRL SFTTrainer, grouped by length", "trl", "grouped"),
    "trl-flat": Rival("TRL SFTTrainer, padding-free", "trl", "random", (("padding_free", True),)),
    "peft-recorded": Rival("PEFT + Trainer, our batches", "peft", "recorded"),
}


def train(rival: Rival, base: LoadedBase, rows: list[Example], settings: RunSettings, begin: Lap, lap: Lap) -> Any:
    """Train one epoch and return the model. `begin` is called once all is built, `lap` after each optimizer step."""
    model = _with_peft(base, settings)
    if rival.order == "grouped":
        rows = _grouped(rows, settings.batch_size)
    arguments = {**_arguments(settings, len(rows)), **dict(rival.options)}
    if rival.order != "random":
        arguments["train_sampling_strategy"] = "sequential"
    build = _peft_trainer if rival.library == "peft" else _trl_trainer
    trainer = build(model, base.tokenizer, rows, arguments)
    trainer.add_callback(_laps(begin, lap))
    trainer.train()
    return model


def _with_peft(base: LoadedBase, settings: RunSettings) -> Any:
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

    config = LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    start = _start(base, settings)
    model = get_peft_model(base.model, config)
    set_peft_model_state_dict(model, start)
    return model


def _start(base: LoadedBase, settings: RunSettings) -> dict[str, Tensor]:
    """The values that our own A and B begin with, so that chance does not tell contestants apart."""
    fitted = fit(base.model, settings)
    tensors = fitted.tensors()
    fitted.remove()
    return tensors


def _grouped(rows: list[Example], batch: int) -> list[Example]:
    """The order of `group_by_length` within one of its large groups.

    It sorts groups of fifty batches; on so few rows as are measured here it would sort each batch by itself, which
    says nothing about a real data set.
    """
    from transformers.trainer_pt_utils import get_length_grouped_indices

    groups = math.ceil(len(rows) / batch)
    order = get_length_grouped_indices([len(row.ids) for row in rows], batch, mega_batch_mult=groups)
    return [rows[i] for i in order]


def _arguments(settings: RunSettings, rows: int) -> dict[str, Any]:
    steps = math.ceil(rows / settings.batch_size)
    return {
        "output_dir": tempfile.gettempdir(),  # nothing is saved
        "per_device_train_batch_size": settings.micro_batch,
        "gradient_accumulation_steps": max(1, settings.batch_size // settings.micro_batch),
        "num_train_epochs": 1,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.schedule,
        "warmup_steps": math.ceil(settings.warmup * steps),
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_gradient_norm,
        "seed": settings.seed,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "bf16": False,
        "dataloader_pin_memory": False,
    }


def _peft_trainer(model: Any, tokenizer: Any, rows: Sequence[Example], arguments: dict[str, Any]) -> Any:
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    made = [{"input_ids": row.ids, "labels": row.labels, "attention_mask": [1] * len(row.ids)} for row in rows]
    return Trainer(model, TrainingArguments(**arguments), DataCollatorForSeq2Seq(tokenizer), made)


def _trl_trainer(model: Any, tokenizer: Any, rows: Sequence[Example], arguments: dict[str, Any]) -> Any:
    """Gradient checkpointing, which TRL turns on by itself, is off: it costs time, and nobody else has it."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    made = Dataset.from_list([{"input_ids": row.ids, "labels": row.labels} for row in rows])
    prepared = {"skip_prepare_dataset": True}
    config = SFTConfig(**arguments, gradient_checkpointing=False, max_length=None, dataset_kwargs=prepared)
    return SFTTrainer(model, config, train_dataset=made, processing_class=tokenizer)


def _laps(begin: Lap, lap: Lap) -> Any:
    from transformers import TrainerCallback

    class Laps(TrainerCallback):  # type: ignore[misc]
        """Tells of each optimizer step when its loss is logged, which is the last thing that belongs to it."""

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            begin(None)

        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            if "loss" in logs:
                lap(logs["loss"])

    return Laps()
