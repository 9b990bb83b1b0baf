"""The data folder as a command opens it: its store, with the log of the command line in it.

Apart from what commands do with it, so that one that only lists imports no more than the library. Knows nothing about
names, jobs or answers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters_store.files import locate
from adapters_store.store import Store
from studio.edge import log_to


@contextmanager
def opened(data_dir: Path | None) -> Iterator[Store]:
    """The store of the data folder, or of the one this person's studio lives in by default."""
    store = Store(locate(data_dir))
    log_to(store.files.log("cli"))
    try:
        yield store
    finally:
        store.close()
