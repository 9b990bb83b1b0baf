"""The library of adapters: listed once, named apart, found, sorted, deleted and brought back."""

import math
from typing import Any

import pytest

from adapters_store.store import Adapter, AdapterSort, LeaseLost, NotFound, Owner, Store, StoreError

ME = Owner(101, 1000.5, "boot")


@pytest.fixture
def base_id(store: Store) -> int:
    return store.add_base_model(
        name="SmolLM2", source="folder", path="/m", folder=None, fingerprint="sha256:1", facts={}
    ).id


def published(store: Store, text: str = "weights") -> str:
    with store.files.draft("adapters") as draft:
        (draft.path / "adapter_model.safetensors").write_text(text)
        return draft.publish()


def add(store: Store, base_id: int, name: str = "pirate", **other: Any) -> Adapter:
    facts: dict[str, Any] = {
        "folder": other.get("folder") or published(store),
        "job_id": None,
        "base_model_id": base_id,
        "data_set_id": None,
        "method": "lora",
        "rank": 16,
        "alpha": 32.0,
        "target_modules": ["q_proj", "v_proj"],
        "settings": {"seed": 0},
        "training_loss": 1.0,
        "validation_loss": 1.5,
        "base_validation_loss": 3.0,
        "best_step": 40,
        "steps": 60,
        "seconds": 12.5,
        "size_bytes": 1000,
        "sha256": "0" * 64,
    }
    return store.add_adapter(name=name, **(facts | other))


def data_set(store: Store, name: str) -> int:
    return store.add_data_set(
        name=name, source="file", format="text", rows=3, content_hash=name, folder="0" * 32, facts={}
    ).id


def names(store: Store, **asked: Any) -> list[str]:
    return [adapter.name for adapter in store.adapters(**asked)[0]]


# --- adding -----------------------------------------------------------------------------------------------------------


def test_an_adapter_reads_back_as_it_was_told_with_all_it_refers_to(store: Store, base_id: int) -> None:
    job = store.submit("train", "run", {})
    data = data_set(store, "pirates")
    adapter = add(store, base_id, job_id=job.id, data_set_id=data)
    read = store.adapter(adapter.id)
    for row in (adapter, read):
        assert (row.base_model.name, row.alpha, row.target_modules) == ("SmolLM2", 32.0, ["q_proj", "v_proj"])
        assert row.data_set is not None
        assert row.data_set.name == "pirates"
    assert store.job(job.id).adapter_id == adapter.id
    assert (store.adapter_path(read) / "adapter_model.safetensors").read_text() == "weights"


def test_names_in_use_become_unique_also_where_only_the_case_differs(store: Store, base_id: int) -> None:
    made = [add(store, base_id, name).name for name in ("pirate", "pirate", "Pirate", "pirate-2", "x" * 120, "x" * 130)]
    assert made == ["pirate", "pirate-2", "Pirate-3", "pirate-2-2", "x" * 120, "x" * 118 + "-2"]


def test_a_name_is_one_visible_line(store: Store, base_id: int) -> None:
    assert add(store, base_id, " a\nb\t\x1b[31mc\u202ed ").name == "a b [31mc d"
    with pytest.raises(StoreError, match="at least one character"):
        add(store, base_id, "\n\0 ")


def test_the_same_folder_again_is_the_same_adapter(store: Store, base_id: int) -> None:
    first = add(store, base_id)
    before = store.revision()
    assert add(store, base_id, "another", folder=first.folder).id == first.id
    assert (store.adapters()[1], store.revision()) == (1, before)


def test_a_child_knows_its_parent_by_name_also_when_that_is_renamed_or_deleted(store: Store, base_id: int) -> None:
    parent = add(store, base_id, "pirate")
    child = add(store, base_id, "pirate-2", parent_id=parent.id)
    assert (child.parent_id, child.parent_name) == (parent.id, "pirate")
    assert (parent.parent_id, parent.parent_name) == (None, None)
    job = store.submit("train", "more", {}, base_model_id=base_id, start_adapter_id=parent.id)
    store.rename_adapter(parent.id, "buccaneer")
    store.delete_adapter(parent.id)
    assert store.adapter(child.id).parent_name == "buccaneer"
    assert store.job(job.id).start_adapter_name == "buccaneer"
    assert [a.parent_name for a in store.adapters()[0]] == ["buccaneer"]


