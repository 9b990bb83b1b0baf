"""What happens to files on disks and in hands, done to the file of a library: for tests of what becomes of it.

Each damage takes the path of the library's file. Knows nothing about how one is mended.
"""

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from adapters_store.store import Store
from jobs import process
from tests.furnish import add_adapter, furnish

PAGE = 4096
ADAPTERS, STEPS = 30, 2000
Damage = Callable[[Path], None]


def stock(root: Path) -> None:
    """Make a data folder with adapters, a run and its curve."""
    store = Store(root)
    base, data = furnish(store)
    job = store.submit("train", "curve", {}, base_model_id=base.id, data_set_id=data.id)
    token = store.claim(job.id, process.identify()).token  # type: ignore[union-attr]
    metrics = [{"step": step, "loss": 1 / (1 + step)} for step in range(STEPS)]
    store.move(job.id, "running", why="", who="worker", token=token)
    store.report(job.id, token, metrics=metrics)
    store.move(job.id, "failed", why="The test ended it.", who="worker", token=token)
    for number in range(ADAPTERS):
        add_adapter(store, base, data, f"adapter {number}", settings={"note": "x" * 400}, job_id=job.id)
    store.close()
    with closing(sqlite3.connect(root / "studio.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def page_of_noise(place: float) -> Damage:
    """A page somewhere in the file, the first one left out, holds something else."""

    def damage(library: Path) -> None:
        number = 1 + int(place * (library.stat().st_size // PAGE - 1))
        write(library, number * PAGE, random.Random(place).randbytes(PAGE))

    return damage


def zeros(start: int, length: int) -> Damage:
    return lambda library: write(library, start, bytes(length))


def cut_to(share: float) -> Damage:
    def damage(library: Path) -> None:
        with library.open("r+b") as file:
            file.truncate(int(share * library.stat().st_size))

    return damage


def schema_of_noise(library: Path) -> None:
    write(library, 200, random.Random(0).randbytes(PAGE - 200))


def exchanged(library: Path) -> None:
    library.write_text("This was once a library.\n" * 1000)


def another_program(library: Path) -> None:
    library.unlink()
    with closing(sqlite3.connect(library)) as connection:
        connection.execute("CREATE TABLE note (text TEXT)")


def many_pages_of_noise(library: Path) -> None:
    chance = random.Random(1)
    for number in chance.sample(range(1, library.stat().st_size // PAGE), 12):
        write(library, number * PAGE, chance.randbytes(PAGE))


def write(library: Path, place: int, content: bytes) -> None:
    with library.open("r+b") as file:
        file.seek(place)
        file.write(content)


DAMAGES: dict[str, Damage] = {
    **{f"noise in the page at {place:.2f}": page_of_noise(place) for place in (n / 8 for n in range(8))},
    "noise in twelve pages": many_pages_of_noise,
    "head of zeros": zeros(0, 100),
    "first page of zeros": zeros(0, PAGE),
    "first half of zeros": zeros(0, 30 * PAGE),
    "noise in the schema": schema_of_noise,
    "cut to a half": cut_to(0.5),
    "cut to a tenth": cut_to(0.1),
    "cut to most, not at a page": cut_to(0.987),
    "emptied": cut_to(0.0),
    "deleted": Path.unlink,
    "exchanged for text": exchanged,
    "exchanged for another program's": another_program,
}


def on_disk(root: Path) -> set[str]:
    return {path.name for path in (root / "adapters").iterdir()}
