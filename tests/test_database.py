"""The library's file under several threads and processes at once, and when it is not what it should be."""

import hashlib
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError

from adapters_store import database
from adapters_store.database import Database
from adapters_store.store import Owner, Store, StoreBusy, StoreError

ROOT = Path(__file__).parents[1]

CLAIM_ALL = """
import sys
from pathlib import Path
from adapters_store.store import Owner, Store
store = Store(Path(sys.argv[1]))
me = Owner(int(sys.argv[2]), 1.0, "boot")
while waiting := store.waiting():
    for job in waiting[:5]:
        if held := store.claim(job.id, me):
            print(held.id, flush=True)
            store.move(held.id, "running", who="probe", token=held.token)
            store.report(held.id, held.token, metrics=[{"step": 0, "loss": 1.0}], progress={"step": 0})
store.close()
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def outcome(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


def test_processes_that_drain_one_queue_never_claim_a_job_twice_and_never_meet_a_lock(store: Store) -> None:
    ids = {store.submit("train", f"run {n}", {}).id for n in range(80)}
    probes = [start(CLAIM_ALL, store.files.root, number) for number in range(4)]
    claimed = [int(line) for probe in probes for line in outcome(probe).split()]
    assert Counter(claimed) == Counter(ids)
    assert {job.state for job in store.jobs()} == {"running"}
    assert all(job.attempt == job.token == 1 for job in store.jobs())


def test_processes_that_open_a_new_folder_at_the_same_time_all_succeed(data_dir: Path) -> None:
    script = "import sys; from pathlib import Path; from adapters_store.store import Store; Store(Path(sys.argv[1]))"
    for process in [start(script, data_dir) for _ in range(5)]:
        outcome(process)


def test_threads_of_one_store_lose_no_write(store: Store) -> None:
    job = store.submit("fetch", "starter", {})
    threads = [
        threading.Thread(
            target=lambda: [store.request_stop(store.submit("fetch", "x", {}).id, "cancel") for _ in range(5)]
        )
        for _ in range(8)
    ]
    before = store.revision()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.jobs(states=["cancelled"])) == 40
    assert store.revision() == before + 80
    assert store.job(job.id).state == "queued"


def test_a_reader_does_not_wait_for_a_writer_and_sees_only_what_is_committed(store: Store) -> None:
    job = store.submit("train", "before", {})
    with closing(sqlite3.connect(store.files.database, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE job SET name = 'after'")
        began = time.monotonic()
        assert store.job(job.id).name == "before"
        assert time.monotonic() - began < 1
        writer.execute("COMMIT")
    assert store.job(job.id).name == "after"


def test_a_writer_waits_for_another_program_and_then_writes(store: Store) -> None:
    with closing(sqlite3.connect(store.files.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = threading.Thread(target=lambda: store.remember("answer", 42))
        waiting.start()
        waiting.join(timeout=0.3)
        assert waiting.is_alive()
        other.execute("COMMIT")
    waiting.join(timeout=10)
    assert store.recall("answer") == 42


def test_a_library_held_too_long_by_another_program_is_said_in_words(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.2)
    store = Store(data_dir)
    with closing(sqlite3.connect(store.files.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy, match=r"Another program has been writing to .*studio\.db"):
            store.remember("answer", 42)
        other.execute("COMMIT")
    store.remember("answer", 42)
    store.close()


def test_the_reading_side_cannot_write(tmp_path: Path) -> None:
    library = Database(tmp_path / "studio.db")
    with pytest.raises((StoreError, OperationalError)), library.reading() as session:
        session.execute(text("UPDATE topic SET revision = 99"))
    library.close()


def test_a_reference_to_nothing_cannot_be_written(tmp_path: Path) -> None:
    library = Database(tmp_path / "studio.db")
    with pytest.raises(IntegrityError), library.writing() as session:
        session.execute(text("INSERT INTO metric (job_id, step) VALUES (7, 0)"))
    library.close()


def test_an_error_within_a_transaction_undoes_all_of_it(tmp_path: Path) -> None:
    library = Database(tmp_path / "studio.db")
    with suppress(KeyError), library.writing() as session:
        session.execute(text("UPDATE topic SET revision = 99"))
        raise KeyError
    with library.reading() as session:
        assert session.scalar(text("SELECT max(revision) FROM topic")) == 0
    library.close()


def test_a_full_disk_is_said_in_words_and_what_was_written_stays(tmp_path: Path) -> None:
    library = Database(tmp_path / "studio.db")
    fill = text("INSERT INTO setting (key, value) VALUES (:key, :value)")
    with library.writing() as session:
        session.execute(fill, {"key": "first", "value": '"kept"'})
        session.execute(text("PRAGMA max_page_count = 60"))
    with pytest.raises(StoreError, match=f"The disk of {tmp_path} is full"), library.writing() as session:
        session.execute(fill, {"key": "second", "value": "x" * 1_000_000})
    with library.reading() as session:
        assert session.scalars(text("SELECT key FROM setting")).all() == ["first"]
    library.close()


def test_a_library_that_may_only_be_read_is_said_in_words(tmp_path: Path) -> None:
    path = tmp_path / "studio.db"
    Database(path).close()
    refused = pytest.raises(StoreError, match=f"{path} cannot be written. Check the permissions of {tmp_path}")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as line, refused, database.said_in_words(path):
        line.execute("INSERT INTO setting (key, value) VALUES ('first', '1')")


@pytest.mark.parametrize("content", [b"this is not a database " * 400, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_file_that_is_no_library_is_refused_in_words_and_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "studio.db").write_bytes(content)
    with pytest.raises(StoreError, match=r"is damaged\. Nothing was changed"):
        Store(tmp_path)
    assert (tmp_path / "studio.db").read_bytes() == content


def test_the_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "studio.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(StoreError, match="not a LoRA Studio library"):
        Store(tmp_path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


def test_a_damaged_page_is_found(store: Store) -> None:
    held = store.claim(store.submit("train", "run", {}).id, Owner(1, 1.0, "boot"))
    assert held is not None
    store.report(held.id, held.token, metrics=[{"step": step, "loss": 1.0} for step in range(5000)])
    store.close()
    damaged = bytearray(store.files.database.read_bytes())
    late = len(damaged) * 3 // 4 // 4096 * 4096  # where the metrics are: tables and indexes come first
    damaged[late : late + 4096] = b"\xa5" * 4096
    store.files.database.write_bytes(damaged)
    reopened = Store(store.files.root)
    assert any("damaged" in sentence for sentence in reopened.integrity())
    reopened.close()


def test_a_sound_library_has_nothing_to_complain_of_and_a_planted_trigger_is_named(store: Store) -> None:
    assert store.integrity() == []
    with closing(sqlite3.connect(store.files.database)) as other:
        other.execute("CREATE TRIGGER spy AFTER INSERT ON job BEGIN DELETE FROM job; END")
    assert store.integrity() == ["The library has a trigger named spy, which LoRA Studio never makes."]


def test_opening_a_library_of_today_neither_needs_alembic_nor_takes_long(store: Store) -> None:
    script = """
import sys, time
from pathlib import Path
from adapters_store.store import Store
began = time.process_time()  # this machine may be busy with other things
Store(Path(sys.argv[1])).revision()
print(time.process_time() - began, "alembic" in sys.modules)
"""
    seconds, alembic = outcome(start(script, store.files.root)).split()
    assert alembic == "False"
    assert float(seconds) < 0.3


def test_the_library_is_for_its_owner_only(store: Store) -> None:
    store.remember("something", 1)
    files = list(store.files.root.glob("studio.db*"))
    assert len(files) == 3  # the library, its log and the log's index
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