def test_neither_run_nor_adapter_starts_from_an_adapter_there_never_was(store: Store, base_id: int) -> None:
    with pytest.raises(NotFound, match="no adapter with the number 99"):
        add(store, base_id, parent_id=99)
    with pytest.raises(NotFound, match="no adapter with the number 99"):
        store.submit("train", "run", {}, start_adapter_id=99)
    assert store.jobs() == []


def test_an_adapter_of_nothing_is_not_found(store: Store, base_id: int) -> None:
    for reference, word in (("base_model_id", "base model"), ("data_set_id", "data set"), ("job_id", "job")):
        with pytest.raises(NotFound, match=f"no {word} with the number 99"):
            add(store, base_id, **{reference: 99})
    assert store.adapters() == ([], 0)


def test_a_worker_that_lost_its_job_lists_nothing(store: Store, base_id: int) -> None:
    job = store.claim(store.submit("train", "run", {}).id, ME)
    assert job is not None
    add(store, base_id, job_id=job.id, token=job.token)
    store.move(job.id, "interrupted", who="runner")
    with pytest.raises(LeaseLost):
        add(store, base_id, job_id=job.id, token=job.token)
    assert store.adapters()[1] == 1


def test_a_loss_that_is_not_finite_is_kept_as_none(store: Store, base_id: int) -> None:
    adapter = add(store, base_id, validation_loss=math.nan, training_loss=math.inf)
    assert (adapter.validation_loss, adapter.training_loss) == (None, None)


# --- finding and sorting ----------------------------------------------------------------------------------------------


def test_every_word_is_looked_for_in_adapter_base_data_and_method(store: Store, base_id: int) -> None:
    pirates = data_set(store, "Sea stories")
    add(store, base_id, "blackbeard", data_set_id=pirates)
    add(store, base_id, "polite")
    assert names(store, search="smollm SEA") == ["blackbeard"]
    assert names(store, search="LoRA pol") == ["polite"]
    assert names(store, search="sea polite") == []
    assert store.adapters(search="smol", limit=1)[1] == 2


@pytest.mark.parametrize(
    "search", ["%", "_", "' OR 1=1 --", "\\", '"; DROP TABLE adapter; --', "pirate\0x", "x " * 9999, "\ud800🏴"]
)
def test_a_search_is_text_and_nothing_else(store: Store, base_id: int, search: str) -> None:
    add(store, base_id, "pirate")
    assert store.adapters(search=search) == ([], 0)
    assert store.adapters()[1] == 1


def test_a_percent_sign_in_a_name_is_found(store: Store, base_id: int) -> None:
    add(store, base_id, "100% pirate")
    add(store, base_id, "1000 pirates")
    assert names(store, search="100%") == ["100% pirate"]


def test_each_column_sorts_both_ways_and_what_has_no_value_comes_last(store: Store, base_id: int) -> None:
    bigger = store.add_base_model(name="apple", source="folder", path="/n", folder=None, fingerprint="2", facts={}).id
    early, late = data_set(store, "alpha set"), data_set(store, "Beta set")
    first = {"data_set_id": early, "rank": 4, "alpha": 8.0, "validation_loss": 1.0, "size_bytes": 10, "method": "dora"}
    second = {"data_set_id": late, "rank": 8, "alpha": 16.0, "validation_loss": 2.0, "size_bytes": 20, "method": "lora"}
    add(store, bigger, "ants", **first)
    add(store, base_id, "Bees", **second)
    for sort in AdapterSort:
        assert names(store, sort=sort, descending=False) == ["ants", "Bees"], sort
        assert names(store, sort=sort, descending=True) == ["Bees", "ants"], sort
    add(store, base_id, "cows", data_set_id=None, validation_loss=None)
    for sort, descending in ((sort, way) for sort in ("data", "validation") for way in (True, False)):
        assert names(store, sort=sort, descending=descending)[-1] == "cows"


@pytest.mark.parametrize("sort", ["", "id", "name; DROP TABLE adapter", "deleted_at"])
def test_only_the_named_columns_sort(store: Store, sort: str) -> None:
    with pytest.raises(StoreError, match=r"cannot be sorted by .*; by name, base, data"):
        store.adapters(sort=sort)


