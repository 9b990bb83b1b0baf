"""Which of the base models an adapter from outside is for, as far as names and shapes tell without a tensor.

A first look, so that a person need not choose; the import itself checks everything. Knows nothing about files or rows
of the library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from jobs.adapter_package import Facts, Package

PREFIX = "base_model.model."
A, B = ".lora_A.weight", ".lora_B.weight"


class Base(Protocol):
    """What is asked of a base model; a row of the library is one."""

    @property
    def name(self) -> str: ...
    @property
    def facts(self) -> Mapping[str, Any]: ...


B_ = TypeVar("B_", bound=Base)


def best(package: Package, bases: Sequence[B_]) -> B_ | None:
    """The base model that the layers fit: of several the one that the config names, else the newest; None if none."""
    fitting = [base for base in bases if fits(package.tensors, base.facts)]
    named = [base for base in fitting if _is_named(package.config, base)]
    return next(iter([*named[::-1], *fitting[::-1]]), None)


def fits(tensors: Facts, facts: Mapping[str, Any]) -> bool:
    """Whether the base model has every layer these tensors are for, in the same shape."""
    layers = {layer["path"]: (layer["in"], layer["out"]) for layer in facts["layers"]}
    # Layers outside of the blocks, such as the head, by what is known of every module.
    for module in facts.get("modules", ()):
        if module["kind"] == "linear" and module["weight"]:
            layers.setdefault(module["path"], (module["weight"][1], module["weight"][0]))
    adapted = {name.removeprefix(PREFIX).removesuffix(A): shape for name, (_, shape) in tensors.items() if A in name}
    if adapted:
        return all(_fits_layer(path, a, tensors, layers) for path, a in adapted.items())
    if "prompt_embeddings" in tensors:
        return tensors["prompt_embeddings"][1][1:] == [facts.get("embedding_width")]
    return _fits_modules(tensors, facts)


def _fits_layer(path: str, a: list[int], tensors: Facts, layers: Mapping[str, tuple[int, int]]) -> bool:
    inside, outside = layers.get(path, (None, None))
    b = tensors.get(f"{PREFIX}{path}{B}", ("", []))[1]
    return len(a) == 2 and len(b) == 2 and a[1] == inside and b[0] == outside


def _fits_modules(tensors: Facts, facts: Mapping[str, Any]) -> bool:
    """Values of the base's own, or parts beside a layer: the module has to be there, and a weight in its shape."""
    weights = {module["path"]: module["weight"] for module in facts.get("modules", ())}
    for name, (_, shape) in tensors.items():
        path, _, last = name.rpartition(".")
        if path not in weights or (last == "weight" and weights[path] != shape):
            return False
    return bool(tensors)


def _is_named(config: Mapping[str, Any], base: Base) -> bool:
    given = config.get("base_model_name_or_path") or config.get("base_model")
    if not isinstance(given, str):
        return False
    names = {base.name, str((base.facts.get("hub") or {}).get("id", ""))} - {""}
    ours = {form.casefold() for name in names for form in (name, name.rpartition("/")[2])}
    return bool(ours & {given.casefold(), given.rstrip("/").rpartition("/")[2].casefold()})
