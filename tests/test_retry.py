"""Retry of a job that left nothing, as the Runs tab asks for it: the same job again, where there is one to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from adapters_store.store import Store
from adapters_store.tables import BaseModel, DataSet, Job, Owner
from jobs.ask import Answerer
from studio import actions, run_facts
from studio.page import Studio
from studio.runs_tab import answered, questions
from tests.furnish import add_adapter

pytestmark = pytest.mark.usefixtures("no_runner")

Ask = Callable[[object], dict[str, Any]]


@pytest.fixture
def retry(store: Store) -> Ask:
    studio = Studio(store, cast(Answerer, None), store.files.root)
    return {fn.__name__: answered(fn) for fn in questions(studio)}["retry"]


def failed(store: Store, job: Job) -> Job:
    assert store.claim(job.id, Owner(1, 1.0, "boot")) is not None
    return store.move(job.id, "failed", who="test", why="The disk is full.")


def an_import(store: Store, base: BaseModel, path: Path, upload: bool) -> Job:
    settings = {"path": str(path), "name": "pirate", "upload": upload}
    return failed(store, actions.queue(store, "import", "pirate", settings, base_model_id=base.id))


def an_export(store: Store, furnished: tuple[BaseModel, DataSet], folder: Path) -> Job:
    settings = {"adapter_id": add_adapter(store, *furnished).id, "folder": str(folder)}
    return failed(store, actions.queue(store, "export", "tiny-r4, merged", settings, base_model_id=furnished[0].id))


def test_an_import_or_an_export_is_tried_again_as_it_was(
    store: Store, furnished: tuple[BaseModel, DataSet], retry: Ask, tmp_path: Path
) -> None:
    for job in (
        an_import(store, furnished[0], tmp_path, upload=False),
        an_export(store, furnished, tmp_path / "merged"),
    ):
        assert run_facts.opened(job)["retry"] is True
        again = store.job(retry({"job": job.id})["open"])
        assert (again.kind, again.name, again.settings, again.base_model_id) == (
            job.kind, job.name, job.settings, furnished[0].id
        )  # fmt: skip
        assert retry({"job": job.id})["open"] == again.id  # a second press finds it under way


def test_an_upload_that_is_gone_is_not_offered_again_and_the_reason_is_told(
    store: Store, furnished: tuple[BaseModel, DataSet], retry: Ask, tmp_path: Path
) -> None:
    upload = tmp_path / "adapter.zip"
    job = an_import(store, furnished[0], upload, upload=True)
    assert run_facts.opened(job)["retry"] is False
    assert "Import it again" in retry({"job": job.id})["problem"]
    upload.write_bytes(b"")
    assert run_facts.opened(job)["retry"] is True
    assert "open" in retry({"job": job.id})


def test_an_export_of_a_deleted_adapter_is_refused_in_words(
    store: Store, furnished: tuple[BaseModel, DataSet], retry: Ask, tmp_path: Path
) -> None:
    job = an_export(store, furnished, tmp_path / "merged")
    store.delete_adapter(job.settings["adapter_id"])
    assert "was deleted. Bring it back first" in retry({"job": job.id})["problem"]


def test_a_fetch_that_failed_is_asked_for_again_as_it_was(store: Store, retry: Ask) -> None:
    job = failed(store, actions.add_model(store, "organisation/name", revision="main"))
    again = store.job(retry({"job": job.id})["open"])
    assert again.id != job.id
    assert (again.kind, again.settings, again.state) == ("fetch", job.settings, "queued")


def test_a_run_and_a_job_that_is_under_way_are_not_retried(
    store: Store, furnished: tuple[BaseModel, DataSet], retry: Ask
) -> None:
    run = failed(store, actions.start_run(store, base_model_id=1, data_set_id=furnished[1].id, values={}))
    waiting = actions.add_model(store, "organisation/name")
    for job in (run, waiting):
        assert run_facts.opened(job)["retry"] is False
        assert job.name in retry({"job": job.id})["problem"]
    assert len(store.jobs()) == 2
