"""The tiny model on a stand-in hub, fetched as a job fetches it. For several tests."""

import json
from pathlib import Path

import pytest

from engine import base_config
from engine import hub as hubs
from engine.download import Hub, HubError
from engine.hub_id import HubId
from tests.hub import StandIn

ID = "org/tiny"
TOKEN = "hf_secret0123456789"
WANTED = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}


def fetch(into: Path, id: str = ID, revision: str = "main") -> list[Path]:
    """What a job does, without one."""
    with Hub() as connection:
        listing = hubs.look_up(connection, HubId(id, revision))
        return hubs.fetch(connection, listing, into, lambda config: base_config.problems(config, id), lambda *_: None)


def problems(into: Path, id: str = ID, revision: str = "main") -> list[str]:
    """All that was told when it could not be fetched."""
    with pytest.raises(HubError) as refused:
        fetch(into, id, revision)
    return refused.value.problems


def weights_were_asked_for(served: StandIn) -> bool:
    """Whether anybody asked the hub for weights."""
    return any(name.endswith(".safetensors") for name in served.files_asked_for())


def rewrite(file: Path, **changes: object) -> None:
    """Write other values into a file of settings."""
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def gated(served: StandIn) -> None:
    served.faults.gated = True


def private(served: StandIn) -> None:
    served.faults.private = True


def busy(served: StandIn) -> None:
    served.faults.busy = True
