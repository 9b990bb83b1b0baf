"""Models that bring code along, of kinds transformers has code for: they work on that, and theirs is never touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from adapters_store.store import Store
from engine import base_config, models
from engine import hub as hubs
from engine.download import Hub
from engine.hub_id import HubId
from engine.methods import fit
from engine.models import ModelError
from engine.settings import parse
from engine.train import prepare, train
from jobs.ending import Ending
from jobs.worker import do
from studio import inspecting, records, train_facts
from tests.architectures import make_architecture
from tests.hub import hub
from tests.tiny import tiny_rows

pytestmark = pytest.mark.usefixtures("one_thread_each")

KINDS = ["Phi-3", "Falcon, ALiBi"]
FILES = ("modeling_x.py", "configuration_x.py", "tokenization_x.py", "custom_generate/generate.py")
NAMED = {"AutoConfig": "configuration_x.X", "AutoModelForCausalLM": "modeling_x.X", "AutoModel": "org/evil--modeling.X"}


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """The file that the code beside the model writes as soon as anybody runs it."""
    return tmp_path / "the-code-was-run"


@pytest.fixture
def folder(tmp_path: Path, marker: Path, request: pytest.FixtureRequest) -> Path:
    """A tiny model as older repositories hold it: settings that name code, and the code beside it."""
    made = make_architecture(tmp_path / "model", getattr(request, "param", "Phi-3"))
    for name in FILES:
        (made / name).parent.mkdir(exist_ok=True)
        (made / name).write_text(f"open({str(marker)!r}, 'w').close()\n")
    change(
        made,
        auto_map=NAMED,
        trust_remote_code=False,
        _attn_implementation="flash_attention_2",
        configuration_files=["config.4.0.0.json"],
        transformers_weights="other.safetensors",
    )
    (made / "config.4.0.0.json").write_text('{"model_type": "llama"}')
    return made


def change(folder: Path, **changes: Any) -> None:
    """Write other values into the model's settings."""
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize("folder", KINDS, indirect=True)
def test_it_loads_and_trains_on_transformers_own_code_and_no_other_is_run(folder: Path, marker: Path) -> None:
    base = models.load(folder)
    assert type(base.model).__module__.startswith("transformers.models.")
    assert not hasattr(base.model.config, "auto_map")
    settings = parse({"rank": 4, "epochs": 1, "batch_size": 4, "micro_batch": 4, "learning_rate": 5e-3})
    fitted = fit(base.model, settings)
    first, *_, last = train(base, fitted, prepare(base.tokenizer, tiny_rows(24), settings, 256), settings)
    assert first.validation_loss is not None
    assert last.validation_loss is not None
    assert last.validation_loss < first.validation_loss
    assert not marker.exists()


def test_it_computes_what_it_computes_without_the_names_of_the_code(folder: Path, tmp_path: Path) -> None:
    ids = torch.arange(3, 40)[None]
    plain = models.load(make_architecture(tmp_path / "plain", "Phi-3"))
    assert torch.equal(models.load(folder).model(ids).logits, plain.model(ids).logits)


