"""A model in one GGUF file, converted once to a folder with safetensors.

What comes out are the numbers that the file holds, dequantised to fp32: exactly what llama.cpp computes with, not the
weights that were quantised in the first place. transformers does the reading; this module says beforehand, in words,
what it could not read. Knows nothing about where files come from.
"""

import functools
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from engine.disk import is_gguf
from engine.stowaway import stowaway

BYTES_A_NUMBER = 4  # fp32
SPARE_BYTES = 200_000_000  # the library needs room beside a new model
# What transformers raises at a file that it does not understand, or for which a package is missing.
_CANNOT_READ = (ValueError, LookupError, TypeError, AttributeError, RuntimeError, ImportError)

Progress = Callable[[str, int, int], None]  # (what is going on, bytes done, bytes in all)


class GgufError(ValueError):
    """A GGUF file that cannot become a base model. `problems` names all that is wrong, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = problems


def convert(file: Path, into: Path, progress: Progress) -> None:
    """Write the model in `file` into the empty folder `into`: config, tokenizer with chat template, safetensors, fp32.

    Raises:
        GgufError: with all that keeps the file from becoming a base model.
    """
    with _each_read_once():
        progress("Looking at the file", 0, 0)
        check(file, into)
        progress("Converting to safetensors", 0, 0)
        _convert(file, into)


@contextmanager
def _each_read_once() -> Iterator[None]:
    """Within it, the head of a file is read once, and each table of names is made once.

    transformers asks for the head at four places and for the table at every module of the model. A head with a
    vocabulary of 49,152 takes seconds each time. If it comes to ask in another way, a conversion is slow and no less
    right.
    """
    makers = {name: getattr(gguf, name) for name in ("GGUFReader", "get_tensor_name_map")}
    for name, make in makers.items():
        setattr(gguf, name, functools.cache(make))
    try:
        yield
    finally:
        for name, make in makers.items():
            setattr(gguf, name, make)


def check(file: Path, into: Path) -> None:
    """Check, from the head of `file` and without its weights, that it can be converted into the folder `into`.

    Raises:
        GgufError: with all that is wrong.
    """
    if not is_gguf(file):
        raise GgufError([f"{file} is no GGUF file."])
    try:
        reader = gguf.GGUFReader(str(file))
    except (ValueError, KeyError, IndexError, OSError) as error:
        told = f"{file.name} cannot be read: it is cut short, damaged or of a newer kind. Download it again."
        raise GgufError([told]) from error
    problems = [*stowaway(file.parent, str(file.parent))]
    problems += [*_of_parts(file, reader), *_of_tokenizer(file, reader), *_of_numbers(file, reader)]
    problems += _of_architecture(file)
    problems += _of_room(reader, into)
    if problems:
        raise GgufError(problems)


def _of_parts(file: Path, reader: Any) -> Iterator[str]:
    parts = reader.get_field("split.count")
    if parts is not None and parts.contents() > 1:
        yield (
            f"{file.name} is one of {parts.contents()} parts. "
            "Merge them first: llama-gguf-split --merge FIRST_PART OUTPUT."
        )


def _of_tokenizer(file: Path, reader: Any) -> Iterator[str]:
    if reader.get_field("tokenizer.ggml.tokens") is None:
        yield f"{file.name} has no tokenizer. Look for a version of the model that brings one."


def _of_numbers(file: Path, reader: Any) -> Iterator[str]:
    """Ways of quantising that cannot be undone here."""
    kinds = sorted({tensor.tensor_type for tensor in reader.tensors})
    unknown = [kind.name for kind in kinds if not _can_dequantise(kind)]
    if unknown:
        yield (
            f"{file.name} is quantised as {', '.join(unknown)}, which cannot be read here. "
            "Take a version in Q4_0, Q4_K_M, Q5_K_M, Q6_K, Q8_0, F16 or BF16."
        )


def _can_dequantise(kind: Any) -> bool:
    """Asked of the library itself, with one block of zeros."""
    _, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    try:
        gguf.dequantize(np.zeros((1, block_bytes), np.uint8), kind)
    except NotImplementedError:
        return False
    except ValueError:  # plain numbers do not come as bytes
        return True
    return True


def _of_architecture(file: Path) -> Iterator[str]:
    from transformers import AutoConfig

    from engine import base_config

    try:
        config = AutoConfig.from_pretrained(file.parent, gguf_file=file.name, local_files_only=True)
    except (*_CANNOT_READ, OSError) as error:
        yield f"{file.name} cannot be read by this version of transformers: {_first_line(error)}."
    else:
        yield from base_config.problems({"model_type": config.model_type}, file.name)


def _of_room(reader: Any, into: Path) -> Iterator[str]:
    needed = sum(int(tensor.n_elements) for tensor in reader.tensors) * BYTES_A_NUMBER + SPARE_BYTES
    free = shutil.disk_usage(into).free
    if needed > free:
        yield f"Converted it takes {needed / 1e9:.1f} GB, and the disk has {free / 1e9:.1f} GB free. Free some space."


def _convert(file: Path, into: Path) -> None:
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    given: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **given)
        dequantised = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **given)
        # What comes from a GGUF is still marked as quantised, though it no longer is, and will not be saved. A model
        # built anew from the same config carries no such mark. It takes over the numbers without a second copy.
        config = dequantised.config
        del config.quantization_config
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        model.load_state_dict(dequantised.state_dict(), assign=True)
        model.tie_weights()
        model.generation_config = dequantised.generation_config
        model.save_pretrained(into)
        tokenizer.save_pretrained(into)
    except _CANNOT_READ as error:
        told = f"{file.name} cannot be read by this version of transformers: {_first_line(error)}."
        raise GgufError([told]) from error
    except (OSError, SafetensorError) as error:
        told = f"The converted model could not be written: {_first_line(error)}. Free some space and retry."
        raise GgufError([told]) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")[:300]
