"""The weights of a base model, read from its safetensors files into transformers' own class, whole or not at all.

What a file lacks, transformers would fill with random numbers; what it has too much of would be passed over, though
code that comes with a model may have computed with it. Both are refused by name here. Knows nothing about devices,
quantising or tokenizers.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from engine import base_config

SHOWN = 5  # tensors that are named in a sentence; of the rest, how many
# Constants that older versions of transformers wrote beside the weights; they are computed today.
CONSTANTS = (".masked_bias", ".inv_freq")


def load(path: Path, dtype: torch.dtype) -> Any:
    """The model in the folder `path`, on the CPU and in `dtype`. No code that lies there is run.

    Raises:
        ValueError: in sentences, if its tensors are not exactly those that its config.json asks for.
        OSError, RuntimeError, LookupError, SafetensorError: as transformers and safetensors do.
    """
    model, told = AutoModelForCausalLM.from_pretrained(
        path,
        config=base_config.read(path),
        dtype=dtype,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are refused below, by name
    )
    if wrong := [*_misfits(model, told["missing_keys"], told["unexpected_keys"]), *_reshaped(told["mismatched_keys"])]:
        raise ValueError(" ".join(wrong))
    return model


def _reshaped(given: Iterable[tuple[str, Sequence[int], Sequence[int]]]) -> Iterator[str]:
    """Tensors of another shape than the settings ask for, a sentence each for the first few."""
    for name, here, wanted in sorted(given)[:SHOWN]:
        yield f"{name} is {_shape(here)}, and config.json asks for {_shape(wanted)}."


def _shape(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


def _misfits(model: Any, missing: Iterable[str], extra: Iterable[str]) -> list[str]:
    """What the file has too little or too much of, a sentence each."""
    computed = tuple(f".{name}" for name, _ in model.named_buffers())
    unknown = [name for name in extra if not f".{name}".endswith((*computed, *CONSTANTS))]
    kind = type(model).__name__
    found = []
    if lacking := sorted(missing):
        found.append(f"Its weights lack {_some(lacking)}, which {kind} has.")
    if unknown:
        found.append(f"Its weights hold {_some(sorted(unknown))}, which {kind} does not have.")
    return found


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
