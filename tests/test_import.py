"""Adapters that the real `peft` wrote compute the same here, and foreign or hostile ones are refused in words."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from adapters_store.store import Store
from adapters_store.tables import Job
from engine import adapter_files, models, tokenizer_config
from engine.adapter_files import CONFIG, WEIGHTS, AdapterError
from engine.methods import fit
from engine.methods.attach import attached
from engine.methods.stored import load_stored
from engine.peft_files import HARMLESS, UNDERSTOOD
from engine.settings import parse
from jobs import adapter_package, process, runner
from jobs.ending import Ended, Ending
from jobs.worker import do
from studio import adapter_actions
from studio.actions import ActionError
from tests.workshop import add_base, one_thread, shared_tiny_model, wait_for

CPU = models.Device("cpu", "CPU", torch.float32, "a test")
IDS = torch.randint(3, 300, (2, 19), generator=torch.Generator().manual_seed(5))


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def in_peft(kind: str, folder: Path, **config: Any) -> Tensor:
    """Have `peft` write an adapter with these settings and numbers of its own; what the adapted model computes."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(3)
    config.setdefault("task_type", "CAUSAL_LM")
    adapted: Any = get_peft_model(models.load(shared_tiny_model(kind), CPU).model, LoraConfig(**config))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape))
                assert "lora_A" not in name or float(parameter.abs().max()) > 0
    logits: Tensor = adapted.eval()(IDS).logits.detach()
    adapted.save_pretrained(folder)
    return logits


def change(folder: Path, **changes: Any) -> None:
    """Write other values into the adapter's config."""
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | changes))


def logits_here(base: models.LoadedBase, folder: Path) -> Tensor:
    adapter = adapter_files.read(folder)
    adapter_files.check_fits(adapter, base.model)
    with torch.no_grad(), attached(base.model, [adapter]):
        logits: Tensor = base.model(IDS).logits
    return logits


WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "a list of names": ("llama", {"r": 3, "lora_alpha": 10, "target_modules": ["q_proj", "down_proj"]}),
    "a path": ("llama", {"r": 3, "target_modules": ["model.layers.1.self_attn.v_proj"]}),
    "an ending of a path": ("llama", {"r": 3, "target_modules": ["self_attn.v_proj", "0.mlp.up_proj"]}),
    "a pattern": ("llama", {"r": 3, "target_modules": r".*layers\.[1-9]\..*\.(q|v)_proj"}),
    "all-linear": ("llama", {"r": 2, "target_modules": "all-linear"}),
    "all-linear, Conv1D": ("gpt2", {"r": 2, "target_modules": "all-linear", "fan_in_fan_out": True}),
    "null": ("llama", {"r": 3, "target_modules": None}),
    "null, Conv1D": ("gpt2", {"r": 3, "fan_in_fan_out": True}),
    "the head": ("gpt2", {"r": 3, "target_modules": ["c_attn", "lm_head"], "fan_in_fan_out": True}),
    "ranks and alphas": (
        "llama",
        {
            "r": 4,
            "lora_alpha": 12,
            "target_modules": ["q_proj", "v_proj", "up_proj"],
            "rank_pattern": {r"layers\.1\..*q_proj": 2, "q_proj": 5, "model.layers.0.mlp.up_proj": 3},
            "alpha_pattern": {"v_proj": 3, r"layers.\d.mlp.*": 7.5},
        },
    ),
    "some layers": ("llama", {"r": 3, "target_modules": ["q_proj", "up_proj"], "layers_to_transform": [1]}),
    "one layer of a list": (
        "gpt2",
        {"r": 3, "target_modules": ["c_attn"], "layers_to_transform": 0, "layers_pattern": "h", "fan_in_fan_out": True},
    ),
    "some left out": ("llama", {"r": 3, "target_modules": "all-linear", "exclude_modules": ["mlp.up_proj", "q_proj"]}),
    "some left out by a pattern": ("llama", {"r": 3, "target_modules": ["q_proj"], "exclude_modules": r".*\.0\..*"}),
    "modules saved": ("gpt2", {"r": 3, "target_modules": ["c_attn"], "modules_to_save": ["ln_f", "ln_1"]}),
    "an embedding saved apart": ("gpt2", {"r": 3, "target_modules": ["c_attn"], "modules_to_save": ["wte"]}),
    "a whole part saved": ("llama", {"r": 3, "target_modules": "all-linear", "modules_to_save": ["0.mlp", "norm"]}),
    "a head saved apart": ("llama", {"r": 3, "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}),
    "an embedding saved with its head": (
        "llama",
        {"r": 3, "target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
    ),
    "rank-stabilised": ("llama", {"r": 9, "lora_alpha": 16, "target_modules": ["q_proj"], "use_rslora": True}),
    "DoRA": ("llama", {"r": 3, "target_modules": ["q_proj", "down_proj"], "use_dora": True}),
    "DoRA, Conv1D": ("gpt2", {"r": 3, "target_modules": ["c_attn", "c_proj"], "use_dora": True, "use_rslora": True}),
    "all biases": ("gpt2", {"r": 3, "target_modules": ["c_attn"], "bias": "all"}),
    "biases of its layers": ("gpt2", {"r": 3, "target_modules": ["c_attn", "c_fc"], "bias": "lora_only"}),
}
# A run adapts layers of the blocks only, and keeps what is tied.
BEYOND_A_RUN = ("the head", "a head saved apart", "an embedding saved apart")


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def base(request: pytest.FixtureRequest) -> models.LoadedBase:
    return models.load(shared_tiny_model(request.param), CPU)


def on_meta(base: models.LoadedBase) -> Any:
    """The base model without weights, as an import sees it."""
    return models.without_weights(base.path)


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to:UserWarning")
@pytest.mark.filterwarnings("ignore:.*tie_word_embeddings.*:UserWarning")
@pytest.mark.filterwarnings("ignore:.*[Tt]ied.*:UserWarning")
@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning")
@pytest.mark.parametrize("way", WAYS)
def test_what_peft_wrote_computes_the_same_here_and_after_it_was_taken_over(way: str, tmp_path: Path) -> None:
    kind, config = WAYS[way]
    theirs, source, target = in_peft(kind, tmp_path / "theirs", **config), tmp_path / "theirs", tmp_path / "ours"
    base = models.load(shared_tiny_model(kind), CPU)
    same(logits_here(base, source), theirs, 1e-5)  # by rows, where the scaling is folded into B

    target.mkdir()
    adapter = adapter_files.take_over(source, target, base_name="tiny", model=on_meta(base))
    assert sorted(file.name for file in target.iterdir()) == ["README.md", CONFIG, WEIGHTS]
    same(logits_here(base, target), theirs, 1e-5)
    same(in_peft_again(kind, target), theirs, 1e-6)

    if way not in BEYOND_A_RUN:  # a run goes on from it: the same layers in the same shapes, and no others
        fitted = fit(base.model, parse(adapter_files.shape_settings(adapter, on_meta(base))))
        load_stored(fitted, adapter_files.read(target))
        with torch.no_grad():
            same(base.model(IDS).logits, theirs, 1e-5 if "DoRA" in way else 1e-6)
        fitted.remove()


@pytest.mark.filterwarnings("ignore:PiSSA changes the base weights:UserWarning")
@pytest.mark.parametrize("options", [{}, {"use_rslora": True}], ids=["plain", "rank-stabilised"])
def test_a_pissa_adapter_that_peft_converted_computes_the_same_on_the_untouched_base(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    from peft import LoraConfig, get_peft_model

    base = models.load(shared_tiny_model(), CPU)
    start = LoraConfig(r=3, target_modules=["q_proj", "up_proj"], init_lora_weights="pissa", **options)
    adapted: Any = get_peft_model(models.load(shared_tiny_model(), CPU).model, start)
    adapted.peft_config["default"].init_lora_weights = True  # as PEFT's guide says: the first state is saved plain
    adapted.save_pretrained(tmp_path / "first")
    adapted.peft_config["default"].init_lora_weights = "pissa"
    with torch.no_grad():
        for parameter in (p for p in adapted.parameters() if p.requires_grad):
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4)))
    theirs = adapted.eval()(IDS).logits.detach()
    adapted.save_pretrained(tmp_path / "theirs", path_initial_model_for_weight_conversion=str(tmp_path / "first"))
    same(logits_here(base, tmp_path / "theirs"), theirs, 1e-5)
    assert adapter_files.read(tmp_path / "theirs").low_rank["model.layers.0.mlp.up_proj"].a.shape[0] == 6


