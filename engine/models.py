"""Base models: is this folder one, what is it made of, where will it run, and load it.

The one place that decides on device and dtype, with the reason. A base model is a folder in transformers' format with
safetensors weights; code and pickles that come with a folder are never run. Knows nothing about adapters or data.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine import anatomy, base_config, base_weights, causality, quantised, tokenizer_config
from engine.data.known_templates import with_template
from engine.data.template import PLAIN
from engine.methods.inject import linear_layers
from engine.methods.lora import features
from engine.paths import last_name
from engine.settings import titles
from engine.sizing import fits_precision
from engine.stowaway import stowaway

if TYPE_CHECKING:
    from engine.adapter import AdapterOnDisk

PRECISIONS = titles("base_precision")  # how each is called


# What transformers raises when a config has values that make no model, or wants a package that is not here.
_BAD_VALUES = (ArithmeticError, AssertionError, AttributeError, KeyError, RuntimeError, TypeError, ValueError)
_NO_MODEL = (*_BAD_VALUES, ImportError, OSError, StrictDataclassError)


class ModelError(ValueError):
    """A folder that cannot serve as a base model. `problems` names all that is wrong, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Hardware:
    """What torch found. A test makes its own."""

    cuda_name: str = ""
    cuda_bf16: bool = False
    mps: bool = False
    cpu_threads: int = 1
    cpu_bf16: bool = False


@dataclass(frozen=True)
class Device:
    """Where a model runs, in which dtype, and why, in a sentence."""

    kind: str  # cuda, mps or cpu
    name: str
    dtype: torch.dtype
    why: str
    compute_dtype: torch.dtype = torch.float32  # what quantised layers multiply in


@dataclass
class LoadedBase:
    """A base model in memory with its tokenizer. The model is in eval mode and frozen."""

    model: Any
    tokenizer: Any
    device: Device
    path: Path
    precision: str = "full"  # full, int8 or nf4

    def tokenizer_of(self, contestant: "AdapterOnDisk | None") -> Any:
        """The tokenizer with the chat template that a contestant was taught; None is the base model itself."""
        template = contestant.template if contestant else None
        return with_template(self.tokenizer, template) if template else self.tokenizer


def find_hardware() -> Hardware:
    """Ask torch what this machine has. What it would only emulate, slowly, does not count."""
    threads, bf16 = torch.get_num_threads(), _cpu_has_bf16()
    if torch.cuda.is_available():
        facts = torch.cuda.get_device_properties(0)
        cuda_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return Hardware(facts.name, cuda_bf16, cpu_threads=threads, cpu_bf16=bf16)
    return Hardware(mps=torch.backends.mps.is_available(), cpu_threads=threads, cpu_bf16=bf16)


def _cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bf16 itself. torch tells of x86 only (AVX-512 BF16, AMX); any other counts as not."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def choose_device(hardware: Hardware | None = None, precision: str = "full", base_trained: bool = False) -> Device:
    """The best device for training here, the dtypes on it and why.

    Args:
        base_trained: whether parameters of the base itself are to be trained, which takes fp32: the steps of an
            optimizer are mostly smaller than what bf16 can tell apart.

    Raises:
        ModelError: if the base cannot be kept in `precision` there.
    """
    found = hardware or find_hardware()
    device = _plain_device(found)
    if base_trained and device.dtype != torch.float32:
        why = "An NVIDIA GPU is here; fp32, as the base's own weights are trained and bf16 would swallow small steps."
        return replace(device, dtype=torch.float32, why=why)
    return device if precision == "full" else _quantised_device(found, device, precision)


