"""The facts of a model that nobody has to own: from the config.json of a folder, or of a model on a hub.

No weights are read and none are fetched; the model is built without numbers, in a second or two whatever its size.
Knows nothing about who asks; what the facts are is `engine.models.describe`'s.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def facts(source: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of the model at `source`, which `jobs.sources.read` made of what a person typed.

    Raises:
        ModelError: it is no text model, or a GGUF file, which has no config.json.
        HubError: it cannot be had from the hub.
    """
    from engine import models

    if source["source"] == "hub":
        return _on_a_hub(source["id"], source["revision"])
    if source["source"] == "gguf":
        raise models.ModelError(
            [f"{source['path']} is a GGUF file, without a config.json. Add it as a base model first."]
        )
    return models.describe(Path(source["path"]))


def _on_a_hub(name: str, revision: str) -> dict[str, Any]:
    from engine import hub, models
    from engine.download import Hub
    from engine.hub_id import HubId

    with tempfile.TemporaryDirectory(prefix="lora-studio-") as folder, Hub() as connection:
        hub.fetch_config(connection, hub.look_up(connection, HubId(name, revision)), Path(folder))
        return models.describe(Path(folder), name)