def test_a_soft_prompt_of_peft_computes_the_same_here(tmp_path: Path) -> None:
    from peft import PromptTuningConfig, get_peft_model

    base = models.load(shared_tiny_model(), CPU)
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5)
    adapted: Any = get_peft_model(models.load(shared_tiny_model(), CPU).model, config)
    theirs = adapted.eval()(IDS).logits.detach()[:, 5:]
    adapted.save_pretrained(tmp_path / "theirs")
    (tmp_path / "ours").mkdir()
    adapter = adapter_files.take_over(tmp_path / "theirs", tmp_path / "ours", base_name="t", model=on_meta(base))
    same(logits_here(base, tmp_path / "ours"), theirs, 1e-6)
    assert adapter_files.shape_settings(adapter, on_meta(base)) == {"method": "prompt", "prompt_tokens": 5}


def same(ours: Tensor, theirs: Tensor, within: float) -> None:
    torch.testing.assert_close(ours, theirs, atol=within, rtol=0)


def in_peft_again(kind: str, folder: Path) -> Tensor:
    from peft import PeftModel

    adapted = PeftModel.from_pretrained(models.load(shared_tiny_model(kind), CPU).model, folder)
    logits: Tensor = adapted.eval()(IDS).logits.detach()
    return logits


# --- as a job ---------------------------------------------------------------------------------------------------------