def _plain_device(found: Hardware) -> Device:
    if found.cuda_name:
        dtype = torch.bfloat16 if found.cuda_bf16 else torch.float32
        why = "its hardware computes bf16" if found.cuda_bf16 else "it has no bf16, and fp16 overflows in training"
        return Device("cuda", found.cuda_name, dtype, f"An NVIDIA GPU is here; {why}.")
    if found.mps:
        why = "Apple's GPU is here; fp32, as bf16 is not exact enough in all of its kernels."
        return Device("mps", "Apple GPU", torch.float32, why)
    threads = found.cpu_threads
    return Device(
        "cpu", f"CPU, {threads} threads", torch.float32, "There is no GPU that torch can use; the CPU computes fp32."
    )


def _quantised_device(found: Hardware, device: Device, precision: str) -> Device:
    """The same device for a base in few bits. bf16 halves the time of its products where the hardware has it; where it
    is emulated they take many times as long."""
    name = PRECISIONS[precision]
    if device.kind == "mps":
        raise ModelError(
            [f"A base in {name} needs an NVIDIA GPU or a CPU; on Apple's GPU choose the base precision Full."]
        )
    bf16 = found.cuda_bf16 if device.kind == "cuda" else found.cpu_bf16
    where = "An NVIDIA GPU is here" if device.kind == "cuda" else "There is no GPU that torch can use"
    what = "GPU" if device.kind == "cuda" else "CPU"
    how = f"bf16, which this {what} has" if bf16 else f"fp32, as this {what} has no bf16"
    why = f"{where}. Base in {name}: its linear layers multiply in {how}; all else is {_short(device.dtype)}."
    compute_dtype = torch.bfloat16 if bf16 else torch.float32
    return replace(device, why=why, compute_dtype=compute_dtype)


def _short(dtype: torch.dtype) -> str:
    return "bf16" if dtype == torch.bfloat16 else "fp32"


