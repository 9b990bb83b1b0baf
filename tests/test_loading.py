"""Loading a base model: nothing but the base comes in, and what cannot be loaded is told in words."""

from pathlib import Path
from typing import Any

import pytest
from transformers import GPT2Config, GPT2LMHeadModel

from engine import models
from engine.models import ModelError
from tests.tiny import make_tiny_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "tiny")


def test_an_adapter_in_the_folder_of_a_base_is_never_loaded_with_it(folder: Path) -> None:
    from peft import LoraConfig, get_peft_model

    other: Any = get_peft_model(models.load(folder).model, LoraConfig(target_modules=["q_proj"]))
    other.save_pretrained(folder)
    with pytest.raises(ModelError, match=r"with an adapter beside it\. Move adapter_config\.json out"):
        models.load(folder)
    (folder / "adapter_config.json").unlink()
    assert not any("lora" in name for name, _ in models.load(folder).model.named_parameters())


def test_a_folder_that_is_an_adapter_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"is an adapter, .* or import the folder as an adapter") as told:
        models.check_folder(tmp_path)
    assert len(told.value.problems) == 4


def test_a_base_that_stumbles_over_its_first_tokens_is_refused_in_words(folder: Path) -> None:
    config = GPT2Config.from_pretrained(make_tiny_model(folder.parent / "gpt2", "gpt2"))
    config.n_positions = 1  # too few to try two tokens
    GPT2LMHeadModel(config).save_pretrained(folder)
    with pytest.raises(ModelError, match="cannot be loaded"):
        models.load(folder)


def test_a_base_with_few_positions_is_tried_on_as_many_tokens_as_it_takes(folder: Path) -> None:
    config = GPT2Config.from_pretrained(make_tiny_model(folder.parent / "gpt2", "gpt2"))
    config.n_positions = 5
    GPT2LMHeadModel(config).save_pretrained(folder)
    assert models.load(folder).model.config.n_positions == 5
