"""A merged model is a base model of its own, and an export that fails leaves nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from adapters_store.store import Store
from engine import adapter_files, models, tokenizer_config
from engine.methods import fit
from engine.settings import parse
from jobs import runner
from studio import adapter_actions
from studio.actions import ActionError
from tests.foreign import (
    CPU,
    IDS,
    do_job,
    logits_here,
    same,
)
from tests.workshop import add_base, shared_tiny_model

pytestmark = pytest.mark.usefixtures("one_thread_each")


def test_a_merged_model_is_a_base_model_that_answers_as_the_adapter_did(
    store: Store, no_runner: None, sound: Path, tmp_path: Path
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
    store: Store, no_runner: None, sound: Path, tmp_path: Path
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
    store: Store, no_runner: None, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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


def test_what_cannot_be_merged_is_said_before_a_job_is_made(store: Store, no_runner: None) -> None:
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