def test_from_a_hub_its_data_alone_is_fetched(
    folder: Path, marker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = tmp_path / "into"
    into.mkdir()
    for name in FILES[3:]:
        (folder / name).unlink()
        (folder / name).parent.rmdir()
    with hub() as far:
        far.models["org/older"] = folder
        monkeypatch.setenv("HF_ENDPOINT", far.endpoint)
        with Hub() as connection:
            listing = hubs.look_up(connection, HubId("org/older"))
            hubs.fetch(connection, listing, into, lambda c: base_config.problems(c, "org/older"), lambda *_: None)
        asked = set(far.files_asked_for())
    wanted = {"config.json", "model.safetensors", "tokenizer.json"}
    assert wanted <= asked <= wanted | {"generation_config.json", "tokenizer_config.json", "chat_template.jinja"}
    assert models.load(into).model.config.model_type == "phi3"
    assert not marker.exists()


def test_page_and_commands_say_in_a_sentence_that_its_code_is_not_used(folder: Path, store: Store) -> None:
    job = store.submit("fetch", "older", {"source": "folder", "path": str(folder), "name": "older"})
    do(store, job.id, Ending())
    (base,) = store.base_models()
    told = "It comes with code of its own, which is never run: transformers' code for this kind of model is used."
    assert records.model_record(store, base)["remarks"] == [told]
    assert "which is never run" in train_facts.base_help(base)
    record = inspecting.record(base.name, base.facts, parse({"rank": 4}))
    assert record["brings_code"] is True
    assert told in inspecting.sentences(record)


def test_one_of_a_kind_that_transformers_does_not_know_is_refused(folder: Path, marker: Path) -> None:
    change(folder, model_type="phi3small")
    for look in (models.load, models.describe):
        with pytest.raises(ModelError, match=r"needs its own Python code to run .* never runs a model's code"):
            look(folder)
    assert not marker.exists()


def test_a_tokenizer_that_needs_code_is_refused_in_a_folder_as_on_a_hub(folder: Path, marker: Path) -> None:
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["auto_map"] = {"AutoTokenizer": ["tokenization_x.X", None]}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match=r"The tokenizer of .* needs its own Python code"):
        models.load(folder)
    assert not marker.exists()


def test_names_of_code_are_left_out_at_any_depth() -> None:
    inner = {"_attn_implementation": "sdpa", "_experts_implementation_internal": "x", "hidden_size": 3}
    given = {"a": [inner, {"auto_map": {}}], "text_config": inner, "auto_map": {}, "model_type": "phi3"}
    kept = {"a": [{"hidden_size": 3}, {}], "text_config": {"hidden_size": 3}, "model_type": "phi3"}
    assert base_config.plain(given) == kept


# --- weights that do not fit ------------------------------------------------------------------------------------------

DOWN = "model.layers.0.mlp.down_proj.weight"


def _lacking(tensors: dict[str, Tensor]) -> None:
    del tensors[DOWN]


def _extra(tensors: dict[str, Tensor]) -> None:
    tensors["model.layers.0.self_attn.gate.weight"] = torch.zeros(3)


def _many(tensors: dict[str, Tensor]) -> None:
    tensors.update({f"model.other.{number}": torch.zeros(1) for number in range(7)})


def _reshaped(tensors: dict[str, Tensor]) -> None:
    tensors[DOWN] = tensors[DOWN][:, :-1].contiguous()


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (_lacking, f"Its weights lack {DOWN}, which Phi3ForCausalLM has."),
        (_extra, "Its weights hold model.layers.0.self_attn.gate.weight, which Phi3ForCausalLM does not have."),
        (_many, r"hold model.other.0, .*, model.other.4 and 2 more, which"),
        (_reshaped, f"{DOWN} is 32 x 47, and config.json asks for 32 x 48."),
    ],
)
@pytest.mark.parametrize("precision", ["full", "nf4"])
def test_weights_that_are_not_exactly_those_of_the_class_are_refused_by_name(
    folder: Path, edit: Callable[[dict[str, Tensor]], None], told: str, precision: str
) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=told):
        models.load(folder, precision=precision)


def test_constants_that_older_files_hold_are_passed_over(tmp_path: Path) -> None:
    folder = make_architecture(tmp_path / "neo", "GPT-Neo")
    before = models.load(folder).model.state_dict()
    tensors = load_file(folder / "model.safetensors")
    mask = torch.ones(1, 1, 256, 256, dtype=torch.bool).tril()
    tensors |= {f"transformer.h.{n}.attn.attention.bias": mask.clone() for n in (0, 1)}
    tensors["transformer.h.0.attn.attention.masked_bias"] = torch.tensor(-1e9)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    after = models.load(folder).model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
