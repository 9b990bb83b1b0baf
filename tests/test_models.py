"""Base models: what is a usable folder, what it is made of, where it runs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from adapters_store.store import Store
from engine import models, tokenizer_config
from engine.models import Hardware, ModelError, choose_device
from tests.tiny import make_tiny_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "tiny")


def test_the_facts_are_those_of_the_loaded_model(folder: Path) -> None:
    facts = models.describe(folder)
    model = models.load(folder).model
    assert facts["parameters"] == sum(p.numel() for p in model.parameters())
    assert facts["architecture"] == "LlamaForCausalLM"
    assert facts["max_length"] == 256
    assert facts["chat_template"] is True
    for layer in facts["layers"]:
        assert model.get_submodule(layer["path"]).weight.shape == (layer["out"], layer["in"])


def test_facts_are_plain_json(folder: Path) -> None:
    assert json.loads(json.dumps(models.describe(folder))) == models.describe(folder)


def test_a_fingerprint_changes_with_any_byte_of_the_weights_and_not_with_the_place(
    folder: Path, tmp_path: Path
) -> None:
    before = models.fingerprint(folder)
    moved = folder.rename(tmp_path / "elsewhere")
    assert models.fingerprint(moved) == before
    weights = moved / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    assert models.fingerprint(moved) != before


def _config(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))

    return change


def _as_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


DAMAGES: list[tuple[Callable[[Path], None], str]] = [
    (lambda f: (f / "config.json").unlink(), "has no config.json"),
    (lambda f: (f / "config.json").write_text("{"), "not valid JSON"),
    (lambda f: (f / "config.json").write_text("[]"), "one JSON object"),
    (_config(model_type="evil", auto_map={"AutoModel": "evil.Model"}), "needs its own Python code"),
    (_config(model_type="vit"), "no text model"),
    (_config(model_type=["llama"]), "does not say what it is"),
    (lambda f: (f / "config.json").write_text('{"a":' * 900 + "1" + "}" * 900), "nested too deeply"),
    (_config(quantization_config={"quant_method": "gptq"}), "stored quantised"),
    (_as_pickle, "a format that can run code"),
    (lambda f: (f / "model.safetensors").unlink(), "has no weights"),
    (lambda f: (f / "tokenizer.json").unlink(), "has no tokenizer"),
]


@pytest.mark.parametrize(("damage", "told"), DAMAGES)
def test_a_folder_that_is_no_base_model_is_refused_in_words(
    folder: Path, damage: Callable[[Path], None], told: str
) -> None:
    damage(folder)
    with pytest.raises(ModelError, match=told):
        models.check_folder(folder)


def test_all_that_is_wrong_with_a_folder_is_told_at_once(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    _as_pickle(folder)
    with pytest.raises(ModelError) as told:
        models.check_folder(folder)
    assert len(told.value.problems) == 2


def test_truncated_weights_are_refused_in_words(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(Exception, match=r"cannot be loaded") as told:
        models.load(folder)
    assert isinstance(told.value, ModelError)


def test_a_base_without_chat_template_gets_the_plain_one(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    assert tokenizer_config.has_chat_template(folder) is False
    tokenizer = models.load_tokenizer(folder)
    messages = [{"role": "user", "content": "Hello"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == "User: Hello\nAssistant:"


def test_damaged_settings_of_the_tokenizer_hold_no_chat_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    for content in ("{", "[]", '"chat_template"'):
        (folder / "tokenizer_config.json").write_text(content)
        assert tokenizer_config.has_chat_template(folder) is False


@pytest.mark.parametrize("architectures", [5, [5], "LlamaForCausalLM", {"a": 1}, [], None])
def test_an_architecture_that_is_no_name_is_that_of_the_built_model(folder: Path, architectures: object) -> None:
    _config(architectures=architectures)(folder)
    assert models.describe(folder)["architecture"] == "LlamaForCausalLM"


@pytest.mark.parametrize(
    ("hardware", "kind", "dtype", "why"),
    [
        (Hardware(cuda_name="H100", cuda_bf16=True, mps=True), "cuda", torch.bfloat16, "computes bf16"),
        (Hardware(cuda_name="T4"), "cuda", torch.float32, "no bf16"),
        (Hardware(mps=True), "mps", torch.float32, "Apple"),
        (Hardware(cpu_threads=2), "cpu", torch.float32, "no GPU"),
    ],
)
def test_the_device_is_the_fastest_there_is_with_a_reason(
    hardware: Hardware, kind: str, dtype: torch.dtype, why: str
) -> None:
    device = choose_device(hardware)
    assert (device.kind, device.dtype) == (kind, dtype)
    assert why in device.why


@pytest.mark.parametrize(
    ("hardware", "dtype", "compute", "why"),
    [
        (Hardware(cuda_name="H100", cuda_bf16=True), torch.bfloat16, torch.bfloat16, "bf16, which this GPU has"),
        (Hardware(cuda_name="T4", cpu_bf16=True), torch.float32, torch.float32, "fp32, as this GPU has no bf16"),
        (Hardware(cpu_bf16=True), torch.float32, torch.bfloat16, "bf16, which this CPU has; all else is fp32"),
        (Hardware(), torch.float32, torch.float32, "fp32, as this CPU has no bf16"),
    ],
)
@pytest.mark.parametrize(("precision", "name"), [("nf4", "NF4"), ("int8", "int8")])
def test_a_base_in_few_bits_multiplies_in_bf16_where_the_hardware_has_it(
    hardware: Hardware, dtype: torch.dtype, compute: torch.dtype, why: str, precision: str, name: str
) -> None:
    device = choose_device(hardware, precision)
    assert (device.dtype, device.compute_dtype) == (dtype, compute)
    assert f"Base in {name}" in device.why
    assert why in device.why


@pytest.mark.parametrize("precision", ["nf4", "int8"])
def test_a_base_in_few_bits_is_refused_on_apples_gpu_in_words(precision: str) -> None:
    with pytest.raises(ModelError, match="needs an NVIDIA GPU or a CPU") as told:
        choose_device(Hardware(mps=True, cpu_bf16=True), precision)
    assert "Full" in told.value.problems[0]


def test_weights_of_the_base_are_trained_in_fp32_whatever_the_gpu_computes() -> None:
    gpu = models.Hardware(cuda_name="Test GPU", cuda_bf16=True)
    assert models.choose_device(gpu).dtype == torch.bfloat16
    chosen = models.choose_device(gpu, base_trained=True)
    assert chosen.dtype == torch.float32
    assert "own weights are trained" in chosen.why
    alone = models.Hardware(cpu_threads=2)
    assert models.choose_device(alone, base_trained=True) == models.choose_device(alone)


def test_what_the_library_keeps_in_the_folder_of_a_model_is_no_part_of_it(store: Store, folder: Path) -> None:
    before = models.fingerprint(folder)
    with store.files.draft("models") as draft:
        shutil.copytree(folder, draft.path, dirs_exist_ok=True)
        key = draft.publish()
    facts = models.describe(folder)
    base = store.add_base_model(name="tiny", source="gguf", path=None, folder=key, fingerprint=before, facts=facts)
    assert {"about.json", "manifest.json"} <= {file.name for file in store.base_path(base).iterdir()}
    assert models.fingerprint(store.base_path(base)) == before