def plain_adapter(folder: Path, kind: str = "llama", **config: Any) -> Path:
    in_peft(kind, folder, **{"r": 3, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj"], **config})
    return folder


def zipped(folder: Path, to: Path, top: str = "") -> Path:
    with zipfile.ZipFile(to, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"{top}{file.name}")
    return to


def do_job(store: Store, job_id: int) -> Job:
    """Do a job in this process, as a worker does."""
    assert do(store, job_id, Ending()) == 0
    return store.job(job_id)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No runner is started: the test does the jobs itself."""
    monkeypatch.setattr(runner, "ensure", lambda root: None)


def nothing_is_left(store: Store) -> bool:
    root = store.files.root
    return not any((root / "temp").iterdir()) and not any((root / "adapters").iterdir())


def test_a_worker_process_imports_a_zip_and_the_library_lists_it(store: Store, tmp_path: Path, asked: None) -> None:
    folder = plain_adapter(tmp_path / "peft", rank_pattern={"v_proj": 2}, bias="none")
    base = add_base(store)
    upload = zipped(folder, tmp_path / "pirate.zip", "pirate/")
    job = adapter_actions.import_adapter(store, upload, upload=True)
    assert not upload.exists()
    command = process.module_command("jobs.worker", str(job.id), "--data-dir", str(store.files.root))
    assert subprocess.run(command, timeout=120, check=False).returncode == 0

    done = store.job(job.id)
    assert (done.state, done.why) == ("completed", "")
    (adapter,), _ = store.adapters()
    assert (adapter.name, adapter.base_model.id, adapter.method, adapter.rank, adapter.alpha) == (
        "pirate", base.id, "LoRA", 3, 6
    )  # fmt: skip
    assert (adapter.target_modules, adapter.data_set, adapter.job_id) == (["q_proj", "v_proj"], None, job.id)
    assert parse(adapter.settings).rank_pattern == {"v_proj": 2}
    assert store.files.problems("adapters", adapter.folder) == []
    loaded = models.load(shared_tiny_model(), CPU)
    same(logits_here(loaded, store.adapter_path(adapter)), logits_here(loaded, folder), 0)
    assert not any((store.files.root / "temp").iterdir())


@pytest.mark.parametrize("asked_for", ["", "cancel"])
def test_an_interrupted_import_keeps_its_upload_and_can_be_started_again_a_cancelled_one_does_not(
    store: Store, sound: Path, tmp_path: Path, asked: None, monkeypatch: pytest.MonkeyPatch, asked_for: str
) -> None:
    add_base(store)
    job = adapter_actions.import_adapter(store, zipped(sound, tmp_path / "pirate.zip"), upload=True)
    upload = Path(job.settings["path"])

    def ended(*args: object) -> None:
        if asked_for:
            store.request_stop(job.id, "cancel")
            wait_for(lambda: called_off)
        raise Ended

    called_off: list[bool] = []
    ending = Ending()
    monkeypatch.setattr(ending, "call_off", lambda: called_off.append(True))
    with monkeypatch.context() as patch:
        patch.setattr(adapter_package, "copy", ended)
        assert do(store, job.id, ending) == 0
    assert store.job(job.id).state == ("cancelled" if asked_for else "interrupted")
    assert upload.exists() is not bool(asked_for)
    if not asked_for:
        store.move(job.id, "queued", who="person")
        assert do_job(store, job.id).state == "completed"
        assert not upload.parent.exists()


def test_an_interrupted_import_whose_upload_was_swept_says_so(
    store: Store, sound: Path, tmp_path: Path, asked: None
) -> None:
    add_base(store)
    job = adapter_actions.import_adapter(store, zipped(sound, tmp_path / "pirate.zip"), upload=True)
    shutil.rmtree(Path(job.settings["path"]).parent)
    failed = do_job(store, job.id)
    assert (failed.state, "kept for a day" in failed.why) == ("failed", True)


def test_import_and_export_refuse_a_base_whose_files_have_changed(
    store: Store, sound: Path, tmp_path: Path, asked: None
) -> None:
    copy = shutil.copytree(shared_tiny_model(), tmp_path / "copy")
    base = add_base(store, copy)
    adapter = store.adapter(do_job(store, adapter_actions.import_adapter(store, sound).id).adapter_id or 0)
    (copy / "tokenizer_config.json").write_text("{}")
    jobs_ = [
        adapter_actions.import_adapter(store, sound, base.id),
        adapter_actions.merge_adapter(store, adapter.id, tmp_path / "merged"),
    ]
    for job in jobs_:
        failed = do_job(store, job.id)
        assert failed.state == "failed"
        assert f"The files of the base model tiny in {copy} have changed" in failed.why


# --- refused ----------------------------------------------------------------------------------------------------------


def reshaped(folder: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    """Write the adapter's tensors again after `edit` has had its way with them."""
    tensors = load_file(folder / WEIGHTS)
    edit(tensors)
    save_file(tensors, folder / WEIGHTS)


A0 = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "another PEFT type": (lambda f: change(f, peft_type="LOHA"), "is of PEFT's type 'LOHA'"),
    "a classifier": (lambda f: change(f, task_type="SEQ_CLS"), "is for the task 'SEQ_CLS'"),
    "raw PiSSA": (lambda f: change(f, init_lora_weights="pissa"), "path_initial_model_for_weight_conversion"),
    "raw LoRA-GA": (lambda f: change(f, init_lora_weights="lora_ga"), "fits a changed base only"),
    "experts": (lambda f: change(f, target_parameters=["experts.w"]), "uses target_parameters"),
    "routing": (lambda f: change(f, arrow_config={"top_k": 2}), "uses arrow_config"),
    "code": (lambda f: change(f, custom="x", **{"a\nb": 1}), r"uses 'a\\nb', custom"),
    "a wrong shape": (lambda f: reshaped(f, lambda t: t.update({A0: torch.zeros(3, 32)})), "adapter expects 64 x 32"),
    "a wrong rank": (lambda f: reshaped(f, lambda t: t.update({A0: torch.zeros(2, 64)})), "no A and B of rank 3"),
    "integers": (lambda f: reshaped(f, lambda t: t.update({A0: torch.zeros(3, 64).long()})), "as 'I64', which no"),
    "not a number": (lambda f: reshaped(f, lambda t: t[A0].fill_(float("nan"))), "not finite numbers"),
    "infinite": (lambda f: reshaped(f, lambda t: t[A0].fill_(float("inf"))), "not finite numbers"),
    "very loud": (lambda f: reshaped(f, lambda t: t[A0].fill_(1e9)), "larger than training ever leaves"),
    "a layer missing": (
        lambda f: reshaped(f, lambda t: [t.pop(name) for name in list(t) if "layers.1.self_attn.q_proj" in name]),
        r"its config names model\.layers\.1\.self_attn\.q_proj, for which it holds nothing",
    ),
    "a layer too many": (lambda f: change(f, target_modules=["q_proj"]), "v_proj and 1 more beyond what its"),
    "a strange tensor": (lambda f: reshaped(f, lambda t: t.update(evil=torch.zeros(1))), "more than plain LoRA: evil"),
    "a value of the base": (
        lambda f: reshaped(f, lambda t: t.update({"base_model.model.model.norm.weight": torch.zeros(64)})),
        r"holds model\.norm\.weight beyond what its config names",
    ),
    "a bias it has not": (
        lambda f: reshaped(f, lambda t: t.update({"base_model.model.model.norm.bias": torch.zeros(64)})),
        r"model\.norm\.bias does not exist here",
    ),
    "an adapted embedding": (
        lambda f: reshaped(f, lambda t: t.update({"base_model.model.wte.lora_embedding_A": torch.zeros(1)})),
        "adapts an embedding",
    ),
    "a picture's adapter": (
        lambda f: reshaped(f, lambda t: t.update({"unet.down_blocks.0.lora_A.weight": torch.zeros(1)})),
        "for a model that makes pictures",
    ),
    "no tensors": (lambda f: reshaped(f, dict.clear), "holds no LoRA matrices"),
    "a saved module missing": (lambda f: change(f, modules_to_save=["norm"]), "input_layernorm.weight and 4 more"),
    "a pattern for ever": (
        lambda f: change(f, target_modules="(?=(.*)*(?=(.*)*(?=(.*)*(?=(.*)*x))))" * 9), "takes too long"),
    "a pattern of nothing": (lambda f: change(f, target_modules="("), "leaves a group open"),
    "a flag that is none": (lambda f: change(f, use_rslora=1), "has use_rslora 1, which is neither true nor false"),
    "a flag in words": (lambda f: change(f, use_dora="no"), "has use_dora 'no', which is neither true nor false"),
    "another base": (lambda f: change(f, target_modules=None) or rename(f, "q_proj", "wq"), "another base model"),
}  # fmt: skip


def rename(folder: Path, old: str, new: str) -> None:
    """Give tensors another name."""
    tensors = {name.replace(old, new): value for name, value in load_file(folder / WEIGHTS).items()}
    save_file(tensors, folder / WEIGHTS)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_adapter(tmp_path_factory.mktemp("sound") / "adapter")


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_or_is_not_understood_is_refused_in_words_and_leaves_nothing(
    store: Store, asked: None, sound: Path, tmp_path: Path, case: str
) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "adapter"))
    damage, told = REFUSED[case]
    damage(folder)
    base = add_base(store)
    job = do_job(store, adapter_actions.import_adapter(store, folder, base.id).id)
    assert job.state == "failed"
    assert re.search(told, job.why), job.why
    assert "Something unforeseen" not in job.why
    assert str(store.files.root) not in job.why
    assert len(job.why) < 700
    assert nothing_is_left(store)
    assert store.adapters()[1] == 0


