"""From no library, or an older one, to the schema of today; and never from a newer one."""

import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from adapters_store.database import MIGRATIONS, known_schemas, schema_of, upgrade, write_engine
from adapters_store.store import Store, StoreError
from adapters_store.tables import TOPICS, Row

ROOT = Path(__file__).parents[1]
NOW = known_schemas()[-1]
NEXT = f"{int(NOW) + 1:04}"

LATER = '''
"""Add a column, and rebuild a table on the way."""
import sqlalchemy as sa
from alembic import op

revision = "{next}"
down_revision = "{now}"

def upgrade():
    op.add_column("setting", sa.Column("note", sa.String))
    with op.batch_alter_table("job") as job:
        job.add_column(sa.Column("priority", sa.Integer, nullable=False, server_default="0"))
        job.alter_column("why", server_default="")
    {last}
'''

KILLED_AT_STATEMENT = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import Engine, event
from adapters_store.database import upgrade

seen, last = 0, int(sys.argv[3])

@event.listens_for(Engine, "after_cursor_execute")
def count(*_):
    global seen
    seen += 1
    if seen == last:
        os.kill(os.getpid(), signal.SIGKILL)

upgrade(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def later_migrations(folder: Path, last: str = "") -> Path:
    copy = folder / "migrations"
    shutil.copytree(MIGRATIONS, copy)
    (copy / "versions" / f"{NEXT}_later.py").write_text(LATER.format(last=last, now=NOW, next=NEXT))
    return copy


def older_library(data_dir: Path) -> Path:
    store = Store(data_dir)
    job = store.submit("train", "kept", {"rank": 4})
    store.submit("fetch", "also kept", {})
    store.remember("answer", 42)
    assert len(store.job_events(job.id)) == 1
    store.close()
    return store.files.database


FIRST_ROWS = """
INSERT INTO base_model VALUES (1, 'tiny', 'folder', '/m', NULL, 'sha256:1', '{}', 1.5);
INSERT INTO data_set VALUES (1, 'rows', 'file', 'text', 3, 'sha256:2', 'aaaa', '{}', 2.5);
INSERT INTO job VALUES (1, 'train', 'run', 'completed', '{"rank": 4}', 1, 1, 'key', '', NULL, 1, 1, 7, 1.0, 'boot', 3.0,
    '{"step": 2}', 3.0, 4.0, 5.0);
INSERT INTO job_event VALUES (1, 1, 3.0, 'person', NULL, 'queued', '');
INSERT INTO metric VALUES (1, 0, NULL, 3.0, 0.0, NULL, 0, NULL, 9, 0.0), (1, 1, 2.5, 2.0, 1e-4, 1.0, 40, 80.0, 9, 0.5);
INSERT INTO adapter VALUES (1, 'Pirate', 'bbbb', 1, 1, 1, 'LoRA', 4, 8.0, '["q_proj"]', '{"rank": 4}', 2.5, 2.0, 3.0, 1,
    2, 1.0, 100, 'sha256:3', 6.0, NULL);
INSERT INTO setting VALUES ('answer', '42');
"""


def first_library(path: Path, folder: Path) -> None:
    """A library of schema 0001 with a row in every table, as the first release left it."""
    only_first = folder / "first"
    shutil.copytree(MIGRATIONS, only_first, ignore=shutil.ignore_patterns("000[2-9]*.py", "00[1-9]*.py", "__pycache__"))
    path.parent.mkdir()
    upgrade(path, only_first)
    with closing(sqlite3.connect(path)) as library:
        library.executescript(FIRST_ROWS)


def first_columns(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of a library, with the columns that the first release knew."""
    columns = {"job": 20, "adapter": 21, "base_model": 8, "data_set": 9, "job_event": 7, "metric": 10, "setting": 2}
    with closing(sqlite3.connect(path)) as library:
        return {table: [row[:n] for row in library.execute(f"SELECT * FROM {table}")] for table, n in columns.items()}


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(path)) as library:
        return {
            "job": library.execute("SELECT id, name, state, settings FROM job ORDER BY id").fetchall(),
            "event": library.execute("SELECT id, job_id, state_to FROM job_event ORDER BY id").fetchall(),
            "setting": library.execute("SELECT key, value FROM setting").fetchall(),
        }


def statements(path: Path) -> dict[str, tuple[str, list[str]]]:
    """What each table and index of a library was made with, in one spelling: its head, and its clauses sorted."""
    with closing(sqlite3.connect(path)) as library:
        made = library.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {name: clauses(" ".join(sql.split())) for name, sql in made if name != "alembic_version"}


def clauses(sql: str) -> tuple[str, list[str]]:
    """A column that came later names what it refers to in its own clause, and stands last."""
    head, _, body = sql.partition(" (")
    apart = re.sub(r"(\w+) (\w+) REFERENCES (\w+) \((\w+)\)", r"\1 \2, FOREIGN KEY(\1) REFERENCES \3 (\4)", body)
    body, _, tail = apart.rpartition(")")
    return f"{head} {tail}", sorted(clause.strip() for clause in re.split(r", (?![^(]*\))", body))


def test_the_migrations_make_exactly_the_tables_of_the_code(store: Store, tmp_path: Path) -> None:
    engine = write_engine(tmp_path / "from_code.db")
    Row.metadata.create_all(engine)
    engine.dispose()
    assert statements(store.files.database) == statements(tmp_path / "from_code.db")
    assert set(store.changed()) == set(TOPICS)


def test_the_file_names_of_the_migrations_tell_their_numbers() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    assert [script.revision for script in scripts.walk_revisions()][::-1] == known_schemas()


def test_a_library_of_a_newer_version_is_refused_in_words_and_left_as_it_is(data_dir: Path) -> None:
    path = older_library(data_dir)
    with closing(sqlite3.connect(path)) as library:
        library.execute("UPDATE alembic_version SET version_num = '0999'")
        library.commit()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=rf"newer version of LoRA Studio \(schema 0999; this version knows {NOW}\)"):
        Store(data_dir)
    assert path.read_bytes() == before


def test_a_later_migration_keeps_every_row_and_a_copy_of_what_was(data_dir: Path, tmp_path: Path) -> None:
    path = older_library(data_dir)
    before = rows(path)
    upgrade(path, later_migrations(tmp_path))
    assert schema_of(path) == NEXT
    assert rows(path) == before
    copy = path.with_name(f"studio-before-{NEXT}.db")
    assert schema_of(copy) == NOW
    assert rows(copy) == before
    assert copy.stat().st_mode & 0o777 == 0o600


def test_a_library_of_the_first_release_keeps_every_row(data_dir: Path, tmp_path: Path) -> None:
    path = data_dir / "studio.db"
    first_library(path, tmp_path)
    before = first_columns(path)
    assert [len(found) for found in before.values()] == [1, 1, 1, 1, 1, 2, 1]
    store = Store(data_dir)
    assert schema_of(path) == NOW
    assert first_columns(path) == before
    assert schema_of(path.with_name(f"studio-before-{NOW}.db")) == "0001"
    adapter, job = store.adapter(1), store.job(1)
    assert (adapter.name, adapter.parent_id, adapter.parent_name) == ("Pirate", None, None)
    assert (job.start_adapter_id, job.start_adapter_name, job.adapter_id) == (None, None, 1)
    again = store.submit("train", "more", {}, base_model_id=1, data_set_id=1, start_adapter_id=1)
    assert again.start_adapter_name == "Pirate"
    store.close()


def test_a_new_library_needs_no_copy(store: Store) -> None:
    assert [path.name for path in store.files.root.glob("studio*.db")] == ["studio.db"]


def test_a_migration_that_fails_halfway_changes_nothing(data_dir: Path, tmp_path: Path) -> None:
    path = older_library(data_dir)
    before = rows(path)
    with pytest.raises(ZeroDivisionError):
        upgrade(path, later_migrations(tmp_path, last="1 / 0"))
    assert schema_of(path) == NOW
    assert rows(path) == before
    with closing(sqlite3.connect(path)) as library:
        assert "note" not in [row[1] for row in library.execute("PRAGMA table_info(setting)")]


def test_a_migration_that_breaks_references_is_undone(data_dir: Path, tmp_path: Path) -> None:
    path = older_library(data_dir)
    migrations = later_migrations(tmp_path, last="op.execute('DELETE FROM job')")
    with pytest.raises(StoreError, match="could not be brought up to date: 2 broken references"):
        upgrade(path, migrations)
    assert schema_of(path) == NOW
    assert len(rows(path)["job"]) == 2


@pytest.mark.parametrize("statement", [1, 4, 9, 13, 17])
def test_a_migration_killed_at_any_statement_is_as_if_it_had_not_begun(
    data_dir: Path, tmp_path: Path, statement: int
) -> None:
    path, migrations = older_library(data_dir), later_migrations(tmp_path)
    before = rows(path)
    command = [sys.executable, "-c", KILLED_AT_STATEMENT, str(path), str(migrations), str(statement)]
    killed = subprocess.run(command, cwd=ROOT, check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert (schema_of(path), rows(path)) == (NOW, before)
    upgrade(path, migrations)
    assert (schema_of(path), rows(path)) == (NEXT, before)


def test_a_first_opening_killed_halfway_can_be_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "studio.db"
    command = [sys.executable, "-c", KILLED_AT_STATEMENT, str(path), str(MIGRATIONS), "8"]
    assert subprocess.run(command, cwd=ROOT, check=False, timeout=60).returncode == -signal.SIGKILL
    assert schema_of(path) is None
    upgrade(path)
    assert schema_of(path) == NOW
