"""Base models, data sets, what is remembered, and the revision by which a page knows what changed."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from adapters_store.store import NotFound, Owner, Store, StoreError


def add_base(store: Store, **other: Any) -> Any:
    facts = {
        "name": "tiny",
        "source": "folder",
        "path": "/models/tiny",
        "folder": None,
        "fingerprint": "f",
        "facts": {},
    }
    return store.add_base_model(**(facts | other))


def add_data(store: Store, **other: Any) -> Any:
    facts = {"name": "rows", "source": "file", "format": "text", "rows": 3, "content_hash": "h", "folder": "0" * 32}
    return store.add_data_set(**(facts | {"facts": {"longest": 9}} | other))


def publish_model(store: Store) -> str:
    with store.files.draft("models") as draft:
        (draft.path / "model.safetensors").write_bytes(b"weights")
        return draft.publish()


# --- base models ------------------------------------------------------------------------------------------------------


def test_a_base_model_lies_where_it_was_found_or_in_the_data_folder(store: Store) -> None:
    key = publish_model(store)
    outside = add_base(store)
    inside = add_base(store, path=None, folder=key, fingerprint="g", source="starter", facts={"layers": [{"in": 4}]})
    assert store.base_path(outside) == Path("/models/tiny")
    assert store.base_path(inside) == store.files.root / "models" / key
    assert [model.id for model in store.base_models()] == [outside.id, inside.id]
    assert store.base_model(inside.id).facts == {"layers": [{"in": 4}]}
    assert store.orphans() == []


def test_the_same_weights_are_the_same_base_model_and_only_its_place_changes(store: Store) -> None:
    first = add_base(store)
    before = store.revision()
    assert add_base(store).id == first.id
    assert store.revision() == before
    moved = add_base(store, path="/elsewhere", name="another name")
    assert (moved.id, moved.path, moved.name) == (first.id, "/elsewhere", "tiny")
    assert store.revision() == before + 1


def test_a_base_model_kept_in_the_data_folder_stays_there_while_it_is_complete(store: Store) -> None:
    key, second = publish_model(store), publish_model(store)
    kept = add_base(store, path=None, folder=key)
    assert add_base(store, path="/copy/of/it").folder == key
    assert add_base(store, path=None, folder=second).folder == key
    os.truncate(store.base_path(kept) / "model.safetensors", 3)
    healed = add_base(store, path=None, folder=second)
    assert (healed.id, healed.path, healed.folder) == (kept.id, None, second)
    store.files.to_trash("models", second)
    moved = add_base(store, path="/copy/of/it")
    assert (moved.id, moved.path, moved.folder) == (kept.id, "/copy/of/it", None)


@pytest.mark.parametrize("place", [{"path": None, "folder": None}, {"path": "/a", "folder": "0" * 32}])
def test_a_base_model_lies_in_exactly_one_place(store: Store, place: dict[str, str | None]) -> None:
    with pytest.raises(StoreError, match="either"):
        add_base(store, **place)


# --- data sets --------------------------------------------------------------------------------------------------------


def test_the_same_rows_in_the_same_format_are_the_same_data_set(store: Store) -> None:
    first = add_data(store)
    assert add_data(store, name="again", folder="1" * 32).id == first.id
    assert add_data(store, format="messages").id != first.id
    assert add_data(store, content_hash="other").id != first.id
    assert [data.id for data in store.data_sets()] == [1, 2, 3]
    assert store.rows_path(first) == store.files.root / "datasets" / ("0" * 32) / "rows.jsonl"
    assert store.data_set(first.id).facts == {"longest": 9}


def test_a_data_set_whose_files_were_lost_is_healed_by_adding_it_again(store: Store) -> None:
    def publish() -> str:
        with store.files.draft("datasets") as draft:
            (draft.path / "rows.jsonl").write_text("{}")
            return draft.publish()

    first, second = publish(), publish()
    kept = add_data(store, folder=first)
    assert add_data(store, folder=second).folder == first
    store.rows_path(kept).unlink()
    healed = add_data(store, folder=second)
    assert (healed.id, healed.folder) == (kept.id, second)
    assert store.rows_path(healed).read_text() == "{}"


def test_what_is_not_there_is_said_in_words(store: Store) -> None:
    with pytest.raises(NotFound, match="no base model with the number 5"):
        store.base_model(5)
    with pytest.raises(NotFound, match="no data set with the number 6"):
        store.data_set(6)


# --- remembering ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, False, 0, "", "ä\u202e", [1, {"a": None}], {"dark": True}, 1.5])
def test_what_is_remembered_comes_back_as_it_was(store: Store, value: Any) -> None:
    store.remember("theme", "something before")
    store.remember("theme", value)
    assert store.recall("theme", "nothing") == value
    assert store.recall("other", "nothing") == "nothing"


def test_everything_is_still_there_after_closing_and_opening_again(store: Store) -> None:
    add_base(store)
    job = store.submit("train", "run", {"rank": 3})
    store.remember("theme", "dark")
    before = store.revision()
    store.close()
    store.close()
    again = Store(store.files.root)
    assert (again.revision(), again.recall("theme"), again.job(job.id).settings) == (before, "dark", {"rank": 3})
    again.close()


def test_rows_can_be_read_after_the_store_is_closed(store: Store) -> None:
    store.submit("train", "run", {}, base_model_id=add_base(store).id, data_set_id=add_data(store).id)
    (job,) = store.jobs()
    store.close()
    assert job.base_model is not None
    assert job.data_set is not None
    assert (job.base_model.name, job.data_set.name, job.adapter_id) == ("tiny", "rows", None)


# --- the revision -----------------------------------------------------------------------------------------------------


def test_each_change_raises_the_revision_by_one_and_names_its_topic(store: Store) -> None:
    job = store.submit("train", "run", {})
    adding = {
        "models": lambda: add_base(store),
        "data": lambda: add_data(store),
        "jobs": lambda: store.claim(job.id, Owner(1, 1.0, "boot")),
        "progress": lambda: store.report(job.id, 1, progress={"step": 1}),
        "settings": lambda: store.remember("theme", "dark"),
    }
    for topic, change in adding.items():
        before, others = store.revision(), store.changed()
        change()
        assert store.revision() == before + 1
        assert store.changed() == others | {topic: before + 1}


def test_another_store_on_the_same_folder_sees_what_changed(store: Store) -> None:
    other = Store(store.files.root)
    before = other.revision()
    job = store.submit("train", "run", {})
    assert other.revision() == before + 1
    assert other.job(job.id).name == "run"
    other.close()


def test_many_threads_may_read_at_once(store: Store) -> None:
    store.submit("train", "run", {})
    seen: list[int] = []
    threads = [threading.Thread(target=lambda: seen.append(len(store.jobs()))) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 40


# --- orphans ----------------------------------------------------------------------------------------------------------


def test_a_published_folder_that_no_row_points_to_is_found(store: Store) -> None:
    key = publish_model(store)
    assert store.orphans() == [store.files.path("models", key)]
    add_base(store, path=None, folder=key)
    assert store.orphans() == []


def test_orphans_go_to_the_trash_but_not_a_folder_that_only_waits_for_its_row(store: Store) -> None:
    listed, waiting, orphan = publish_model(store), publish_model(store), publish_model(store)
    add_base(store, path=None, folder=listed)
    for key in (listed, orphan):
        os.utime(store.files.path("models", key), (0, 0))
    assert store.trash_orphans() == [store.files.path("models", orphan)]
    assert store.files.published("models") == sorted([listed, waiting])
    store.files.from_trash("models", orphan)
