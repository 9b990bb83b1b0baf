"""Data sets in the library: named, thrown away and brought back; what is in use stays."""

from pathlib import Path

import pytest

from adapters_store.errors import NameRefused, StoreError
from adapters_store.store import Store
from adapters_store.tables import BaseModel, DataSet, Owner
from engine.data.check import read_rows, write_rows
from studio import actions
from studio.row_places import APART, RowPlaces
from tests.furnish import add_adapter

Furnished = tuple[BaseModel, DataSet]


def test_a_name_in_use_is_refused_and_that_of_a_deleted_one_is_free(store: Store, furnished: Furnished) -> None:
    first, second, third = store.data_sets()
    with pytest.raises(NameRefused, match=f"already a data set called {second.name}"):
        store.rename_data_set(first.id, f" {second.name}\n")
    store.delete_data_set(second.id)
    assert store.rename_data_set(first.id, second.name).name == second.name
    assert store.rename_data_set(third.id, third.name).name == third.name


def test_a_deleted_data_set_is_named_by_its_runs_and_can_come_back(store: Store, furnished: Furnished) -> None:
    base, data = furnished
    job = store.submit("train", "done", {}, base_model_id=base.id, data_set_id=data.id)
    store.request_stop(job.id, "cancel")
    rows = read_rows(store.rows_path(data))
    store.delete_data_set(data.id)
    store.delete_data_set(data.id)
    assert data.id not in [one.id for one in store.data_sets()]
    assert [one.id for one in store.data_sets(deleted=True)] == [data.id]
    told = store.job(job.id).data_set
    assert told is not None
    assert told.name == data.name
    assert not store.rows_path(data).exists()
    assert store.restore_data_set(data.id).deleted_at is None
    assert read_rows(store.rows_path(data)) == rows
    assert store.files.problems("datasets", data.folder) == []


def test_one_in_use_is_not_deleted_and_its_users_are_named(store: Store, furnished: Furnished) -> None:
    base, data = furnished
    adapter = add_adapter(store, base, data, "pirate-r4")
    waiting = store.submit("train", "night run", {}, base_model_id=base.id, data_set_id=data.id)
    with pytest.raises(StoreError, match=r"in use.*yet to read it: night run\..*made with it: pirate-r4\."):
        store.delete_data_set(data.id)
    store.request_stop(waiting.id, "cancel")
    with pytest.raises(StoreError, match=r"not deleted\. Adapters made with it: pirate-r4\. Delete them first\.$"):
        store.delete_data_set(data.id)
    assert store.rows_path(data).is_file()
    store.delete_adapter(adapter.id)
    store.delete_data_set(data.id)
    assert store.data_set_users(data.id, 5).adapters == []


@pytest.mark.parametrize("state", ["running", "paused", "interrupted"])
def test_a_run_that_has_yet_to_read_its_rows_keeps_them(store: Store, furnished: Furnished, state: str) -> None:
    base, data = furnished
    job = store.submit("train", "run", {}, base_model_id=base.id, data_set_id=data.id)
    job = store.claim(job.id, Owner(2**22 + 1, 1.0, "boot")) or job
    if state != "running":
        store.move(job.id, state, who="test", token=job.token)
    with pytest.raises(StoreError, match="is in use"):
        store.delete_data_set(data.id)


def test_users_are_the_newest_first_and_all_are_counted(store: Store, furnished: Furnished) -> None:
    base, data = furnished
    for number in range(4):
        store.submit("train", f"run {number}", {}, base_model_id=base.id, data_set_id=data.id)
        add_adapter(store, base, data, f"adapter {number}")
    store.submit("train", "other", {}, base_model_id=base.id, data_set_id=store.data_sets()[1].id)
    used = store.data_set_users(data.id, 2)
    assert [job.name for job in used.jobs] == ["run 3", "run 2"]
    assert [adapter.name for adapter in used.adapters] == ["adapter 3", "adapter 2"]
    assert (used.job_total, used.adapter_total) == (4, 4)


def test_the_same_rows_again_bring_a_deleted_set_back_under_the_new_name(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "a", "completion": "b"}\n')
    first = actions.import_file(store, file, "first.jsonl")
    store.delete_data_set(first.id)
    again = actions.import_file(store, file, "again.jsonl")
    assert (again.id, again.name, again.deleted_at) == (first.id, "again", None)
    assert read_rows(store.rows_path(again))[0]["messages"][1]["content"] == "b"


def test_a_sample_that_was_thrown_away_stays_away(store: Store, furnished: Furnished) -> None:
    store.delete_data_set(furnished[1].id)
    left = [data.name for data in store.data_sets()]
    actions.import_samples(store)
    assert [data.name for data in store.data_sets()] == left


# --- any row by its number ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("total", [1, APART - 1, APART, APART + 1, 3 * APART + 7])
def test_any_rows_are_found_by_their_number(tmp_path: Path, total: int) -> None:
    file = tmp_path / "rows.jsonl"
    written = [{"text": f"row {number} " + "é\u2028" * (number % 40)} for number in range(total)]
    write_rows(written, file)
    places = RowPlaces()
    for first in (total - 1, 0, total // 2, APART - 1, APART, total, total + APART):
        assert places.rows(file, first, 3) == written[first : first + 3]
