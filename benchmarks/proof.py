"""What proof costs beside the answers it is for: a comparison of the base and three adapters, then its proof.

    python -m benchmarks.proof MODEL_FOLDER [--threads N] [--tokens N]

LoRA adapters of rank 16 on all linear layers, with B moved away from zero. Answers are greedy, of a fixed length unless
somebody ends earlier. Knows nothing about the page.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from engine import models, proof
from engine.adapter import AdapterOnDisk
from engine.along import along
from engine.generate import compare
from engine.methods import fit
from engine.methods.lora import LoRALinear, LowRank
from engine.models import LoadedBase
from engine.settings import RunSettings

ADAPTERS = 3
ASKED = [{"role": "user", "content": "Tell me a long story about a ship in the ice."}]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--tokens", type=int, default=100)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    base = models.load(given.folder)
    who = [None, *(_adapter(base, seed) for seed in range(ADAPTERS))]
    began = time.perf_counter()
    *_, last = compare(base, who, ASKED, temperature=0, max_tokens=given.tokens)
    answered = time.perf_counter()
    read_again = along(base, who, [ASKED] * len(who), last.ids)
    read = time.perf_counter()
    moved = [one and one.divergence for one in read_again]
    for one in who[1:]:
        proof.weights(base, one)
    of_adapters = time.perf_counter()
    proof.weights(base, None)
    of_base = time.perf_counter()
    print(f"{given.folder.name}, {given.threads} threads, torch {torch.__version__}, tokens {last.tokens}")
    print(f"answers {answered - began:.2f} s; distances {read - answered:.2f} s (KL {moved})")
    print(f"hashes: adapters {of_adapters - read:.2f} s, base, once while loaded, {of_base - of_adapters:.2f} s")


def _adapter(base: LoadedBase, seed: int) -> AdapterOnDisk:
    draw = torch.Generator().manual_seed(seed)
    fitted = fit(base.model, RunSettings(rank=16, alpha=32, seed=seed))
    layers = {path: layer for path, layer in fitted.model.named_modules() if isinstance(layer, LoRALinear)}
    updates = {
        path: LowRank(layer.lora_A.detach().clone(), 0.01 * torch.randn(layer.lora_B.shape, generator=draw), 2.0)
        for path, layer in layers.items()
    }
    fitted.remove()
    return AdapterOnDisk(Path(), "lora", updates)


if __name__ == "__main__":
    main()
