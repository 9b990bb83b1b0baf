"""Paths of the parts of a model, as torch writes them: names with dots between. Knows no model and imports no torch."""


def last_name(path: str) -> str:
    """`q_proj` of `model.layers.0.self_attn.q_proj`."""
    return path.rpartition(".")[2]
