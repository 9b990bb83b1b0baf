"""Rows in the order they are learned, and as right-padded tensors.

Everything here follows from the seed alone, so that a run can be repeated. Causal models need no attention mask over
padding on the right: no real token sees a later one, and padding carries no label.

Knows nothing about models or the meaning of rows.
"""

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from engine.data.render import IGNORED, Example

WINDOW = 8  # batches sorted by length together: little padding, and still a random order


def epoch_batches(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Indices of each batch of one epoch: shuffled, rows of like length together, batches shuffled again.

    Every index comes once; all batches but one have `batch_size` rows.
    """
    shuffle = random.Random(f"epoch {seed} {epoch}")
    order = list(range(len(lengths)))
    shuffle.shuffle(order)
    batches = []
    for start in range(0, len(order), WINDOW * batch_size):
        window = sorted(order[start : start + WINDOW * batch_size], key=lambda i: lengths[i])
        batches += [window[i : i + batch_size] for i in range(0, len(window), batch_size)]
    shuffle.shuffle(batches)
    return batches


def collate(examples: Sequence[Example], pad: int) -> tuple[Tensor, Tensor]:
    """Right-padded ids and labels, both (B, T) int64, T the longest row."""
    longest = max(len(e.ids) for e in examples)
    ids = torch.full((len(examples), longest), pad)
    labels = torch.full((len(examples), longest), IGNORED)
    for row, example in enumerate(examples):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        labels[row, : len(example.ids)] = torch.tensor(example.labels)
    return ids, labels


def moved(tensor: Tensor, device: str) -> Tensor:
    """A tensor from here on `device`; on an NVIDIA GPU without waiting until it has arrived."""
    return tensor.pin_memory().to(device, non_blocking=True) if device == "cuda" else tensor.to(device)
