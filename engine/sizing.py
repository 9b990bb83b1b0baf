"""How large an adapter will be, to the number: pure arithmetic on what `engine.anatomy` wrote down of a base model.

Knows no tensors. What is counted is what training writes: every tensor of an adapter's file is fp32. Memory and time
are not estimated here.
"""

from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from engine.paths import last_name
from engine.settings import RunSettings

Facts = Mapping[str, Any]  # as `engine.models.describe` writes them
Layer = Mapping[str, Any]  # {"path", "name", "in", "out"}
Module = Mapping[str, Any]  # an entry of facts["modules"]
BYTES = 4  # fp32
NF4_BLOCK = 64  # weights that share a scale


@dataclass(frozen=True)
class Part:
    """What one module adds: numbers trained, numbers in the file, and how many of the trained ones are the base's."""

    path: str
    trained: int
    stored: int
    in_base: int = 0

    @property
    def bytes(self) -> int:
        """What it takes in the adapter's file."""
        return BYTES * self.stored


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
        return sum(part.bytes for part in self.by_module)

    def share(self, parameters: int) -> float:
        """The trained part of all numbers, as PEFT counts: trained / (base + what was added to it)."""
        return self.trained / (parameters + sum(part.trained - part.in_base for part in self.by_module))


Counting = Callable[[Facts, RunSettings], Iterator[Part]]


def count(facts: Facts, settings: RunSettings) -> Count:
    """What a run with `settings` trains and stores, module by module, in the order of the model."""
    return Count([part for part in _COUNTED[settings.method](facts, settings) if part.stored])


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


def _low_rank(facts: Facts, settings: RunSettings) -> Iterator[Part]:
    """r (I + O) a layer (arXiv 2106.09685, 4.1), DoRA's magnitude of O, and what is trained beside them."""
    adapted = {layer["path"]: layer for layer in chosen_layers(facts, settings)}
    whole, biases = _whole(facts, settings), _trained_biases(facts, settings, adapted)
    for module in facts["modules"]:
        in_base = biases.get(module["path"], 0)
        trained, stored = whole.get(module["path"], (in_base, in_base))
        if layer := adapted.get(module["path"]):
            pair = settings.shape_of(layer["path"])[0] * (layer["in"] + layer["out"])
            magnitude = layer["out"] if settings.method == "dora" else 0
            trained += pair + magnitude
            stored += (2 if settings.start == "pissa" else 1) * pair + magnitude  # PiSSA's start is stored beside
        yield Part(module["path"], trained, stored, in_base)


def _whole(facts: Facts, settings: RunSettings) -> dict[str, tuple[int, int]]:
    """(trained, stored) numbers of the modules that are trained in full beside A and B, as copies of the base's.

    A weight that modules share is trained once, and stored under the name of each: so PEFT reads it.
    """
    names = set(settings.train_in_full or ())
    chosen = [m for m in facts["modules"] if m["path"] in names or last_name(m["path"]) in names]
    paths = {module["path"] for module in chosen}
    places = Counter(_owner(module) for module in facts["modules"])
    numbers = {}
    for module in chosen:
        first = module.get("tied") not in paths
        again = _numbers(module) - _numbers(module, shared=False) if first else 0
        trained = _numbers(module, shared=first)
        numbers[module["path"]] = (trained, trained + again * (places[_owner(module)] - 1))
    return numbers


def _owner(module: Module) -> str:
    """The path of the module whose weight this one has: its own, mostly."""
    return str(module.get("tied") or module["path"])


def _trained_biases(facts: Facts, settings: RunSettings, adapted: Container[str]) -> dict[str, int]:
    """The numbers of the biases that are trained beside A and B, where they stand, by the module."""
    modules = [m for m in facts["modules"] if settings.bias == "all" or m["path"] in adapted]
    if settings.bias == "none":
        return {}
    whole = _whole(facts, settings)
    return {m["path"]: _biases(m) for m in modules if not m.get("aside") and m["path"] not in whole}


def _base(wanted: Callable[[Facts, Module, RunSettings], int]) -> Counting:
    """The count of a method that trains parameters of the base: `wanted` numbers of each module that reads text."""

    def counted(facts: Facts, settings: RunSettings) -> Iterator[Part]:
        for module in facts["modules"]:
            numbers = 0 if module.get("aside") else wanted(facts, module, settings)
            yield Part(module["path"], numbers, numbers, numbers)

    return counted


def _of_last_blocks(facts: Facts, module: Module, settings: RunSettings) -> int:
    block = module["block"]
    return _own(module) if block is not None and block >= facts["blocks"] - settings.blocks else 0


def bottleneck_places(facts: Facts) -> list[Layer]:
    """The last projection to the model's width in each part of a block: a bottleneck stands after each of them."""
    return list({_part(layer["path"]): layer for layer in facts["layers"] if layer["out"] == facts["hidden"]}.values())


def _bottleneck(facts: Facts, settings: RunSettings) -> Iterator[Part]:
    """Down to a small width and up again, with biases (arXiv 1902.00751, 2.1)."""
    for layer in bottleneck_places(facts):
        numbers = 2 * settings.bottleneck * layer["out"] + settings.bottleneck + layer["out"]
        yield Part(layer["path"], numbers, numbers)


def _part(path: str) -> str:
    """The part of a block that a layer is in: `model.layers.0.mlp` of `model.layers.0.mlp.down_proj`."""
    pieces = path.split(".")
    block = next(i for i, piece in enumerate(pieces) if piece.isdigit())
    return ".".join(pieces[: block + 2] if len(pieces) > block + 2 else pieces[: block + 1])


def _prompt(facts: Facts, settings: RunSettings) -> Iterator[Part]:
    """Trained tokens before every row (arXiv 2104.08691, section 2)."""
    numbers = settings.prompt_tokens * facts["embedding_width"]
    yield Part("prompt", numbers, numbers)


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


_COUNTED: dict[str, Counting] = {
    "lora": _low_rank,
    "dora": _low_rank,
    "bottleneck": _bottleneck,
    "prompt": _prompt,
    "bitfit": _base(lambda facts, module, settings: _biases(module)),
    "norms": _base(lambda facts, module, settings: _numbers(module) if module["kind"] == "norm" else 0),
    "blocks": _base(_of_last_blocks),
    "full": _base(lambda facts, module, settings: _own(module)),
}
