"""How large an adapter will be, to the number: pure arithmetic on what `engine.anatomy` wrote down of a base model.

Knows no tensors. What is counted is what training writes: every tensor of an adapter's file is fp32. Memory and time
are not estimated here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
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
    whole = _in_full(facts, settings.train_in_full or ())
    for module in facts["modules"]:
        path, own = module["path"], 0
        if path in whole:
            own = _numbers(module)
        elif settings.bias == "all" or (settings.bias == "lora_only" and path in adapted):
            own = _biases(module)
        trained = stored = own
        if path in adapted:
            layer = adapted[path]
            pair = settings.shape_of(path)[0] * (layer["in"] + layer["out"])
            magnitude = layer["out"] if settings.method == "dora" else 0
            trained += pair + magnitude
            stored += (2 if settings.start == "pissa" else 1) * pair + magnitude  # PiSSA's start is stored beside
        yield path, trained, stored


def _in_full(facts: Facts, names: Iterable[str]) -> set[str]:
    """The modules that `names` select by last name or whole path. Of two that share a weight, one."""
    wanted = set(names)
    paths = {module["path"] for module in facts["modules"]}
    selected = {path for path in paths if path in wanted or path.rpartition(".")[2] in wanted}
    return selected - {module["path"] for module in facts["modules"] if module.get("tied") in selected}


def _base(wanted: Callable[[Facts, Module, RunSettings], int]) -> Callable[[Facts, RunSettings], Counted]:
    """The count of a method that trains parameters of the base: `wanted` numbers of each module."""

    def counted(facts: Facts, settings: RunSettings) -> Counted:
        for module in facts["modules"]:
            numbers = wanted(facts, module, settings)
            yield module["path"], numbers, numbers

    return counted


def _of_last_blocks(facts: Facts, module: Module, settings: RunSettings) -> int:
    block = module["block"]
    return _own(module) if block is not None and block >= facts["blocks"] - settings.blocks else 0


def _bottleneck(facts: Facts, settings: RunSettings) -> Counted:
    """Two a block, after attention and after the feed-forward; each goes down and up again (arXiv 1902.00751, 2.1)."""
    width, hidden = settings.bottleneck, facts["hidden"]
    each = width * hidden + width + hidden * width + hidden
    for block in range(facts["blocks"]):
        yield f"block {block}", 2 * each, 2 * each


def _prompt(facts: Facts, settings: RunSettings) -> Counted:
    """Trained tokens before every row (arXiv 2104.08691, section 2)."""
    numbers = settings.prompt_tokens * facts["embedding_width"]
    yield "prompt", numbers, numbers


def _numbers(module: Module) -> int:
    """All numbers of a module."""
    shapes = [module["weight"], *module.get("others", {}).values()]
    return sum(int(prod(shape)) for shape in shapes if shape) + int(module["bias"])


def _own(module: Module) -> int:
    """The numbers of a module that are not counted elsewhere: of a tied one only the bias."""
    return int(module["bias"]) if module.get("tied") else _numbers(module)


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
