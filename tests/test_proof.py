"""Proof of an answer: hashes that follow the tensors and nothing else."""

import dataclasses
import hashlib
from pathlib import Path

import pytest
import torch

from engine import proof
from engine.adapter import AdapterOnDisk
from engine.data.known_templates import KNOWN
from engine.data.template import PLAIN
from engine.methods import fit
from engine.methods.lora import LowRank
from engine.models import LoadedBase, load
from engine.settings import RunSettings
from tests.workshop import shared_tiny_model

PROMPT = [{"role": "user", "content": "Question 3: what is rain?"}]
ALPACA = KNOWN["alpaca"].text


@pytest.fixture(scope="module")
def base() -> LoadedBase:
    return load(shared_tiny_model())


def adapter(base: LoadedBase, size: float) -> AdapterOnDisk:
    """A rank-4 adapter on every q_proj whose B has entries of about `size`."""
    generator = torch.Generator().manual_seed(1)
    fitted = fit(base.model, RunSettings(rank=4, target_modules=["q_proj"]))
    paths = [path for path, layer in fitted.model.named_modules() if hasattr(layer, "lora_A")]
    updates = {}
    for path in paths:
        layer = fitted.model.get_submodule(path)
        b = size * torch.randn(layer.lora_B.shape, generator=generator)  # type: ignore[union-attr, arg-type]
        updates[path] = LowRank(layer.lora_A.detach().clone(), b, 2.0)  # type: ignore[union-attr, operator]
    fitted.remove()
    return AdapterOnDisk(Path(), "lora", updates)


def test_hashes_tell_every_change_of_the_tensors_that_answer_and_nothing_else(base: LoadedBase, tmp_path: Path) -> None:
    one, same, other = adapter(base, 0.3), adapter(base, 0.3), adapter(base, 0.2)
    path, update = next(iter(one.low_rank.items()))
    louder = dataclasses.replace(one, low_rank={**one.low_rank, path: dataclasses.replace(update, scaling=1.0)})
    elsewhere = dataclasses.replace(one, path=tmp_path)
    hashes = [proof.weights(base, who) for who in (one, same, elsewhere, other, louder, None)]
    assert hashes[0] == hashes[1] == hashes[2]
    assert len(set(hashes)) == 4
    assert all(len(hashed) == 64 for hashed in hashes)


def test_the_template_is_the_one_that_wrote_the_prompt_of_this_contestant(base: LoadedBase) -> None:
    own, taught = adapter(base, 0.3), dataclasses.replace(adapter(base, 0.3), template=ALPACA)
    its_own = hashlib.sha256(str(base.tokenizer.chat_template).encode()).hexdigest()
    assert proof.template(base, None) == proof.template(base, own) == its_own
    assert proof.template(base, taught) == hashlib.sha256(ALPACA.encode()).hexdigest() != its_own
    assert proof.template(base, dataclasses.replace(own, template=PLAIN)) is None


def test_the_hash_of_a_base_is_the_same_for_the_same_files(base: LoadedBase) -> None:
    assert proof.weights(base, None) == proof.weights(load(shared_tiny_model()), None)