def test_a_limit_is_kept_within_reason(store: Store, base_id: int) -> None:
    for _ in range(3):
        add(store, base_id)
    assert [len(store.adapters(limit=limit)[0]) for limit in (-1, 0, 2, 10**9)] == [1, 1, 2, 3]


def test_an_adapter_is_called_by_its_name_and_else_by_its_number(store: Store, base_id: int) -> None:
    pirate = add(store, base_id)
    named_so = add(store, base_id, str(pirate.id))
    gone = add(store, base_id, "gone")
    store.delete_adapter(gone.id)

    def number(text: str) -> int | None:
        found = store.adapter_called(text)
        return found.id if found else None

    assert number("pirate") == pirate.id
    assert number(str(pirate.id)) == named_so.id, "a name goes before a number"
    assert number(str(named_so.id)) == named_so.id
    assert [number(text) for text in ("", "gone", str(gone.id), "\u00b2", "9" * 40, "pir%")] == [None] * 6


# --- renaming, deleting, bringing back --------------------------------------------------------------------------------


def test_an_adapter_takes_a_free_name_and_no_other(store: Store, base_id: int) -> None:
    pirate, polite = add(store, base_id, "pirate"), add(store, base_id, "polite")
    assert store.rename_adapter(pirate.id, " Captain  Hook ").name == "Captain Hook"
    assert store.rename_adapter(pirate.id, "captain hook").name == "captain hook"
    before = store.revision()
    for name, words in (
        ("CAPTAIN HOOK", "already an adapter called"),
        ("", "at least one"),
        ("x" * 121, "121 characters"),
    ):
        with pytest.raises(StoreError, match=words):
            store.rename_adapter(polite.id, name)
    assert (store.adapter(polite.id).name, store.revision()) == ("polite", before)


def test_a_deleted_adapter_is_gone_from_sight_and_comes_back_whole(store: Store, base_id: int) -> None:
    job = store.submit("train", "run", {})
    adapter = add(store, base_id, job_id=job.id)
    for _ in range(2):
        store.delete_adapter(adapter.id)
    assert store.adapters() == ([], 0)
    assert store.adapter(adapter.id).deleted_at is not None
    assert not store.adapter_path(adapter).exists()
    assert store.job(job.id).adapter_id is None
    assert store.orphans() == []
    for _ in range(2):
        assert store.restore_adapter(adapter.id).deleted_at is None
    assert names(store) == ["pirate"]
    assert store.files.problems("adapters", adapter.folder) == []
    assert store.job(job.id).adapter_id == adapter.id


def test_the_name_of_a_deleted_adapter_is_free_and_it_comes_back_under_another(store: Store, base_id: int) -> None:
    first = add(store, base_id)
    store.delete_adapter(first.id)
    assert add(store, base_id).name == "pirate"
    assert store.restore_adapter(first.id).name == "pirate-2"


def test_what_the_trash_no_longer_has_does_not_come_back(store: Store, base_id: int) -> None:
    adapter = add(store, base_id)
    store.delete_adapter(adapter.id)
    store.files.empty_trash(older_than_s=-1)
    with pytest.raises(StoreError, match="no longer in the trash"):
        store.restore_adapter(adapter.id)
    assert store.adapters()[1] == 0


def test_an_adapter_whose_folder_was_lost_can_still_be_deleted(store: Store, base_id: int) -> None:
    adapter = add(store, base_id)
    store.files.to_trash("adapters", adapter.folder)
    store.files.empty_trash(older_than_s=-1)
    store.delete_adapter(adapter.id)
    assert store.adapters()[1] == 0


def test_an_adapter_whose_folder_is_in_use_is_not_deleted(
    store: Store, base_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_use(*_: object) -> None:
        raise PermissionError(13, "used by another process")

    adapter = add(store, base_id)
    monkeypatch.setattr(store.files, "to_trash", in_use)
    with pytest.raises(StoreError, match=r"was not deleted: its folder is in use \(used by another process\)"):
        store.delete_adapter(adapter.id)
    assert names(store) == ["pirate"]


def test_an_adapter_there_never_was_is_not_found(store: Store) -> None:
    for ask in (store.adapter, store.delete_adapter, store.restore_adapter, lambda id: store.rename_adapter(id, "x")):
        for id in (99, -1, 2**63, -(10**30)):
            with pytest.raises(NotFound, match=f"no adapter with the number {id}"):
                ask(id)
