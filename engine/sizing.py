"""How large an adapter will be: pure arithmetic on the shapes of the base model's layers.

Knows no tensors: a layer here is a plain dict {"path", "name", "in", "out"}, as `engine.models.describe` writes it.
Memory and time are not estimated here.
"""

from collections.abc import Iterable, Mapping

Layer = Mapping[str, object]
HEADER_BYTES = 128  # safetensors writes about this much of names and shapes for each matrix


def chosen_layers(layers: Iterable[Layer], target_modules: list[str] | None) -> list[Layer]:
    """The layers that get an adapter: those whose last name, or whole path, is among `target_modules`; None is all."""
    if not target_modules:
        return list(layers)
    wanted = set(target_modules)
    return [layer for layer in layers if layer["name"] in wanted or layer["path"] in wanted]


def trained_numbers(layers: Iterable[Layer], rank: int, target_modules: list[str] | None = None) -> int:
    """Numbers that are trained: r * (in + out) a layer, A being r x in and B out x r (arXiv 2106.09685, 4.1)."""
    return sum(rank * (_int(layer["in"]) + _int(layer["out"])) for layer in chosen_layers(layers, target_modules))


def adapter_bytes(
    layers: Iterable[Layer], rank: int, target_modules: list[str] | None = None, bytes_per_number: int = 4
) -> int:
    """Size of the adapter's file in bytes, within about one percent."""
    chosen = chosen_layers(layers, target_modules)
    return trained_numbers(chosen, rank) * bytes_per_number + 2 * HEADER_BYTES * len(chosen)


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value
