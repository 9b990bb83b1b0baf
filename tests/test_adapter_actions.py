"""What is asked for with an adapter as a whole is looked at before anything is moved."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from adapters_store import store_line
from adapters_store.errors import QueueFull
from adapters_store.store import Store
from jobs import runner
from studio import actions, adapter_actions
from tests.furnish import add_adapter, furnish


def test_an_upload_stays_where_it_is_when_the_queue_has_no_room(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "ensure", lambda root: None)
    monkeypatch.setattr(store_line, "MOST_WAITING", 1)
    base = furnish(store)[0]
    upload = tmp_path / "pirate.zip"
    with zipfile.ZipFile(upload, "w") as archive:
        for part in store.adapter_path(add_adapter(store, base)).iterdir():
            archive.write(part, part.name)
    actions.add_model(store, "organisation/name")
    with pytest.raises(QueueFull, match="1 jobs are waiting already"):
        adapter_actions.import_adapter(store, upload, base.id, upload=True)
    assert upload.exists()
    actions.stop_job(store, store.waiting()[0].id, "cancel")
    job = adapter_actions.import_adapter(store, upload, base.id, upload=True)
    assert (job.state, job.settings["upload"], upload.exists()) == ("queued", True, False)
