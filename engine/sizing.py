"""How large an adapter will be, to the number: pure arithmetic on what `engine.anatomy` wrote down of a base model.

Knows no tensors. What is counted is what training writes: every tensor of an adapter's file is fp32. Memory and time
are not estimated here.
"""

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from engine.settings import RunSettings

Facts = Mapping[str, Any]  # as `engine.models.describe` writes them
Layer = Mapping[str, Any]  # {"path", "name", "in", "out"}
Module = Mapping[str, Any]  # an entry of facts["modules"]
BYTES = 4  # fp32
NF4_BLOCK = 64  # weights that share a scale


@dataclass(frozen=True)
class Part:
    """What one module adds: the numbers trained, and the numbers that stand in the file."""

    path: str
    trained: int
    stored: int


@dataclass(frozen=True)
class Count:
    """What a run with certain settings trains on a certain base model."""

    by_module: list[Part]

    @property
    def trained(self) -> int:
        """Numbers that are trained."""
        return sum(part.trained for part in self.by_module)

    @property
    def tensor_bytes(self) -> int:
        """Bytes of the tensors in the adapter's file; its header of names comes on top."""
        return BYTES * sum(part.stored for part in self.by_module)


def count(facts: Facts, settings: RunSettings) -> Count:
    """What a run with `settings` trains and stores, module by module, in the order of the model."""
    parts = [Part(path, trained, stored) for path, trained, stored in _COUNTED[settings.method](facts, settings)]
    return Count([part for part in parts if part.stored])


def chosen_layers(facts: Facts, settings: RunSettings) -> list[Layer]:
    """The linear layers that get an adapter: by last name or whole path, and by the number of their block."""
    names, numbers = set(settings.target_modules or ()), set(settings.layers or ())
    blocks = {module["path"]: module["block"] for module in facts["modules"]}
    return [
        layer
        for layer in facts["layers"]
        if (not names or layer["name"] in names or layer["path"] in names)
        and (not numbers or blocks[layer["path"]] in numbers)
    ]


def fits_precision(inputs: int, precision: str) -> bool:
    """Whether a linear layer with so many inputs can be kept in `precision`: in NF4 a row has to divide into blocks."""
    return precision != "nf4" or inputs % NF4_BLOCK == 0


Counted = Iterator[tuple[str, int, int]]  # path, trained, stored


def _low_rank(facts: Facts, settings: RunSettings) -> Counted:
    """r (I + O) a layer (arXiv 2106.09685, 4.1), DoRA's magnitude of O, and what is trained beside them."""
    adapted = {layer["path"]: layer for layer in chosen_layers(facts, settings)}
    beside = _beside(facts, settings, adapted)
    for module in facts["modules"]:
        trained = stored = beside[module["path"]]
        if layer := adapted.get(module["path"]):
            pair = settings.shape_of(layer["path"])[0] * (layer["in"] + layer["out"])
            magnitude = layer["out"] if settings.method == "dora" else 0
            trained += pair + magnitude
            stored += (2 if settings.start == "pissa" else 1) * pair + magnitude  # PiSSA's start is stored beside
        yield module["path"], trained, stored


def _beside(facts: Facts, settings: RunSettings, adapted: Container[str]) -> dict[str, int]:
    """For each module, the numbers of the base that are trained beside A and B: whole modules, and biases."""
    names = set(settings.train_in_full or ())
    whole = {m["path"] for m in facts["modules"] if m["path"] in names or m["path"].rpartition(".")[2] in names}
    numbers = {}
    for module in facts["modules"]:
        path = module["path"]
        if path in whole:
            numbers[path] = _numbers(module, shared=module.get("tied") not in whole)
        elif (settings.bias == "all" and not module.get("aside")) or (settings.bias == "lora_only" and path in adapted):
            numbers[path] = _biases(module)
        else:
            numbers[path] = 0
    return numbers


def _base(wanted: Callable[[Facts, Module, RunSettings], int]) -> Callable[[Facts, RunSettings], Counted]:
    """The count of a method that trains parameters of the base: `wanted` numbers of each module that reads text."""

    def counted(facts: Facts, settings: RunSettings) -> Counted:
        for module in facts["modules"]:
            numbers = 0 if module.get("aside") else wanted(facts, module, settings)
            yield module["path"], numbers, numbers

    return counted


def _of_last_blocks(facts: Facts, module: Module, settings: RunSettings) -> int:
    block = module["block"]
    return _own(module) if block is not None and block >= facts["blocks"] - settings.blocks else 0


def bottleneck_places(facts: Facts) -> list[Layer]:
    """The last projection to the model's width in each part of a block: a bottleneck stands after each of them."""
    return list({_part(layer["path"]): layer for layer in facts["layers"] if layer["out"] == facts["hidden"]}.values())


def _bottleneck(facts: Facts, settings: RunSettings) -> Counted:
    """Down to a small width and up again, with biases (arXiv 1902.00751, 2.1)."""
    for layer in bottleneck_places(facts):
        numbers = 2 * settings.bottleneck * layer["out"] + settings.bottleneck + layer["out"]
        yield layer["path"], numbers, numbers


def _part(path: str) -> str:
    """The part of a block that a layer is in: `model.layers.0.mlp` of `model.layers.0.mlp.down_proj`."""
    pieces = path.split(".")
    block = next(i for i, piece in enumerate(pieces) if piece.isdigit())
    return ".".join(pieces[: block + 2] if len(pieces) > block + 2 else pieces[: block + 1])


def _prompt(facts: Facts, settings: RunSettings) -> Counted:
    """Trained tokens before every row (arXiv 2104.08691, section 2)."""
    numbers = settings.prompt_tokens * facts["embedding_width"]
    yield "prompt", numbers, numbers


def _numbers(module: Module, shared: bool = True) -> int:
    """The numbers of a module, with or without the weight that it shares with another."""
    weight = module["weight"] if shared else None
    shapes = [weight, *module.get("others", {}).values()]
    return sum(int(prod(shape)) for shape in shapes if shape) + int(module["bias"])


def _own(module: Module) -> int:
    """The numbers of a module that are not counted elsewhere."""
    return _numbers(module, shared=not module.get("tied"))


def _biases(module: Module) -> int:
    """The numbers of a module in parameters called biases."""
    others = module.get("others", {})
    return int(module["bias"]) + sum(int(prod(shape)) for name, shape in others.items() if "bias" in name)


_COUNTED: dict[str, Callable[[Facts, RunSettings], Counted]] = {
    "lora": _low_rank,
    "dora": _low_rank,
    "bottleneck": _bottleneck,
    "prompt": _prompt,
    "bitfit": _base(lambda facts, module, settings: _biases(module)),
    "norms": _base(lambda facts, module, settings: _numbers(module) if module["kind"] == "norm" else 0),
    "blocks": _base(_of_last_blocks),
    "full": _base(lambda facts, module, settings: _own(module)),
}
