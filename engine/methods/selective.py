"""Methods that train a part of the base itself: biases, norms, the last blocks, or all of it.

    "bitfit"  the biases                Ben Zaken et al. 2021, "BitFit", arXiv 2106.10199, section 3
    "norms"   the norms                 Zhao et al. 2023, "Tuning LayerNorm in Attention", arXiv 2312.11420, section 3
    "blocks"  the last k blocks         Lee et al. 2019, "What Would Elsa Do?", arXiv 1911.03090, section 3
    "full"    every parameter           the yardstick

What is stored is the trained parameters as they are, under their own paths. Tied parameters stay one.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from engine.anatomy import block_number, kind, text_parameters, text_part
from engine.methods.fitted import Fitted
from engine.methods.inject import Surgery
from engine.methods.whole import train_whole
from engine.paths import last_name
from engine.settings import RunSettings


def fit_selective(model: nn.Module, settings: RunSettings) -> Fitted:
    """Freeze `model` but for what the method trains.

    Raises:
        ValueError: if the base has none of it.
    """
    chosen = CHOICES[settings.method](model, settings)
    if not chosen:
        raise ValueError(f"This base model has no {_WORDS[settings.method]}. Choose another method.")
    with Surgery(model) as surgery:
        return Fitted(surgery, train_whole(surgery, chosen))


def biases(model: nn.Module, settings: RunSettings) -> list[str]:
    """The paths of all biases."""
    return [path for path in text_parameters(model) if "bias" in last_name(path)]


def norms(model: nn.Module, settings: RunSettings) -> list[str]:
    """The paths of the weights and biases of all norms: modules that say so in the name of their class."""
    return [path for path in text_parameters(model) if kind(model.get_submodule(path.rpartition(".")[0])) == "norm"]


def last_blocks(model: nn.Module, settings: RunSettings) -> list[str]:
    """The paths of all parameters of the last `settings.blocks` blocks."""
    numbers = {path: block_number(path, text_part(model)) for path in text_parameters(model)}
    wanted = sorted({number for number in numbers.values() if number is not None})[-settings.blocks :]
    return [path for path, number in numbers.items() if number in wanted]


def everything(model: nn.Module, settings: RunSettings) -> list[str]:
    """The paths of all parameters of the text model."""
    return list(text_parameters(model))


CHOICES: dict[str, Callable[[nn.Module, RunSettings], list[str]]] = {
    "bitfit": biases,
    "norms": norms,
    "blocks": last_blocks,
    "full": everything,
}
_WORDS = {"bitfit": "biases", "norms": "norms", "blocks": "blocks", "full": "parameters"}
