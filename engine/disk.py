"""Models that lie on this disk already: in the hub's cache, in the folders of other tools, in a folder that was named.

A pure listing: names, sizes and a quick look at config.json. Whether a model works is found out when it is added. Reads
only the heads of files, changes nothing, and imports nothing heavy: the page may ask.
"""

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.json_file import read_object

DEEPEST = 4  # folders below the one that was named
MOST_FOLDERS = 5000  # looked into below it: a folder like / must not keep anybody waiting
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
_CAUSAL = ("ForCausalLM", "LMHeadModel")  # how architectures that continue a text are called
_GGUF = b"GGUF"


@dataclass(frozen=True)
class Found:
    """A model on this disk: a folder or a GGUF file. `why_not` says what is wrong, and is empty if it looks usable."""

    name: str
    path: Path
    kind: str  # "folder" or "gguf"
    size_bytes: int
    why_not: str = ""

    @property
    def usable(self) -> bool:
        """Whether nothing speaks against it so far."""
        return not self.why_not


def find(named: Path | None = None) -> list[Found]:
    """The models below the folder `named`; without one, those in the places where tools keep theirs. By name."""
    if named is not None:
        found = list(_below(named))
    else:
        found = [*_in_cache(hub_cache()), *(model for place in _other_tools() for model in _below(place))]
    unique = {model.path: model for model in found}
    return sorted(unique.values(), key=lambda model: (not model.usable, model.name.lower(), str(model.path)))


def hub_cache() -> Path:
    """Where the hub's own client keeps what it fetched."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(name):
            return Path(os.environ[name]).expanduser()
    if os.environ.get("HF_HOME"):
        return Path(os.environ["HF_HOME"]).expanduser() / "hub"
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "huggingface" / "hub"


def is_gguf(path: Path) -> bool:
    """Whether `path` is a file that begins as GGUF files do, whatever it is called."""
    try:
        with path.open("rb") as handle:
            return handle.read(len(_GGUF)) == _GGUF
    except OSError:
        return False


def why_not(folder: Path) -> str:
    """What a quick look at a model folder finds wrong, in a sentence; empty if nothing."""
    config = read_object(folder / "config.json")
    if config is None:
        return "It has no config.json that can be read."
    named = config.get("architectures")
    classes = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    kind = config.get("model_type")
    if not kind or not isinstance(kind, str) or (classes and not any(name.endswith(_CAUSAL) for name in classes)):
        return f"It is no text model: {', '.join(classes) or 'config.json has no model_type'}."
    if not any(folder.glob("*.safetensors")):
        old = next((path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth")), "")
        return f"Its weights are in {old}, a format that can run code." if old else "It has no .safetensors file."
    if not any((folder / name).is_file() for name in TOKENIZERS):
        return "It has no tokenizer."
    return ""


def _in_cache(cache: Path) -> Iterator[Found]:
    """models--ORG--NAME/snapshots/COMMIT, of each model the commits that are here."""
    for repository in _folders(cache):
        kind, _, name = repository.name.partition("--")
        commits = _folders(repository / "snapshots") if kind == "models" and name else []
        for commit in commits:
            called = name.replace("--", "/", 1)
            yield from _models_in(commit, called if len(commits) == 1 else f"{called}@{commit.name[:7]}")


def _other_tools() -> list[Path]:
    """Folders in which other programs keep models that a person downloaded with them."""
    places = ("~/.lmstudio/models", "~/.cache/lm-studio/models")
    return [Path(place).expanduser() for place in places]


def _below(named: Path) -> Iterator[Found]:
    """The models in the folder and below it, the nearest first. A model's own folders are not looked into."""
    waiting = deque([(named, 0)])
    for _ in range(MOST_FOLDERS):
        if not waiting:
            return
        folder, depth = waiting.popleft()
        here = list(_models_in(folder, folder.name))
        yield from here
        if depth < DEEPEST and not any(model.kind == "folder" for model in here):
            waiting.extend((inner, depth + 1) for inner in _folders(folder))


def _models_in(folder: Path, name: str) -> Iterator[Found]:
    """The model whose files lie right here, and GGUF files."""
    if (folder / "config.json").is_file():
        yield Found(name, folder, "folder", _size(folder), why_not(folder))
    for file in _files(folder):
        if file.suffix.lower() == ".gguf" and is_gguf(file):
            yield Found(file.stem, file, "gguf", file.stat().st_size)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in _files(folder))


def _files(folder: Path) -> list[Path]:
    return [path for path in _listed(folder) if path.is_file()]


def _folders(folder: Path) -> list[Path]:
    """The folders inside, without hidden ones and links: a link may lead round in a circle."""
    inner = [path for path in _listed(folder) if not path.name.startswith(".")]
    return [path for path in inner if path.is_dir() and not path.is_symlink()]


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # absent, or not for this user
        return []