def test_nothing_a_config_names_is_imported_or_opened(store: Store, asked: None, sound: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "adapter"))
    evil = {"parent_library": "antigravity", "base_model_class": "X"}
    change(folder, auto_mapping=evil, base_model_name_or_path="../../../etc", megatron_core="antigravity")
    add_base(store)
    job = do_job(store, adapter_actions.import_adapter(store, folder).id)
    assert job.state == "completed"
    assert "antigravity" not in sys.modules
    kept = (store.adapter_path(store.adapter(job.adapter_id or 0)) / CONFIG).read_text()
    assert "antigravity" not in kept
    assert "etc" not in kept


def test_an_adapter_that_fits_no_base_is_told_so_before_a_job_is_made(store: Store, asked: None, sound: Path) -> None:
    add_base(store, shared_tiny_model("gpt2"))
    with pytest.raises(ActionError, match="fits none of the base models here"):
        adapter_actions.import_adapter(store, sound)
    assert store.jobs() == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("(.*)+q"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)
KEYS = sorted(UNDERSTOOD | HARMLESS | {"peft_type", "task_type", "num_virtual_tokens", "format", "version", "method"})


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6), st.sampled_from(["LORA", "PROMPT_TUNING", None]))
def test_any_config_gives_an_adapter_or_an_error_in_words(
    sound: Path, meta: Any, values: dict[str, Any], kind: str | None
) -> None:
    config = json.loads((sound / CONFIG).read_text()) | values | ({"peft_type": kind} if kind else {})
    with adapter_package.opened(sound) as package:
        facts = package.tensors
    with contextlib.suppress(AdapterError):
        adapter_files.check_fits(adapter_files.foreseen(config, facts), meta)
        return


