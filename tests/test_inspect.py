"""`models inspect`: what a run would train, from config.json alone, by command and for models that are elsewhere."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters_store.files import locate
from adapters_store.store import Store
from engine import adapter_files, models
from engine.methods import fit
from engine.settings import SettingsError, parse
from engine.sizing import count
from jobs.ask import Answerer, AnswererError
from studio import inspecting
from studio.edge import UsageError
from tests.configs import LARGE, write_config
from tests.hub import hub
from tests.terminal import Terminal
from tests.workshop import add_base, one_thread, shared_tiny_model

ASKED = [
    ("bloom-3b", "query_key_value", 3_002_557_440, 2_457_600, "0.0818"),
    ("Llama-2-7b", "q_proj,v_proj", 6_738_415_616, 4_194_304, "0.0622"),
    ("gpt2", "c_attn", 124_439_808, 294_912, "0.2364"),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with one_thread():
        opened = Store(locate(tmp_path / "data"))
        yield opened
        opened.close()


class KeptWarm(Answerer):
    """An answerer that several commands share, as it takes seconds to start."""

    def close(self) -> None:
        """It is ended with the last test of this file."""


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answerer]:
    with one_thread():
        kept = KeptWarm(tmp_path_factory.mktemp("answerer") / "log")
        yield kept
        Answerer.close(kept)


Inspect = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def inspect(tmp_path: Path, answerer: Answerer, monkeypatch: pytest.MonkeyPatch) -> Inspect:
    """`models inspect` by command."""
    monkeypatch.setattr(inspecting, "Answerer", lambda log: answerer)
    terminal = Terminal(tmp_path / "data")
    return lambda *words: terminal.run("models", "inspect", *words)


@pytest.mark.parametrize(("name", "targets", "parameters", "trained", "percent"), ASKED)
def test_large_models_are_counted_by_command_without_their_weights(
    inspect: Inspect, tmp_path: Path, name: str, targets: str, parameters: int, trained: int, percent: str
) -> None:
    folder = write_config(tmp_path / name, name)
    done = inspect(str(folder), "--method", "lora", "--rank", "8", "--targets", targets, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["base_parameters"], told["trainable_parameters"]) == (parameters, trained)
    assert told["adapter_bytes"] == 4 * trained
    assert f"{told['trainable_percent']:.4f}" == percent
    assert told["architecture"] == LARGE[name]["architectures"][0]
    assert sum(module["trainable_parameters"] for module in told["modules"]) == trained
    assert sum(module["bytes"] for module in told["modules"]) == 4 * trained
    assert [path.name for path in folder.iterdir()] == ["config.json"]


def test_the_words_give_the_same_figures_and_say_what_stays_frozen(inspect: Inspect, tmp_path: Path) -> None:
    done = inspect(str(write_config(tmp_path / "mix", "Mixtral-8x7B")), "--rank", "8", "--targets", "q_proj")
    assert done.returncode == 0, done.stderr
    assert "46,702,792,704 parameters in 32 blocks" in done.stdout
    assert "Trained: 2,097,152 (0.0045 %" in done.stdout
    assert "45,097,156,608 parameters in experts stay frozen and get no adapter" in done.stdout
    assert done.stdout.splitlines()[-1].split() == ["q_proj", "32", "2,097,152"]


def test_all_that_does_not_fit_is_told_at_once_with_exit_code_2(inspect: Inspect, tmp_path: Path) -> None:
    folder = write_config(tmp_path / "gpt2", "gpt2")
    done = inspect(str(folder), "--targets", "c_attn,nose", "--layers", "3,99", "--train-in-full", "hat")
    assert done.returncode == 2
    assert done.stdout == ""
    problems = done.stderr.splitlines()
    assert problems[0] == "Target modules: nose. gpt2 has c_attn, c_fc, c_proj."
    assert problems[1] == "Blocks: 99. gpt2 has 12 of them, numbered from 0."
    assert problems[2] == "Train in full: hat. gpt2 has, outside of its blocks, lm_head, ln_f, wpe, wte."


def test_a_base_of_the_library_is_found_by_name_and_by_number_and_needs_no_process(store: Store) -> None:
    base = add_base(store)
    assert inspecting.find(store, "tiny") == inspecting.find(store, str(base.id)) == ("tiny", base.facts)
    with pytest.raises(UsageError, match="neither a folder"):
        inspecting.find(store, "nobody")
    with pytest.raises(UsageError, match="models add starter"):
        inspecting.find(store, "starter")


def test_a_model_on_a_hub_is_counted_by_its_config_and_nothing_else_is_fetched(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub() as far:
        far.models["org/tiny"] = shared_tiny_model()
        monkeypatch.setenv("HF_ENDPOINT", far.endpoint)
        name, facts = inspecting.find(store, "org/tiny")
        assert (name, facts["parameters"]) == ("tiny", models.describe(shared_tiny_model())["parameters"])
        assert far.files_asked_for() == ["config.json"]
        with pytest.raises(AnswererError, match="no model org/other"):
            inspecting.find(store, "org/other")


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ('{"model_type": "vit"}', "no text model"),
        ('{"model_type": "llama", "hidden_size": "wide"}', "does not describe a model that can be built"),
        ('{"model_type": "llama", "num_attention_heads": 0}', "does not describe a model that can be built"),
        ('{"model_type": "evil", "auto_map": {"AutoModel": "evil.Model"}}', "never runs a model's code"),
        ("{", "not valid JSON"),
    ],
)
def test_a_config_that_makes_no_model_is_refused_in_words(tmp_path: Path, config: str, told: str) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(models.ModelError, match=told):
        models.describe(tmp_path)


MISFITS: list[tuple[str, dict[str, Any], str]] = [
    ("gpt2", {"target_modules": []}, "Target modules: empty"),
    ("gpt2", {"rank_pattern": {"c_attn": 2, "q_proj": 3}}, "Rank by layer: q_proj"),
    ("gpt2", {"target_modules": ["c_attn"], "alpha_pattern": {"c_fc": 2}}, "Alpha by layer: c_fc"),
    ("gpt2", {"train_in_full": ["c_attn"]}, "cannot be trained in full and get an adapter as well"),
    ("Llama-2-7b", {"method": "bitfit"}, "has no biases"),
    ("Mixtral-8x7B", {"method": "bottleneck"}, "bottleneck adapters have no place"),
]


@pytest.mark.parametrize(("name", "values", "told"), MISFITS)
def test_what_a_base_has_no_place_for_is_told_before_the_run(
    tmp_path: Path, name: str, values: dict[str, Any], told: str
) -> None:
    facts = models.describe(write_config(tmp_path, name))
    with pytest.raises(SettingsError, match=told):
        inspecting.settings_for("It", facts, values)


def test_a_rank_that_pissa_cannot_start_from_is_told_with_the_layer_that_is_too_small() -> None:
    facts = models.describe(shared_tiny_model())
    with pytest.raises(SettingsError, match=r"layers\.0\.self_attn\.k_proj \(32 x 64\) has only 32"):
        inspecting.settings_for("It", facts, {"start": "pissa", "rank": 33, "alpha": 66})


OPTIONS: list[dict[str, Any]] = [
    {"rank": 4},
    {"rank": 4, "target_modules": ["q_proj", "down_proj"], "layers": [1], "rank_pattern": {"q_proj": 9}},
    {"rank": 4, "start": "pissa"},
    {"rank": 4, "train_in_full": ["embed_tokens"]},
    {"rank": 4, "train_in_full": ["lm_head", "norm"]},
    {"rank": 4, "train_in_full": ["embed_tokens", "lm_head"]},
    {"rank": 4, "method": "dora"},
    {"method": "prompt", "prompt_tokens": 7},
    {"method": "bottleneck", "bottleneck": 6},
    {"method": "norms"},
    {"method": "blocks", "blocks": 1},
    {"method": "full"},
]


@pytest.mark.parametrize("values", OPTIONS, ids=str)
def test_the_predicted_size_is_that_of_the_written_file_to_the_byte_of_its_tensors(
    tmp_path: Path, values: dict[str, Any]
) -> None:
    settings, base = parse(values), models.load(shared_tiny_model())
    fitted = fit(base.model, settings)
    tensors = fitted.tensors()
    fitted.remove()
    adapter_files.write(tmp_path, tensors, base_name="tiny", settings=settings, model=base.model)
    with (tmp_path / adapter_files.WEIGHTS).open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    real = (tmp_path / adapter_files.WEIGHTS).stat().st_size - 8 - header
    assert count(models.describe(shared_tiny_model()), settings).tensor_bytes == real


PEFTS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("llama", {"rank": 4}, {"r": 4, "target_modules": "all-linear"}),
    ("llama", {"rank": 4, "method": "dora"}, {"r": 4, "target_modules": "all-linear", "use_dora": True}),
    (
        "gpt2",
        {"rank": 4, "target_modules": ["c_attn"], "bias": "all", "train_in_full": ["wpe"]},
        {"r": 4, "target_modules": ["c_attn"], "bias": "all", "modules_to_save": ["wpe"], "fan_in_fan_out": True},
    ),
]


@pytest.mark.parametrize(("kind", "values", "theirs"), PEFTS, ids=["all-linear", "dora", "biases and a whole module"])
def test_numbers_and_share_are_those_that_peft_counts(
    kind: str, values: dict[str, Any], theirs: dict[str, Any]
) -> None:
    from peft import LoraConfig, get_peft_model

    path = shared_tiny_model(kind)
    wrapped = get_peft_model(models.load(path).model, LoraConfig(task_type="CAUSAL_LM", **theirs))
    trained, everything = wrapped.get_nb_trainable_parameters()
    facts = models.describe(path)
    counted = count(facts, parse(values))
    assert counted.trained == trained
    assert counted.share(facts["parameters"]) == pytest.approx(trained / everything, rel=1e-12)
