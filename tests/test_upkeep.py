"""What the page is told of the disk, what it may have deleted, and who it hears of the end of a run from."""

from __future__ import annotations

from typing import Any

from adapters_store.store import Store
from adapters_store.tables import BaseModel, DataSet
from jobs.ask import Answerer
from jobs.notices import Notices
from studio import upkeep
from studio.page import Studio
from studio.runs_tab import answered
from tests.furnish import add_adapter
from tests.test_disk_use import cached, checkpoint
from tests.test_notices import ended


def asked(store: Store, name: str, **question: object) -> Any:
    """An answer to the page, edge included."""
    studio = Studio(store, Answerer(store.files.log("answerer")), store.files.root)
    return {fn.__name__: answered(fn) for fn in upkeep.questions(studio)}[name](question)


def test_what_can_go_is_named_and_goes_by_kind(store: Store, furnished: tuple[BaseModel, DataSet]) -> None:
    deleted = add_adapter(store, furnished[0], name="old one")
    store.delete_adapter(deleted.id)
    kept, cache = checkpoint(store), cached(store, 3_000_000)
    told = asked(store, "disk_use")
    rows = {row["what"]: row for row in told["uses"]}
    assert rows["token cache"]["free"] == rows["token cache"]["size"] == "3.0 MB"
    assert "free" in rows["trash"]
    assert "free" not in rows["checkpoints"]
    assert told["trash"] == "old one"
    assert asked(store, "free_space", kinds=["token cache"])["says"] == "3.0 MB freed."
    assert not cache.exists()
    store.restore_adapter(deleted.id)  # the trash was not chosen
    assert kept.exists()


def test_only_what_can_go_may_be_chosen(store: Store, furnished: tuple[BaseModel, DataSet]) -> None:
    kept, cache = checkpoint(store), cached(store)
    wrong: list[object] = [["adapters"], ["checkpoints", "token cache"], ["../models"], [], "token cache", [{}], None]
    for kinds in wrong:
        assert "problem" in asked(store, "free_space", kinds=kinds)
    assert kept.exists()
    assert cache.exists()


def test_the_page_sees_that_others_are_told_and_none_of_their_secrets(store: Store) -> None:
    Notices(command=("/usr/bin/true", "--key=secret"), webhook="http://127.0.0.1:9/secret").keep(store)
    told = asked(store, "disk_use")["told"]
    assert "/usr/bin/true and 127.0.0.1:9" in told
    assert "secret" not in told


def test_a_browser_hears_of_a_run_that_has_ended(store: Store) -> None:
    known = asked(store, "run_ends", after=-1)
    assert known["ends"] == []
    job = ended(store, name="<b>mine</b>")
    told = asked(store, "run_ends", after=known["newest"])
    assert [(one["job"], one["name"]) for one in told["ends"]] == [(job.id, "<b>mine</b>")]
    assert asked(store, "run_ends", after="everything")["ends"] == []