def check_folder(path: Path) -> None:
    """Check without loading anything that `path` is a usable base model.

    Raises:
        ModelError: with all that is wrong.
    """
    if not path.is_dir():
        raise ModelError([f"{path} is not a folder. Give the folder that holds the model's config.json."])
    problems = [*base_config.problems_in(path, str(path)), *stowaway(path, str(path))]
    if not list(path.glob("*.safetensors")):
        old = [p.name for p in path.iterdir() if p.suffix in {".bin", ".pt", ".pth"}]
        problems.append(
            f"{path} has its weights in {old[0]}, a format that can run code. Convert them to safetensors."
            if old
            else f"{path} has no weights: no file ends in .safetensors."
        )
    if not any((path / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        problems.append(f"{path} has no tokenizer: neither tokenizer.json, tokenizer.model nor vocab.json.")
    problems += tokenizer_config.problems_in(path, str(path))
    if problems:
        raise ModelError(problems)


def describe(path: Path, called: str = "") -> dict[str, Any]:
    """The facts of a base model for the library, from its config alone: it is built on torch's meta device.

    Args:
        called: how the model is named in errors; the path of its folder if not given.

    Raises:
        ModelError: if the config is missing, damaged or none of a text model, or transformers cannot build it.
    """
    model = without_weights(path, called)
    config = model.config
    text = config.get_text_config()  # a model that also looks at pictures keeps what concerns text in a part
    layers = [
        {"path": p, "name": last_name(p), "in": features(layer)[0], "out": features(layer)[1]}
        for p, layer in linear_layers(model).items()
    ]
    return {
        "architecture": _architecture(model),
        "parameters": sum(p.numel() for p in model.parameters()),
        "layers": layers,
        **anatomy.facts(model),
        "hidden": text.hidden_size,
        "heads": getattr(text, "num_attention_heads", None),
        "max_length": max_length(config),
        "vocabulary": text.vocab_size,
        "weights_bytes": sum(p.stat().st_size for p in path.glob("*.safetensors")),
        "chat_template": tokenizer_config.has_chat_template(path),
        "brings_code": base_config.brings_code(path),
    }


def _architecture(model: Any) -> str:
    """As the config calls it, for that may be more than the part that was built; else the name of what was built."""
    named = model.config.architectures
    first = named[0] if isinstance(named, list) and named else None
    return first if isinstance(first, str) else type(model).__name__


def without_weights(path: Path, called: str = "") -> Any:
    """The model as its config describes it, on torch's meta device: names and shapes. ModelError as `describe`."""
    called = called or str(path)
    if problems := base_config.problems_in(path, called):
        raise ModelError(problems)
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(base_config.read(path), trust_remote_code=False)
        model.tie_weights()
    except _NO_MODEL as error:
        why = " ".join(str(error).split())
        raise ModelError([f"The config.json of {called} does not describe a model that can be built: {why}"]) from error
    return model


def max_length(config: Any) -> int:
    """The longest row in tokens the model has positions for; 2048 where it does not say."""
    config = config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "max_seq_len"):
        if isinstance(value := getattr(config, name, None), int):
            return value
    return 2048


BESIDE = ("manifest.json", "about.json")  # what a library adds to a folder of its own; no part of the model


def fingerprint(path: Path) -> str:
    """SHA-256 over names and contents of config, tokenizer and weights: the identity of a base model."""
    total = hashlib.sha256()
    for file in sorted(path.iterdir()):
        if file.suffix in {".json", ".safetensors", ".jinja", ".model", ".txt"} and file.name not in BESIDE:
            with file.open("rb") as handle:
                total.update(f"{file.name}:{hashlib.file_digest(handle, 'sha256').hexdigest()}\n".encode())
    return f"sha256:{total.hexdigest()}"


def load_tokenizer(path: Path) -> Any:
    """The tokenizer of a base model; one without a chat template gets the plain one."""
    tokenizer = AutoTokenizer.from_pretrained(
        path, config=base_config.read(path), local_files_only=True, trust_remote_code=False, use_fast=True
    )
    if tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN
    return tokenizer


def load(path: Path, device: Device | None = None, precision: str = "full", base_trained: bool = False) -> LoadedBase:
    """Load a base model, frozen and in eval mode.

    Args:
        device: where to and in which dtypes; the best there is for None.
        precision: full, int8 or nf4; what the linear layers of the blocks are kept in.
        base_trained: see `choose_device`.

    Raises:
        ModelError: if the folder is not a base model, its weights do not fit its config, or it cannot be kept in
            `precision` on this machine.
    """
    check_folder(path)
    chosen = device or choose_device(precision=precision, base_trained=base_trained)
    try:
        if precision == "full":
            model = base_weights.load(path, chosen.dtype).to(chosen.kind)
        else:
            model = _quantised_model(path, chosen, precision)
        tokenizer = load_tokenizer(path)
        if causality.looks_ahead(model.requires_grad_(False).eval(), max_length(model.config)):
            raise ModelError([causality.REFUSAL.format(path)])
    except ModelError:
        raise
    except (OSError, ValueError, LookupError, RuntimeError, SafetensorError) as error:
        raise ModelError([f"The base model in {path} cannot be loaded: {error}"]) from error
    return LoadedBase(model, tokenizer, chosen, path, precision)


def _quantised_model(path: Path, device: Device, precision: str) -> nn.Module:
    """The model with the linear layers of its blocks in few bits. Its file is mapped: no full copy is ever made."""
    name = PRECISIONS[precision]
    try:
        quantised.import_bitsandbytes()
    except ImportError as error:
        needed = f"A base in {name} needs the package bitsandbytes, which cannot be used here: {error}."
        what = "Install it (pip install bitsandbytes), or choose the base precision Full."
        raise ModelError([needed, what]) from error
    stored = quantised.stored_dtype(path)
    model: nn.Module = base_weights.load(path, stored)
    layers = {p: one for p, one in linear_layers(model).items() if fits_precision(features(one)[0], precision)}
    quantised.quantise(model, layers, precision, device.kind, device.compute_dtype)
    if not any(map(quantised.is_quantised, model.modules())):
        raise ModelError([f"No layer of {path} can be kept in {name}. Choose the base precision Full."])
    quantised.settle_rest(model, stored, device.kind, device.dtype)
    return model
