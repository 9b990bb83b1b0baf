"""An adapter that lies in the folder of a base model: transformers loads it along with the base, unasked.

It also goes from there to whatever base the adapter names. A base with one beside it is therefore turned away, by name
of a file alone: nothing is read.
"""

from pathlib import Path

SETTINGS = "adapter_config.json"


def stowaway(folder: Path, called: str) -> list[str]:
    """What to do about an adapter in `folder`, a sentence; none if there is no adapter."""
    if not (folder / SETTINGS).exists():
        return []
    return [
        f"{called} is an adapter, or a base model with an adapter beside it. "
        f"Move {SETTINGS} out, or import the folder as an adapter."
    ]
