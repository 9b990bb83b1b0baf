"""What takes room is counted to the byte, and what is freed is only what nothing needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters_store.store import Store
from adapters_store.tables import BaseModel, DataSet, Owner
from studio import disk
from tests.furnish import add_adapter
from tests.test_strays import GONE, drafted

ME = Owner(101, 1000.5, "boot-a")


def by_hand(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def used(store: Store) -> dict[str, tuple[int, int]]:
    return {use.what: (use.size_bytes, use.free_bytes) for use in disk.uses(store)}


def cached(store: Store, size: int = 70) -> Path:
    folder = store.files.root / "cache" / "tokens" / "of-rows"
    folder.mkdir(parents=True)
    (folder / "ids").write_bytes(bytes(size))
    return folder


def checkpoint(store: Store) -> Path:
    """Of a run that was interrupted, and may go on."""
    job = store.claim(store.submit("train", "run", {}).id, ME)
    assert job is not None
    with store.files.draft("checkpoints") as draft:
        (draft.path / "weights").write_bytes(bytes(30))
        key = draft.publish()
    store.add_checkpoint(job.id, job.token, step=1, folder=key)
    store.move(job.id, "interrupted", who="test")
    return store.files.path("checkpoints", key)


def test_every_kind_is_counted_and_all_together_is_the_folder(
    store: Store, furnished: tuple[BaseModel, DataSet]
) -> None:
    add_adapter(store, furnished[0])
    cached(store)
    checkpoint(store)
    (store.files.root / "logs" / "job-1.log").write_bytes(bytes(11))
    found, root = used(store), store.files.root
    assert found["token cache"] == (70, 70)
    assert found["logs"] == (11, 0)
    assert found["adapters"] == (by_hand(root / "adapters"), 0)
    assert found["checkpoints"] == (by_hand(root / "checkpoints"), 0)
    assert sum(size for size, _ in found.values()) == by_hand(root)


def test_what_nothing_needs_is_freed_and_all_else_stays(store: Store, furnished: tuple[BaseModel, DataSet]) -> None:
    kept, deleted = add_adapter(store, furnished[0]), add_adapter(store, furnished[0], name="other")
    store.delete_adapter(deleted.id)
    going = [cached(store), drafted(store), store.files.unfinished("a model")]
    (going[-1] / "half").write_bytes(bytes(9))
    staying = [
        checkpoint(store),
        store.adapter_path(kept),
        store.base_path(furnished[0]),
        store.rows_path(furnished[1]),
    ]
    expected = sum(free for _, free in used(store).values())
    assert expected == sum(map(by_hand, [*going, store.files.root / "trash"])) > 0
    assert disk.free(store) == expected
    assert not any(path.exists() for path in going)
    assert all(path.exists() for path in staying)
    assert all(free == 0 for _, free in used(store).values())
    assert disk.free(store) == 0


@pytest.mark.parametrize(("kind", "stays"), [("train", "cache"), ("fetch", "half"), ("import", "half")])
def test_what_a_job_under_way_may_read_or_finish_stays(store: Store, kind: str, stays: str) -> None:
    places = {"cache": cached(store), "half": store.files.unfinished("a model")}
    job = store.submit(kind, "job", {})
    disk.free(store)
    assert places[stays].exists()
    store.claim(job.id, GONE)
    disk.free(store)
    assert places[stays].exists()


def test_only_what_can_be_made_anew_is_dropped(store: Store, furnished: tuple[BaseModel, DataSet]) -> None:
    with pytest.raises(ValueError, match="is not deleted"):
        store.files.drop([store.base_path(furnished[0])])
    assert store.base_path(furnished[0]).exists()


def test_it_is_said_in_lines_with_what_would_go(store: Store) -> None:
    cached(store, 2_000_000)
    said = disk.text(disk.uses(store))
    assert "token cache      2.0 MB   2.0 MB can go: made anew when a run needs it" in said
    assert "python -m studio disk --free deletes 2.0 MB of it." in said
