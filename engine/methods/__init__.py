"""The methods of fine-tuning: `fit` puts the one that the settings name on a model."""

from collections.abc import Callable

from torch import nn

from engine.methods.additive import fit_bottleneck, fit_prompt
from engine.methods.fitted import Fitted
from engine.methods.low_rank import fit_low_rank
from engine.methods.selective import fit_selective
from engine.settings import Method, RunSettings

METHODS: dict[Method, Callable[[nn.Module, RunSettings], Fitted]] = {
    "lora": fit_low_rank,
    "dora": fit_low_rank,
    "bottleneck": fit_bottleneck,
    "prompt": fit_prompt,
    "bitfit": fit_selective,
    "norms": fit_selective,
    "blocks": fit_selective,
    "full": fit_selective,
}


def fit(model: nn.Module, settings: RunSettings) -> Fitted:
    """Freeze `model` and put the method of `settings` on it.

    Raises:
        ValueError: in a sentence, if the model has no place for it.
    """
    model.requires_grad_(False)
    return METHODS[settings.method](model, settings)
