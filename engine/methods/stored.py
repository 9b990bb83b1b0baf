"""Training on from a stored adapter: its values go into what a method has freshly put on a model.

The method is fitted with the settings the stored adapter has (`shape.continued`); then every trained parameter takes
the stored value, so the model computes what it computes with the adapter attached. Knows nothing about files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn

from engine.methods.additive import PROMPT
from engine.methods.attach import Effect
from engine.methods.fitted import Fitted, Named
from engine.methods.inject import places_of
from engine.methods.lora import LoRALinear
from engine.methods.low_rank import PREFIX, base_path


def load_stored(fitted: Fitted, adapter: Effect) -> None:
    """Write a stored adapter into the parameters that `fitted` trains.

    Raises:
        ValueError: in a sentence, if the adapter has another shape than what was fitted; nothing is written then.
    """
    _check_scales(fitted.model, adapter)
    _check_ties(fitted, adapter)
    fitted.load(_named(fitted, adapter))


def _named(fitted: Fitted, adapter: Effect) -> Named:
    """The adapter's tensors by the names of `fitted.trained`; what belongs to nothing keeps a name of its own."""
    named: Named = {**adapter.bottlenecks}
    for path, update in adapter.low_rank.items():
        named[f"{PREFIX}{path}.lora_A.weight"] = update.a
        named[f"{PREFIX}{path}.lora_B.weight"] = update.b
        if update.magnitude is not None:
            named[f"{PREFIX}{path}.lora_magnitude_vector"] = update.magnitude
    if adapter.prompt is not None:
        named[PROMPT] = adapter.prompt
    return {**_whole(fitted, adapter.whole), **named}


def _whole(fitted: Fitted, values: Mapping[str, Tensor]) -> Named:
    """Values of parameters of the base, of a tied one once: it may be stored under each of its names."""
    by_path = {base_path(name): name for name in fitted.trained}
    names: dict[int | None, str] = {id(parameter): name for name, parameter in fitted.trained.items()}
    return {by_path.get(path) or names.get(_held(fitted.model, path), path): value for path, value in values.items()}


def _held(model: nn.Module, path: str) -> int | None:
    """The identity of the parameter a model holds at `path`, if it has one there."""
    try:
        return id(model.get_parameter(path))
    except AttributeError:
        return None


def _check_scales(model: nn.Module, adapter: Effect) -> None:
    layers = dict(model.named_modules())
    for path, update in adapter.low_rank.items():
        layer = layers.get(path)
        if isinstance(layer, LoRALinear) and not math.isclose(layer.scaling, update.scaling, rel_tol=1e-6):
            raise ValueError(
                f"This adapter does not fit: at {path} it is multiplied by {update.scaling:g}, here by "
                f"{layer.scaling:g}. Rank and alpha must be the adapter's own."
            )


def _check_ties(fitted: Fitted, adapter: Effect) -> None:
    """A tie that the adapter has cut would be whole again, and the model would not be the adapter's."""
    trained = {id(parameter): parameter for parameter in fitted.trained.values()}
    for path in [] if adapter.tied else adapter.whole:
        parameter = trained.get(_held(fitted.model, path) or 0)
        if parameter is not None and len(places_of(fitted.model, parameter)) > 1:
            raise ValueError(
                f"This adapter has trained {path} apart from what shares it in the base model. A run keeps such "
                "parameters one, so it cannot start from this adapter."
            )
