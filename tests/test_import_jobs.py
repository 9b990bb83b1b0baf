"""An import as a job: by a worker, interrupted, cancelled, and of a base that has changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from adapters_store.store import Store
from engine import models
from engine.settings import parse
from jobs import adapter_package, process
from jobs.ending import Ended, Ending
from jobs.worker import do
from studio import adapter_actions
from tests.foreign import (
    CPU,
    do_job,
    logits_here,
    plain_adapter,
    same,
    zipped,
)
from tests.workshop import add_base, shared_tiny_model, wait_for

pytestmark = pytest.mark.usefixtures("one_thread_each", "forked")


def test_a_worker_process_imports_a_zip_and_the_library_lists_it(store: Store, tmp_path: Path, no_runner: None) -> None:
    folder = plain_adapter(tmp_path / "peft", rank_pattern={"v_proj": 2}, bias="none")
    base = add_base(store)
    upload = zipped(folder, tmp_path / "pirate.zip", "pirate/")
    job = adapter_actions.import_adapter(store, upload, upload=True)
    assert not upload.exists()
    command = process.module_command("jobs.worker", str(job.id), "--data-dir", str(store.files.root))
    assert process.start_detached(command, store.files.log(f"job-{job.id}")).wait(120) == 0

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
    store: Store, sound: Path, tmp_path: Path, no_runner: None, monkeypatch: pytest.MonkeyPatch, asked_for: str
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
    store: Store, sound: Path, tmp_path: Path, no_runner: None
) -> None:
    add_base(store)
    job = adapter_actions.import_adapter(store, zipped(sound, tmp_path / "pirate.zip"), upload=True)
    shutil.rmtree(Path(job.settings["path"]).parent)
    failed = do_job(store, job.id)
    assert (failed.state, "kept for a day" in failed.why) == ("failed", True)


def test_import_and_export_refuse_a_base_whose_files_have_changed(
    store: Store, sound: Path, tmp_path: Path, no_runner: None
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
