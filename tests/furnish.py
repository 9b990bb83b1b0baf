"""A library with something in it, without training: what tests of the studio share.

The adapter is a real folder in PEFT's format, small and of zeros; it fits no model. Knows nothing about processes.
"""

import json
import struct
from typing import Any

from adapters_store.store import Store
from adapters_store.tables import Adapter, BaseModel, DataSet
from studio import actions

TRAINED: dict[str, Any] = {
    "method": "lora",
    "rank": 4,
    "alpha": 8,
    "target_modules": ["q_proj"],
    "settings": {},
    "training_loss": 1.0,
    "validation_loss": 1.5,
    "base_validation_loss": 3.0,
    "best_step": 5,
    "steps": 10,
    "seconds": 12.0,
}
LAYERS = [
    {"path": f"model.layers.{i}.{name}", "name": name, "in": 64, "out": 64} for i in (0, 1) for name in ("q_proj", "v")
]
MODULES = [
    {"path": layer["path"], "kind": "linear", "block": i // 2, "weight": [64, 64], "bias": 0}
    for i, layer in enumerate(LAYERS)
]
FACTS = {
    "architecture": "Tiny",
    "parameters": 1000,
    "layers": LAYERS,
    "modules": MODULES,
    "blocks": 2,
    "hidden": 64,
    "embedding_width": 64,
    "max_length": 256,
    "vocabulary": 384,
}


def furnish(store: Store) -> tuple[BaseModel, DataSet]:
    """The sample data sets, and a base model whose folder is there but holds no weights."""
    actions.import_samples(store)
    with store.files.draft("models") as draft:
        (draft.path / "config.json").write_text("{}")
        folder = draft.publish()
    base = store.add_base_model(
        name="tiny", source="starter", path=None, folder=folder, fingerprint="sha256:tiny", facts=FACTS
    )
    return base, store.data_sets()[0]


def add_adapter(
    store: Store, base: BaseModel, data: DataSet | None = None, name: str = "tiny-r4", **facts: Any
) -> Adapter:
    """One more adapter of the base model; `facts` go over the usual ones."""
    with store.files.draft("adapters") as draft:
        (draft.path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4, "name": name}))
        (draft.path / "adapter_model.safetensors").write_bytes(_tensors())
        folder = draft.publish()
    own: dict[str, Any] = {
        "job_id": None,
        "data_set_id": data.id if data else None,
        "size_bytes": store.files.size("adapters", folder),
        "sha256": store.files.digest("adapters", folder),
    }
    return store.add_adapter(name=name, folder=folder, base_model_id=base.id, **(TRAINED | own | facts))


def _tensors() -> bytes:
    """A safetensors file with one matrix of zeros, by hand: 8 bytes of length, JSON, numbers."""
    head = json.dumps({"a": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}}).encode()
    return struct.pack("<Q", len(head)) + head + bytes(64)
