"""Whether a model keeps to what came before: learning to answer means predicting a token from the ones before it.

Some models that call themselves language models read in both directions (BERT and its kin). Trained as they are, they
would look their answers up, and the loss would fall to nothing while nothing is learned. Knows no architecture by name.
"""

from typing import Any

import torch

SEEN = 1e-2  # part of its own change that a later token may make to earlier ones: rounding of bf16 stays below it
REFUSAL = "{} reads in both directions, as BERT does, so it cannot learn to answer. Choose a causal language model."


@torch.inference_mode()
def looks_ahead(model: Any, longest: int) -> bool:
    """Whether the answer at a position depends on later tokens; asked with two short rows that differ at the end.

    Args:
        longest: the tokens that the model has positions for. With fewer than two nothing can be asked, or trained.
    """
    words = model.config.get_text_config().vocab_size
    row = torch.arange(1, 1 + min(8, max(2, longest)))[None] % words  # (1, T)
    other = row.clone()
    other[0, -1] = (other[0, -1] + words // 2) % words
    device = model.get_input_embeddings().weight.device
    first, second = (model(input_ids=ids.to(device), use_cache=False).logits[0].float() for ids in (row, other))
    change = (first - second).abs().amax(dim=-1)  # (T,)
    return bool(change[:-1].max() > SEEN * change[-1])