@pytest.fixture(scope="module")
def meta() -> Any:
    return models.without_weights(shared_tiny_model())


# --- out again --------------------------------------------------------------------------------------------------------


def test_a_merged_model_is_a_base_model_that_answers_as_the_adapter_did(
    store: Store, asked: None, sound: Path, tmp_path: Path
) -> None:
    add_base(store)
    adapter = store.adapter(do_job(store, adapter_actions.import_adapter(store, sound).id).adapter_id or 0)
    target = tmp_path / "out" / "merged"
    job = do_job(store, adapter_actions.merge_adapter(store, adapter.id, target).id)
    assert (job.state, job.why) == ("completed", "")
    assert job.progress["dtype"] == "fp32"
    assert [path.name for path in target.parent.iterdir()] == ["merged"]
    expected = logits_here(models.load(shared_tiny_model(), CPU), sound)
    with torch.no_grad():
        same(models.load(target, CPU).model(IDS).logits, expected, 1e-5)
    assert tokenizer_config.has_chat_template(target)
    assert add_base(store, target).id != adapter.base_model.id

    with pytest.raises(ActionError, match="is there already and not empty"):
        adapter_actions.merge_adapter(store, adapter.id, target)
    with pytest.raises(ActionError, match="the studio's own data folder"):
        adapter_actions.merge_adapter(store, adapter.id, store.files.root / "models" / "x")
    assert adapter_actions.default_folder(store, adapter).parent == store.files.root / "exports"


def test_an_export_to_where_nothing_can_be_made_is_refused_in_words(
    store: Store, asked: None, sound: Path, tmp_path: Path
) -> None:
    add_base(store)
    adapter = store.adapter(do_job(store, adapter_actions.import_adapter(store, sound).id).adapter_id or 0)
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file" / "merged", Path("/proc/nobody/merged")):
        failed = do_job(store, adapter_actions.merge_adapter(store, adapter.id, place).id)
        assert failed.state == "failed"
        assert failed.why.startswith(f"No folder can be made in {place.parent} (")
        assert "Choose another place" in failed.why


def test_an_export_that_fails_or_was_killed_leaves_nothing(
    store: Store, asked: None, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_base(store)
    adapter = store.adapter(do_job(store, adapter_actions.import_adapter(store, sound).id).adapter_id or 0)
    job = adapter_actions.merge_adapter(store, adapter.id, tmp_path / "out" / "merged")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    ended = do_job(store, job.id)
    assert ended.state == "failed"
    assert "The merged model takes 0 MB" in ended.why
    assert list((tmp_path / "out").iterdir()) == []
    monkeypatch.undo()
    monkeypatch.setattr(runner, "ensure", lambda root: None)

    (tmp_path / "out" / f".merged.partial-{job.id}").mkdir()  # as a worker leaves it that is killed
    again = adapter_actions.merge_adapter(store, adapter.id, tmp_path / "out" / "merged")
    assert do_job(store, again.id).state == "completed"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["merged"]


def test_what_cannot_be_merged_is_said_before_a_job_is_made(store: Store, asked: None) -> None:
    base = add_base(store)
    loaded, settings_ = models.load(shared_tiny_model(), CPU), parse({"method": "bottleneck", "bottleneck": 4})
    fitted = fit(loaded.model, settings_)
    tensors = fitted.tensors()
    fitted.remove()
    with store.files.draft("models") as draft:
        folder = draft.path
        adapter_files.write(folder, tensors, base_name="tiny", settings=settings_, model=loaded.model)
        job = do_job(store, adapter_actions.import_adapter(store, folder, name="small").id)
    adapter = store.adapter(job.adapter_id or 0)
    assert (adapter.base_model.id, adapter.method, adapter.settings) == (
        base.id, "Bottleneck adapters", {"method": "bottleneck", "bottleneck": 4}
    )  # fmt: skip
    with pytest.raises(ActionError, match="An adapter of this method stands beside the weights"):
        adapter_actions.merge_adapter(store, adapter.id)
