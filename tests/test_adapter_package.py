"""What comes as an adapter from outside is looked into, never unpacked; what is hostile or foreign has its sentence."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import stat
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import adapter_base, adapter_package
from jobs.adapter_package import OWN_CONFIG, PEFT_CONFIG, WEIGHTS, PackageError

CONFIG = json.dumps({"peft_type": "LORA", "r": 2, "base_model_name_or_path": "/home/me/org/tiny"}).encode()
LAYER = "base_model.model.model.layers.0.q_proj"


def tensors(head: dict[str, Any] | None = None, extra: int = 0, length: int | None = None) -> bytes:
    """A safetensors file by hand: the length of its head, the head, zeros."""
    shapes = {f"{LAYER}.lora_A.weight": [2, 64], f"{LAYER}.lora_B.weight": [64, 2]}
    at, made = 0, {}
    for name, shape in shapes.items():
        made[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + 512]}
        at += 512
    written = json.dumps(made if head is None else head).encode()
    return struct.pack("<Q", len(written) if length is None else length) + written + bytes(at + extra)


GOOD = {PEFT_CONFIG: CONFIG, WEIGHTS: tensors()}


def a_zip(to: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(to, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return to


def look(path: Path) -> adapter_package.Package:
    with adapter_package.opened(path) as package:
        return package


@pytest.mark.parametrize("top", ["", "pirate/"])
def test_a_zip_is_read_whether_the_files_are_at_its_top_or_in_one_folder(tmp_path: Path, top: str) -> None:
    files = {"README.md": b"x", "__MACOSX/adapter_config.json": b"x", "tokenizer.json": b"{}", **GOOD}
    path = a_zip(tmp_path / "a.zip", {f"{top}{name}": content for name, content in files.items()}, zipfile.ZIP_DEFLATED)
    with adapter_package.opened(path) as package:
        assert package.config["r"] == 2
        assert package.tensors[f"{LAYER}.lora_A.weight"] == ("F32", [2, 64])
        adapter_package.copy(package.weights, tmp_path / "copy", lambda done, total: None)
    assert (tmp_path / "copy").read_bytes() == GOOD[WEIGHTS]


def test_a_folder_is_read_also_where_its_files_are_links_as_in_a_hubs_cache(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(GOOD[WEIGHTS])
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / PEFT_CONFIG).write_bytes(CONFIG)
    (folder / WEIGHTS).symlink_to("../blob")
    assert len(look(folder).tensors) == 2


def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / PEFT_CONFIG).write_bytes(CONFIG)
    os.mkfifo(tmp_path / WEIGHTS)
    with pytest.raises(PackageError, match="is no file that could be read"):
        look(tmp_path)


def _link(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo(PEFT_CONFIG)
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
        archive.writestr(WEIGHTS, GOOD[WEIGHTS])


def _locked(path: Path) -> None:
    a_zip(path, GOOD)
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\1\2")
    content[at + 8] |= 1
    path.write_bytes(content)


def _lying(path: Path) -> None:
    """The directory says that the weights are smaller than what unpacks."""
    a_zip(path, GOOD, zipfile.ZIP_DEFLATED)
    content, at = bytearray(path.read_bytes()), -1
    while (at := content.find(b"PK\1\2", at + 1)) >= 0:
        if content[at + 46 :].startswith(WEIGHTS.encode()):
            content[at + 24 : at + 28] = struct.pack("<I", 600)
    path.write_bytes(content)


def _with(**files: bytes) -> Callable[[Path], None]:
    """The good files with some in their places; the names are spelt with __ for a dot."""
    changed = {name.replace("__", "."): content for name, content in files.items()}
    return lambda path: a_zip(path, {**GOOD, **changed}, zipfile.ZIP_DEFLATED) and None


def _named(name: str) -> Callable[[Path], None]:
    return lambda path: a_zip(path, {**GOOD, name: b"x"}) and None


def _only(files: dict[str, bytes]) -> Callable[[Path], None]:
    return lambda path: a_zip(path, files) and None


def _weights(content: bytes) -> Callable[[Path], None]:
    return _with(adapter_model__safetensors=content)


def _config(content: bytes) -> Callable[[Path], None]:
    return _with(adapter_config__json=content)


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def _twice(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(PEFT_CONFIG, CONFIG)
        archive.writestr(WEIGHTS, GOOD[WEIGHTS])
        archive.filelist.append(archive.filelist[0])


FACT = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "slip": (_named("../../evil.py"), "outside of itself"),
    "slip inside": (_named("a/../../b"), "outside of itself"),
    "absolute": (_named("/etc/cron.d/x"), "outside of itself"),
    "drive": (_named("C:/windows/x"), "outside of itself"),
    "backslash": (_named("..\\x"), "outside of itself"),
    "link": (_link, "is a link or no plain file"),
    "password": (_locked, "locked with a password"),
    "lzma": (lambda path: a_zip(path, GOOD, zipfile.ZIP_LZMA) and None, "packed in a rare way"),
    "twice": (_twice, "holds adapter_config.json twice"),
    "two adapters": (_only({f"{d}/{n}": c for d in "ab" for n, c in GOOD.items()}), r"several adapters \(a, b\)"),
    "too deep": (_only({f"a/b/{n}": c for n, c in GOOD.items()}), "is no adapter in PEFT's format"),
    "many entries": (_only({f"{'x' * 200}{i}": b"" for i in range(4000)}), "lists too many files"),
    "no weights": (_only({PEFT_CONFIG: CONFIG}), "adapter_model.safetensors not found"),
    "nothing": (_only({"a.txt": b""}), "adapter_config.json and adapter_model.safetensors not found"),
    "pickle": (_only({PEFT_CONFIG: CONFIG, "adapter_model.bin": b"\x80"}), "a pickle, which can run code"),
    "pickle in disguise": (_weights(pickle.dumps([1, 2])), "no safetensors file. A pickle"),
    "torch zip in disguise": (_weights(b"PK\3\4" + bytes(2000)), "no safetensors file"),
    "image adapter": (_only({"pytorch_lora_weights.safetensors": b""}), "a model that makes pictures"),
    "no zip": (lambda path: path.write_bytes(b"not a zip" * 100) and None, "cannot be read as a zip"),
    "half a zip": (
        lambda path: a_zip(path, GOOD) and path.write_bytes(path.read_bytes()[:-30]) and None, "cannot be read"),
    "config is a list": (_config(b"[]"), "should hold one JSON object"),
    "config is none": (_config(b"\xff{"), "it is not valid JSON"),
    "config of 50 MB": (_config(b" " * 50_000_000), "50,000,000 bytes where 1,000,000 are the most"),
    "config nested": (_config(b'{"a":' + b"[" * 400_000 + b"]" * 400_000 + b"}"), "it is nested too deeply"),
    "config of digits": (_config(b'{"r": ' + b"9" * 10_000 + b"}"), "it is not valid JSON"),
    "empty weights": (_weights(b""), "is empty"),
    "huge head": (_weights(tensors(length=2**60)), "no safetensors file"),
    "large head": (_weights(struct.pack("<Q", 5_000_000) + b" " * 5_000_100), "5,000,008 bytes where 2,000,000"),
    "bomb": (_weights(tensors(extra=300_000_000)), "is damaged: .* bytes are described"),
    "many tensors": (_weights(tensors({f"t{i}": FACT for i in range(25_000)})), "lists 25,000 tensors"),
    "head of nonsense": (_weights(tensors({"a": {"dtype": "F32", "shape": [-1]}})), "makes no sense at a"),
    "shape of giants": (_weights(tensors({"a": {"dtype": "F32", "shape": [2**39, 2**39]}})), "are described in it"),
    "shape of giants and nothing": (
        _weights(tensors({"a": {"dtype": "I64", "shape": [2**39, 2**39, 0]}})), "makes no sense at a"),
    "lying sizes": (_lying, "is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_hostile_or_foreign_is_refused_in_words_and_little_memory(tmp_path: Path, case: str) -> None:
    make, told = HOSTILE[case]
    path = tmp_path / "hostile.zip"
    make(path)
    before = sorted(tmp_path.rglob("*"))
    tracemalloc.start()
    with pytest.raises(PackageError, match=told):
        look(path)
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert used < 40_000_000
    assert sorted(tmp_path.rglob("*")) == before


def test_what_a_large_zips_own_record_says_counts(tmp_path: Path) -> None:
    path = a_zip(tmp_path / "a.zip", GOOD)
    content = path.read_bytes()
    end = content[-22:]
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 10**6, 10**6, 10**9, 0)
    path.write_bytes(content[:-22] + record + struct.pack("<4sLQL", b"PK\6\7", 0, len(content) - 22, 1) + end)
    with pytest.raises(PackageError, match="lists too many files"):
        look(path)


@settings(max_examples=150)
@given(st.binary(max_size=300), st.integers(0, 2000))
def test_any_damage_to_a_zip_is_told_or_harmless(noise: bytes, at: int) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in GOOD.items():
            archive.writestr(name, content)
    content = bytearray(made.getvalue())
    content[at : at + len(noise)] = noise
    path = Path(os.environ["LORA_STUDIO_DATA"]).parent / "damaged.zip"
    path.write_bytes(content)
    with contextlib.suppress(PackageError):
        assert look(path).tensors


class Tiny:
    """What is asked of a base model."""

    def __init__(self, name: str, width: int = 64, hub: str = "") -> None:
        self.name = name
        layers = [{"path": "model.layers.0.q_proj", "name": "q_proj", "in": width, "out": width}]
        self.facts: dict[str, Any] = {"layers": layers, "embedding_width": width, "modules": []}
        if hub:
            self.facts["hub"] = {"id": hub}


def test_the_likely_base_is_one_that_fits_and_of_those_the_one_the_config_names(tmp_path: Path) -> None:
    package = look(a_zip(tmp_path / "a.zip", GOOD))
    wide, first, named, last = Tiny("tiny", 128), Tiny("first"), Tiny("other", hub="org/Tiny"), Tiny("last")
    assert adapter_base.best(package, [wide]) is None
    assert adapter_base.best(package, [first, wide]) is first
    assert adapter_base.best(package, [first, wide, named, last]) is named
    assert adapter_base.best(package, [first, wide, last]) is last


def test_our_own_formats_and_prompts_have_a_likely_base_too(tmp_path: Path) -> None:
    fact = {"dtype": "F32", "shape": [64, 64], "data_offsets": [0, 16384]}
    weights = tensors({"model.layers.0.q_proj.weight": fact}, extra=16384 - 1024)
    package = look(a_zip(tmp_path / "a.zip", {OWN_CONFIG: b'{"format": "lora-studio-adapter"}', WEIGHTS: weights}))
    base = Tiny("tiny")
    assert adapter_base.best(package, [base]) is None
    base.facts["modules"] = [{"path": "model.layers.0.q_proj", "kind": "linear", "weight": [64, 64], "bias": 0}]
    assert adapter_base.best(package, [base]) is base
    prompt = {"prompt_embeddings": {"dtype": "F32", "shape": [5, 64], "data_offsets": [0, 1280]}}
    package = look(a_zip(tmp_path / "b.zip", {PEFT_CONFIG: CONFIG, WEIGHTS: tensors(prompt, extra=1280 - 1024)}))
    assert adapter_base.best(package, [Tiny("wide", 128), base]) is base
