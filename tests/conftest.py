"""What many tests need: a data folder of their own, and an open store in it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadFileScheduling

if TYPE_CHECKING:
    from adapters_store.store import Store
    from adapters_store.tables import BaseModel, DataSet
    from tests.faults.nursery import Nursery
    from tests.hub import StandIn


# Models here have two layers: a second thread only waits. Set before torch is imported, and inherited by every worker.
os.environ["OMP_NUM_THREADS"] = "1"


class ByFile(LoadFileScheduling):
    """Shares the tests out by file, and keeps the whole folder `browser` in one process.

    Two browsers at a time on two cores starve each other; one beside other tests does not. The marks that xdist has for
    such groups change the ids of tests, which this pytest does not take.
    """

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "browser" if "browser/" in file else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Asked by xdist when tests run in several processes."""
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest pieces first, each in a process of its own: what is long and comes last is waited for alone."""
    items.sort(key=lambda item: (item.path.parent.name != "browser", item.path.stem != "test_starter_story"))


@pytest.fixture(autouse=True)
def _no_one_elses_files(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test forgets to say, it never touches the data folder of the person who runs it."""
    monkeypatch.setenv("LORA_STUDIO_DATA", str(tmp_path_factory.mktemp("default") / "data"))


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Where a data folder may be made."""
    return tmp_path / "data"


@pytest.fixture(scope="session")
def _empty_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with an empty library, made once: making the tables takes longer than most tests."""
    from adapters_store.store import Store

    folder = tmp_path_factory.mktemp("library") / "data"
    Store(folder).close()
    return folder


@pytest.fixture
def store(data_dir: Path, _empty_library: Path) -> Iterator["Store"]:
    """An open, empty store in `data_dir`."""
    from adapters_store.store import Store

    shutil.copytree(_empty_library, data_dir)
    store = Store(data_dir)
    yield store
    store.close()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator["StandIn"]:
    """A hub with the tiny model, and beside it what nobody should fetch. The environment points there."""
    from tests.hub import hub
    from tests.workshop import shared_tiny_model

    for name in ("HF_TOKEN", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "on-the-hub"
    shutil.copytree(shared_tiny_model(), folder)
    for name in ("pytorch_model.bin", "modeling_evil.py", "README.md", "training_args.bin"):
        (folder / name).write_text("nobody asks for this")
    with hub() as stand_in:
        stand_in.models["org/tiny"] = folder
        monkeypatch.setenv("HF_ENDPOINT", stand_in.endpoint)
        yield stand_in


@pytest.fixture
def into(tmp_path: Path) -> Path:
    """A folder to fetch into."""
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


@pytest.fixture
def no_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    """No runner is started: the test does the jobs itself, or leaves them."""
    from jobs import runner

    monkeypatch.setattr(runner, "ensure", lambda root: None)


@pytest.fixture(scope="module")
def one_thread_each() -> Iterator[None]:
    """Torch computes with one thread throughout a file, here and in the processes it starts."""
    from tests.workshop import one_thread

    with one_thread():
        yield


@pytest.fixture(scope="session")
def nursery() -> "Iterator[Nursery]":
    """Forks processes of the studio, which have imported everything."""
    from tests.faults.nursery import Nursery

    with Nursery() as nursery:
        yield nursery


@pytest.fixture
def forked(nursery: "Nursery") -> Iterator[None]:
    """What is started detached is forked: a worker takes five seconds of the CPU to import torch."""
    with nursery.instead_of_processes():
        yield


@pytest.fixture
def furnished(store: "Store") -> "tuple[BaseModel, DataSet]":
    """A base model and a data set in `store`."""
    from tests.furnish import furnish

    return furnish(store)


@pytest.fixture
def workers() -> "Iterator[list[subprocess.Popen[bytes]]]":
    """Worker processes that a test puts in here are gone after it, whatever became of them."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for worker in started:
        worker.kill()
        worker.wait()


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that `peft` wrote for the tiny model. Nobody changes it."""
    from tests.foreign import plain_adapter

    return plain_adapter(tmp_path_factory.mktemp("sound") / "adapter")


@pytest.fixture(scope="session")
def _stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with adapters, a run and its curve. Nobody changes it."""
    from tests.damages import stock

    root = tmp_path_factory.mktemp("stocked") / "data"
    stock(root)
    return root


@pytest.fixture
def root(_stocked: Path, tmp_path: Path) -> Path:
    """A copy of that data folder, to be damaged."""
    shutil.copytree(_stocked, tmp_path / "data")
    return tmp_path / "data"
