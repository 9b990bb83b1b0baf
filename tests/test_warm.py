"""What the answerer keeps warm: as many adapters as fit in a bound of bytes, and a base that fits who answers."""

from pathlib import Path
from typing import Any

import pytest
import torch

from engine import adapter_files, models
from engine.adapter import AdapterOnDisk
from engine.methods import fit
from engine.settings import RunSettings
from jobs.answerer import Desk
from jobs.warm import WarmAdapters
from tests.workshop import shared_tiny_model


def written(folder: Path, **settings: Any) -> Path:
    base, chosen = models.load(shared_tiny_model()), RunSettings.model_validate(settings)
    fitted = fit(base.model, chosen)
    tensors = fitted.tensors()
    fitted.remove()
    folder.mkdir()
    adapter_files.write(folder, tensors, base_name="tiny", settings=chosen, model=base.model)
    return folder


def test_the_bytes_of_an_adapter_are_those_of_its_tensors(tmp_path: Path) -> None:
    for number, method in enumerate(("lora", "dora", "norms", "bottleneck", "prompt")):
        folder = written(tmp_path / str(number), method=method, target_modules=["q_proj"])
        held = sum(tensor.nbytes for tensor in adapter_files._tensors(folder / adapter_files.WEIGHTS).values())
        assert adapter_files.read(folder).size_bytes == held > 0


def test_warm_adapters_are_bounded_in_bytes_and_make_room_before_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [written(tmp_path / str(number), target_modules=["q_proj"]) for number in range(4)]
    size = adapter_files.read(folders[0]).size_bytes
    most = (folders[0] / adapter_files.WEIGHTS).stat().st_size + 2 * size  # room for two beside one that is read
    warm, seen = WarmAdapters(most_bytes=most), []
    read = adapter_files.read

    def noted(folder: Path) -> AdapterOnDisk:
        seen.append((folder, warm.size_bytes))
        return read(folder)

    monkeypatch.setattr(adapter_files, "read", noted)
    for number in (0, 1, 2, 0, 3, 0, 2, 1):
        warm.adapter(folders[number])
    assert [folders.index(folder) for folder, _ in seen] == [0, 1, 2, 3, 1]
    assert max(held for _, held in seen) == 2 * size
    assert warm.size_bytes <= most


def test_one_adapter_larger_than_the_bound_is_read_all_the_same(tmp_path: Path) -> None:
    warm = WarmAdapters(most_bytes=1)
    one, two = (written(tmp_path / name, target_modules=["q_proj"]) for name in ("one", "two"))
    assert warm.adapter(one).low_rank
    assert warm.adapter(two).size_bytes == warm.size_bytes


def test_who_replaces_weights_of_the_base_answers_on_a_base_in_fp32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hardware = models.Hardware(cuda_name="a GPU", cuda_bf16=True)
    monkeypatch.setattr(models, "find_hardware", lambda: hardware)
    asked: list[tuple[str, bool]] = []

    def load(path: Path, *, device: models.Device, precision: str, base_trained: bool) -> models.LoadedBase:
        asked.append((precision, base_trained))
        return models.LoadedBase(None, None, device, path, precision)

    monkeypatch.setattr(models, "load", load)
    desk = Desk()
    lora = str(written_on_cpu(tmp_path / "lora", monkeypatch, method="lora"))
    norms = str(written_on_cpu(tmp_path / "norms", monkeypatch, method="norms"))
    in_full = str(written_on_cpu(tmp_path / "full", monkeypatch, method="lora", train_in_full=["norm"]))
    base = str(shared_tiny_model())
    dtypes = [
        desk.seated({"base_path": base, "adapters": adapters})[0].device.dtype
        for adapters in ([lora], [], [lora, norms], [in_full], [lora])
    ]
    assert dtypes == [torch.bfloat16, torch.bfloat16, torch.float32, torch.float32, torch.bfloat16]
    assert asked == [("full", False), ("full", True), ("full", False)], "loaded again only where it differs"


def written_on_cpu(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Path:
    """As `written`, while a test pretends that there is a GPU."""
    with monkeypatch.context() as patch:
        patch.setattr(models, "load", REAL_LOAD)
        patch.setattr(models, "find_hardware", models.Hardware)
        return written(folder, **settings)


REAL_LOAD = models.load


def test_without_a_gpu_the_base_is_loaded_once_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "find_hardware", models.Hardware)
    desk, norms = Desk(), str(written(tmp_path / "norms", method="norms"))
    payload = {"base_path": str(shared_tiny_model())}
    first, (nobody,) = desk.seated({**payload, "adapters": []})
    second, contestants = desk.seated({**payload, "adapters": [norms], "include_base": False})
    assert first is second
    assert nobody is None
    assert [one.method for one in contestants] == ["norms"]
