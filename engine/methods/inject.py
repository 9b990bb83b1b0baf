"""Finding the layers of a model that get an adapter, and changing a model in ways that can be taken back.

Small pieces over any transformers model; the methods are built from them. Knows nothing about files, training or data.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Self

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from engine.anatomy import block_number, text_part
from engine.methods.lora import LinearLike, features
from engine.paths import last_name


def linear_layers(model: nn.Module) -> dict[str, LinearLike]:
    """Every linear layer of the text model's blocks by its path, in the order of the model.

    A block is a member of a numbered list (`model.layers.0`, `transformer.h.0`); what stands outside of one, such as
    the output head and projections of embeddings, is not a target, and neither is a tower that looks at pictures.
    """
    part = text_part(model)
    found = {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and block_number(path, part) is not None
    }
    plain = {kind: _is_plain(layer) for kind, layer in {type(layer): layer for layer in found.values()}.items()}
    return {path: layer for path, layer in found.items() if plain[type(layer)]}


@torch.no_grad()
def _is_plain(layer: LinearLike) -> bool:
    """Whether a layer answers as a linear one does. Some routers of mixtures are nn.Linear, and answer with more."""
    in_few_bits = not layer.weight.is_floating_point()
    if isinstance(layer, Conv1D) or type(layer).forward is nn.Linear.forward or in_few_bits:
        return True
    inside, outside = features(layer)
    try:
        answer = layer(torch.zeros(1, inside, dtype=layer.weight.dtype, device=layer.weight.device))
    except (IndexError, RuntimeError, TypeError, ValueError):
        return False
    return isinstance(answer, Tensor) and answer.shape == (1, outside)


def targets(
    model: nn.Module, target_modules: list[str] | None, blocks: Iterable[int] | None = None
) -> dict[str, LinearLike]:
    """The layers `target_modules` names, by last name or whole path; all linear layers of the blocks for None.

    Args:
        blocks: only layers of the blocks with these numbers; None is all blocks.

    Raises:
        ValueError: if a name fits no layer, or a number no block; the sentence lists those that would.
    """
    layers = linear_layers(model)
    if target_modules:
        wanted = _known(target_modules, layers, "layers")
        layers = {p: layer for p, layer in layers.items() if p in wanted or last_name(p) in wanted}
    if blocks is not None:
        numbers = {block_number(path) for path in layers}
        unknown = sorted(set(blocks) - numbers)
        if unknown:
            there = ", ".join(str(number) for number in sorted(n for n in numbers if n is not None))
            raise ValueError(f"This base model has no such layers in block {unknown[0]}. It has them in {there}.")
        layers = {path: layer for path, layer in layers.items() if block_number(path) in set(blocks)}
    return layers


def modules_called(model: nn.Module, names: list[str]) -> dict[str, nn.Module]:
    """The modules with parameters of their own that `names` names, by last name or whole path.

    Raises:
        ValueError: if a name fits none; the sentence lists those outside of the blocks, which are meant mostly.
    """
    owners = {path: module for path, module in model.named_modules() if any(True for _ in module.parameters(False))}
    wanted = _known(names, owners, "modules", {p: m for p, m in owners.items() if block_number(p) is None})
    return {path: module for path, module in owners.items() if path in wanted or last_name(path) in wanted}


def _known(
    names: list[str], found: Mapping[str, object], what: str, shown: Mapping[str, object] | None = None
) -> set[str]:
    known = {last_name(path) for path in found}
    unknown = [name for name in names if name not in known and name not in found]
    if unknown:
        offered = ", ".join(sorted({last_name(path) for path in (shown or found)}))
        raise ValueError(f"This base model has no {what} called {', '.join(unknown)}. It has: {offered}.")
    return set(names)


class Surgery:
    """Changes to one model, each of which can be taken back: `undo` leaves the very objects that were there before.

    As a context it takes all back if what is done in it fails, and leaves the changes if not.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._back: list[Callable[[], object]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        if failure:
            self.undo()

    def replace(self, path: str, module: nn.Module) -> None:
        """Put `module` in the place of the one at `path`."""
        parent, _, name = path.rpartition(".")
        owner = self.model.get_submodule(parent)
        before = getattr(owner, name)
        self._back.append(lambda: setattr(owner, name, before))
        setattr(owner, name, module)

    def swap(self, path: str, parameter: nn.Parameter, everywhere: bool = True) -> None:
        """Put `parameter` in the place of the one at `path`, and wherever else that one is used: ties stay tied.

        With `everywhere` false only this one place changes, and a tie is cut.
        """
        before = self.model.get_parameter(path)
        for place in places_of(self.model, before) if everywhere else [path]:
            holder, _, name = place.rpartition(".")
            owner = self.model.get_submodule(holder)
            self._back.append(_setter(owner, name, before))
            setattr(owner, name, parameter)

    def then(self, back: Callable[[], object]) -> None:
        """Note how to take back a change made elsewhere."""
        self._back.append(back)

    def undo(self) -> None:
        """Take all changes back, the last one first. Safe to call twice."""
        while self._back:
            self._back.pop()()


def places_of(model: nn.Module, parameter: nn.Parameter) -> list[str]:
    """All paths under which a model holds a parameter; more than one where it is tied."""
    return [path for path, held in model.named_parameters(remove_duplicate=False) if held is parameter]


def _setter(owner: nn.Module, name: str, value: nn.Parameter) -> Callable[[], object]:
    return lambda: setattr(owner, name, value)
