"""Methods that put something new into the model: bottleneck adapters and soft prompts.

    Bottleneck   h + U gelu(D h + d) + u    D: w x H, U: H x w     Houlsby et al. 2019, arXiv 1902.00751, section 2.1
    Soft prompt  [P; E(x)]                  P: k x H trained       Lester et al. 2021, arXiv 2104.08691, section 2

A bottleneck stands after the last projection of attention and of the feed-forward part of each block, before the
residual is added (figure 2 of the paper). U and u start at zero, so that step 0 equals the base bit for bit.
A soft prompt starts from the embeddings of tokens drawn from the vocabulary (section 3.2); its tokens stand before
every row and are never predicted.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.anatomy import block_number
from engine.methods.fitted import Fitted
from engine.methods.inject import Surgery, linear_layers
from engine.methods.lora import LinearLike, Wrapped, features
from engine.settings import RunSettings

PROMPT = "prompt_embeddings"  # PEFT's name for it


class Bottleneck(Wrapped):
    """A linear layer followed by a small trained network beside a shortcut.

    Args:
        base: the projection whose output is adapted; frozen by the caller.
        down, down_bias, up, up_bias: (w, H), (w,), (H, w), (H,).
        dropout: probability with which an entry of the small network's input is dropped, in training only.
    """

    def __init__(self, base: LinearLike, parts: dict[str, Tensor], dropout: float = 0.0) -> None:
        super().__init__()
        self.base = base
        self.dropout = dropout
        device = base.weight.device
        self.parts = nn.ParameterDict({name: nn.Parameter(part.to(device).float()) for name, part in parts.items()})

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., I) to (..., H)."""
        h: Tensor = self.base(x)
        p = self.parts
        low = F.dropout(h.to(p["down"].dtype), self.dropout, self.training)
        small = F.linear(F.gelu(F.linear(low, p["down"], p["down_bias"])), p["up"], p["up_bias"])
        return h + small.to(h.dtype)


def sublayer_outputs(model: nn.Module) -> dict[str, LinearLike]:
    """The last projection back to the model's width in each part of each block: of attention, of the feed-forward.

    A part is a direct child of the block that holds linear layers, or the block's own linear layers together.
    """
    config: Any = model.config
    width = config.get_text_config().hidden_size  # OPT may have a narrower embedding
    found: dict[tuple[str, str], str] = {}
    layers = linear_layers(model)
    for path, layer in layers.items():
        if features(layer)[1] == width:
            found[_part(path)] = path
    return {path: layers[path] for path in sorted(found.values(), key=list(layers).index)}


def _part(path: str) -> tuple[str, str]:
    """(the block, the part of it): `model.layers.0.mlp.down_proj` is in (`model.layers.0`, `mlp`)."""
    pieces = path.split(".")
    number = next(i for i, piece in enumerate(pieces) if piece.isdigit())
    inside = pieces[number + 1 :]
    return ".".join(pieces[: number + 1]), inside[0] if len(inside) > 1 else ""


def fit_bottleneck(model: nn.Module, settings: RunSettings) -> Fitted:
    """Freeze `model` and put a bottleneck after attention and feed-forward of each block.

    Raises:
        ValueError: if the blocks have no projection to put it after.
    """
    places = sublayer_outputs(model)
    if len(places) < 2 * len({block_number(path) for path in places}) or not places:
        raise ValueError(
            "In this base model a feed-forward part ends in no linear layer (a mixture of experts, for example), "
            "so bottleneck adapters have no place. Choose LoRA."
        )
    trained: dict[str, nn.Parameter] = {}
    generator = torch.Generator().manual_seed(settings.seed)
    with Surgery(model) as surgery:
        for path, layer in places.items():
            wrapped = Bottleneck(layer, _start(features(layer)[1], settings.bottleneck, generator), settings.dropout)
            surgery.replace(path, wrapped)
            trained.update({f"{path}.{name}": part for name, part in wrapped.parts.items()})
        return Fitted(surgery, trained)


def _start(width: int, small: int, generator: torch.Generator) -> dict[str, Tensor]:
    return {
        "down": torch.randn(small, width, generator=generator) * width**-0.5,
        "down_bias": torch.zeros(small),
        "up": torch.zeros(width, small),
        "up_bias": torch.zeros(width),
    }


def attach_bottlenecks(surgery: Surgery, tensors: dict[str, Tensor]) -> None:
    """Put trained bottlenecks, by the names of `fit_bottleneck`, into a model."""
    layers = linear_layers(surgery.model)
    for path in dict.fromkeys(name.rpartition(".")[0] for name in tensors):
        parts = {name: tensors[f"{path}.{name}"] for name in ("down", "down_bias", "up", "up_bias")}
        surgery.replace(path, Bottleneck(layers[path], parts))


def embedding_of(model: Any) -> nn.Embedding:
    """The module that turns tokens into vectors; its weight is V x H."""
    embedding: nn.Embedding = model.get_input_embeddings()
    return embedding


def fit_prompt(model: nn.Module, settings: RunSettings) -> Fitted:
    """Freeze `model` and put a trained prompt before every row."""
    embedding = embedding_of(model)
    generator = torch.Generator().manual_seed(settings.seed)
    drawn = torch.randint(embedding.weight.shape[0], (settings.prompt_tokens,), generator=generator)
    # Through the module, not its weight: Gemma's embedding multiplies what it looks up.
    prompt = nn.Parameter(embedding(drawn.to(embedding.weight.device)).detach().float().clone())
    with Surgery(model) as surgery:
        attach_prompt(surgery, prompt)
        return Fitted(surgery, {PROMPT: prompt})


def attach_prompt(surgery: Surgery, prompt: Tensor) -> None:
    """Let `prompt` (k, H) stand before every row the model is given, as long as nothing of the row is cached."""
    model = surgery.model

    def before(
        module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        cache = named.get("past_key_values")
        if cache is not None and cache.get_seq_length() > 0:
            return given, named
        named = dict(named)
        ids = given[0] if given else named.pop("input_ids")  # (B, T)
        rows: Tensor = embedding_of(model)(ids)  # (B, T, H)
        own = prompt.to(rows.device, rows.dtype).expand(rows.shape[0], -1, -1)
        named["inputs_embeds"] = torch.cat([own, rows], dim=1)
        named["input_ids"] = None
        return (), named

    def after(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any], out: Any) -> Any:
        embedded = named.get("inputs_embeds")
        if embedded is not None and out.logits.shape[1] == embedded.shape[1]:
            out.logits = out.logits[:, prompt.shape[0] :]
        return out

    surgery.then(model.register_forward_pre_hook(before, with_kwargs=True).remove)
    surgery.then(model.register_forward_hook(after, with_kwargs=True).remove)
