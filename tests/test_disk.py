"""Models that lie on this disk: the hub's cache as its own client lays it out, other tools' folders, named ones."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine import disk
from tests.workshop import shared_tiny_model

COMMIT = "3f9c0de5" * 5


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person with an empty home."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def put_model(folder: Path, **changes: object) -> Path:
    """A model folder of small, made-up files."""
    folder.mkdir(parents=True)
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]} | changes
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"x" * 1000)
    (folder / "tokenizer.json").write_text("{}")
    return folder


def put_in_cache(cache: Path, repository: str, commit: str = COMMIT) -> Path:
    """A snapshot as the hub's client makes it: links to blobs, named by their hash."""
    model = shared_tiny_model()
    blobs, snapshot = cache / repository / "blobs", cache / repository / "snapshots" / commit
    blobs.mkdir(parents=True, exist_ok=True)
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(model.iterdir())):
        blob = blobs / f"{number:064x}"
        blob.write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(Path("..") / ".." / "blobs" / blob.name)
    return snapshot


def test_the_hubs_cache_is_found_where_its_own_client_would_look(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"HF_HOME": str(home / "hf"), "XDG_CACHE_HOME": str(home / "xdg"), "HF_HUB_CACHE": str(home / "here")}
    for names in ((), ("XDG_CACHE_HOME",), ("XDG_CACHE_HOME", "HF_HOME"), tuple(given)):
        for name in names:
            monkeypatch.setenv(name, given[name])
        script = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
        said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
        assert str(disk.hub_cache()) == said.stdout.strip()


def test_a_model_in_the_hubs_cache_is_listed_by_its_id_with_the_size_of_what_its_links_mean(home: Path) -> None:
    cache = home / ".cache" / "huggingface" / "hub"
    snapshot = put_in_cache(cache, "models--org--tiny")
    (cache / "datasets--org--rows" / "snapshots" / COMMIT).mkdir(parents=True)
    (model,) = disk.find()
    size = sum(file.stat().st_size for file in shared_tiny_model().iterdir())
    assert (model.name, model.path, model.kind, model.size_bytes) == ("org/tiny", snapshot, "folder", size)
    assert model.usable


def test_two_commits_of_one_model_are_told_apart(home: Path) -> None:
    cache = home / ".cache" / "huggingface" / "hub"
    put_in_cache(cache, "models--org--tiny")
    put_in_cache(cache, "models--org--tiny", "a" * 40)
    assert [model.name for model in disk.find()] == ["org/tiny@3f9c0de", "org/tiny@aaaaaaa"]


def test_models_of_another_tool_are_found(home: Path) -> None:
    folder = home / ".lmstudio" / "models" / "maker" / "tiny-GGUF"
    folder.mkdir(parents=True)
    (folder / "tiny.Q4_0.gguf").write_bytes(b"GGUF" + bytes(96))
    (folder / "broken.gguf").write_bytes(b"something else")
    (model,) = disk.find()
    assert (model.name, model.kind, model.size_bytes) == ("tiny.Q4_0", "gguf", 100)


def test_below_a_named_folder_every_model_is_listed_the_usable_ones_first(home: Path) -> None:
    put_model(home / "models" / "b" / "good")
    put_model(home / "models" / "a-picture-model", architectures=["ViTForImageClassification"])
    put_model(home / "models" / "good" / "inside-a-model")
    put_model(home / "models" / "good2")
    (home / "models" / "round").symlink_to(home / "models")
    found = disk.find(home / "models")
    assert [model.name for model in found] == ["good", "good2", "inside-a-model", "a-picture-model"]
    assert [model.usable for model in found] == [True, True, True, False]


def test_a_folder_that_is_not_there_holds_nothing(home: Path) -> None:
    assert disk.find(home / "nowhere") == []


@pytest.mark.parametrize(
    ("changes", "missing", "told"),
    [
        ({"architectures": ["ViTForImageClassification"]}, "", "It is no text model: ViTForImageClassification."),
        ({"model_type": "", "architectures": None}, "", "It is no text model: config.json has no model_type."),
        ({"architectures": 5}, "", ""),
        ({"architectures": [5, "ViTModel"]}, "", "It is no text model: ViTModel."),
        ({"architectures": "ViTModel"}, "", ""),
        ({"model_type": ["llama"], "architectures": 5}, "", "It is no text model: config.json has no model_type."),
        ({"auto_map": {"AutoModel": "x.Y"}}, "", ""),
        ({}, "model.safetensors", "It has no .safetensors file."),
        ({}, "tokenizer.json", "It has no tokenizer."),
        ({}, "", ""),
    ],
)
def test_a_quick_look_says_what_is_wrong(home: Path, changes: dict[str, object], missing: str, told: str) -> None:
    folder = put_model(home / "model", **changes)
    if missing:
        (folder / missing).unlink()
    assert disk.why_not(folder) == told


def test_pickles_and_damaged_settings_are_named(home: Path) -> None:
    folder = put_model(home / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert disk.why_not(folder) == "Its weights are in pytorch_model.bin, a format that can run code."
    (folder / "config.json").write_text("[1]")
    assert disk.why_not(folder) == "It has no config.json that can be read."


def test_looking_ends_in_a_folder_without_end(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "MOST_FOLDERS", 10)
    for number in range(30):
        (home / "many" / f"{number:02}").mkdir(parents=True)
    put_model(home / "many" / "29" / "too-late")
    put_model(home / "many" / "00a")
    assert [model.name for model in disk.find(home / "many")] == ["00a"]
