"""Adapter folders: what is written can be read, what is damaged or foreign is refused in words."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine import adapter_files, models
from engine.adapter_files import CONFIG, WEIGHTS, AdapterError
from engine.methods import fit
from engine.settings import RunSettings
from tests.tiny import make_tiny_model


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> models.LoadedBase:
    return models.load(make_tiny_model(tmp_path_factory.mktemp("models") / "tiny"))


def _write(base: models.LoadedBase, folder: Path, **settings: object) -> None:
    chosen = RunSettings.model_validate(settings)
    fitted = fit(base.model, chosen)
    tensors = fitted.tensors()
    fitted.remove()
    adapter_files.write(folder, tensors, base_name="tiny", settings=chosen, model=base.model)


def test_an_adapter_is_read_as_it_was_written(base: models.LoadedBase, tmp_path: Path) -> None:
    _write(base, tmp_path, rank=4, alpha=10)
    adapter = adapter_files.read(tmp_path)
    assert len(adapter.low_rank) == 14
    update = adapter.low_rank["model.layers.1.mlp.down_proj"]
    assert update.scaling == 2.5
    assert (update.a.shape, update.b.shape) == ((4, 128), (64, 4))
    adapter_files.check_fits(adapter, base.model)


def test_target_modules_are_last_names_where_they_select_the_same_layers_and_paths_where_not(
    base: models.LoadedBase, tmp_path: Path
) -> None:
    _write(base, tmp_path, target_modules=["q_proj", "v_proj"])
    assert json.loads((tmp_path / CONFIG).read_text())["target_modules"] == ["q_proj", "v_proj"]
    _write(base, tmp_path, target_modules=["model.layers.1.self_attn.q_proj"])
    assert json.loads((tmp_path / CONFIG).read_text())["target_modules"] == ["model.layers.1.self_attn.q_proj"]


def _cut(folder: Path) -> None:
    file = folder / WEIGHTS
    file.write_bytes(file.read_bytes()[:-100])


def _not_finite(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    next(iter(tensors.values()))[0, 0] = float("nan")
    save_file(tensors, folder / WEIGHTS)


def _half(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    del tensors[next(name for name in tensors if "lora_B" in name)]
    save_file(tensors, folder / WEIGHTS)


def _config(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps(config | changes))

    return change


DAMAGES: list[tuple[Callable[[Path], None], str]] = [
    (_cut, "cannot be read"),
    (_not_finite, "not finite"),
    (_half, "has no A and B of rank 16"),
    (lambda folder: (folder / CONFIG).unlink(), "adapter_config.json is missing"),
    (lambda folder: (folder / WEIGHTS).unlink(), "cannot be read"),
    (lambda folder: (folder / WEIGHTS).write_bytes(b"\x80\x04K\x01."), "cannot be read"),
    (lambda folder: (folder / CONFIG).write_text("{"), "cannot be read"),
    (_config(peft_type="IA3"), "is of PEFT's type 'IA3'; LoRA Studio reads LORA and PROMPT_TUNING"),
    (_config(task_type="SEQ_CLS"), "is for the task 'SEQ_CLS'"),
    (_config(use_dora=True), "has no magnitude"),
    (_config(lora_bias=True, trainable_token_indices=[1]), "uses lora_bias, trainable_token_indices"),
    (_config(init_lora_weights="pissa_niter_4"), "path_initial_model_for_weight_conversion"),
    (_config(rank_pattern={"q_proj": 4}), "has no A and B of rank 4"),
    (_config(rank_pattern={"q_proj": "4"}), "rank_pattern .* makes no sense"),
    (_config(alpha_pattern={"(": 4}), "has the pattern .* which leaves a group open"),
    (_config(alpha_pattern={"x" * 3000 + "*": 4}), "which has 30.. characters, more than 2000"),
    (_config(alpha_pattern={"(.*.*.*.*)*(?=(.*)*(?=(.*)*(?=.*(?=.*x))))": 4}), "which takes too long"),
    (_config(bias="some"), "has bias 'some'"),
    (_config(modules_to_save="lm_head"), "no list of names"),
    (_config(layers_to_transform=["1"]), "no list of numbers"),
    (_config(r=10**9), "make no sense"),
    (_config(lora_alpha="loud"), "make no sense"),
    (_config(r=8), "has no A and B of rank 8"),
]


@pytest.mark.parametrize(("damage", "told"), DAMAGES)
def test_a_damaged_or_foreign_adapter_is_refused_in_words(
    base: models.LoadedBase, tmp_path: Path, damage: Callable[[Path], None], told: str
) -> None:
    _write(base, tmp_path)
    damage(tmp_path)
    with pytest.raises(AdapterError, match=told):
        adapter_files.read(tmp_path)


@pytest.mark.parametrize("shape", [(), (4,), (0, 64), (4, 64, 1)])
def test_a_bottleneck_of_any_other_shape_does_not_fit(
    base: models.LoadedBase, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    _write(base, tmp_path, method="bottleneck", bottleneck=4)
    tensors = load_file(tmp_path / WEIGHTS)
    for name in tensors:
        tensors[name] = torch.zeros(shape)
    save_file(tensors, tmp_path / WEIGHTS)
    with pytest.raises(AdapterError, match=r"down .*shape"):
        adapter_files.check_fits(adapter_files.read(tmp_path), base.model)


def test_what_is_taken_over_is_read_once(
    base: models.LoadedBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    _write(base, source, rank=4, alpha=10)
    opened: list[Path] = []
    safe_open = adapter_files.safe_open
    monkeypatch.setattr(
        adapter_files, "safe_open", lambda file, framework: (opened.append(file), safe_open(file, framework))[1]
    )
    adapter = adapter_files.take_over(source, target, base_name="tiny", model=base.model)
    assert opened == [source / WEIGHTS]
    assert adapter.path == source
    written, given = load_file(target / WEIGHTS), load_file(source / WEIGHTS)
    assert written.keys() == given.keys()
    assert all(torch.equal(written[name], given[name]) for name in given)


def test_an_adapter_of_another_base_model_does_not_fit(base: models.LoadedBase, tmp_path: Path) -> None:
    other = models.load(make_tiny_model(tmp_path / "gpt2", "gpt2"))
    (tmp_path / "adapter").mkdir()
    _write(other, tmp_path / "adapter")
    with pytest.raises(AdapterError, match="another base model: here is no layer transformer"):
        adapter_files.check_fits(adapter_files.read(tmp_path / "adapter"), base.model)


def test_an_adapter_of_another_width_does_not_fit(base: models.LoadedBase, tmp_path: Path) -> None:
    _write(base, tmp_path, target_modules=["q_proj"])
    tensors = load_file(tmp_path / WEIGHTS)
    save_file({n: (t[:, :32].clone() if "lora_A" in n else t) for n, t in tensors.items()}, tmp_path / WEIGHTS)
    with pytest.raises(AdapterError, match="64 x 64 here, the adapter expects 64 x 32"):
        adapter_files.check_fits(adapter_files.read(tmp_path), base.model)


def test_reading_an_adapter_imports_nothing_its_config_names(base: models.LoadedBase, tmp_path: Path) -> None:
    import sys

    _write(base, tmp_path)
    _config(auto_mapping={"parent_library": "antigravity", "base_model_class": "X"})(tmp_path)
    adapter = adapter_files.read(tmp_path)
    assert "antigravity" not in sys.modules
    assert all(torch.isfinite(update.a).all() for update in adapter.low_rank.values())
