"""The real application behind its guard: every route refuses strangers, and no string from outside becomes a path.

The application is built once and asked without a network; one page is started as a person starts it.
"""

import io
import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from adapters_store.store import Store
from adapters_store.tables import Adapter
from jobs import process
from studio import launch, server
from studio.edge import UsageError
from studio.guard import token_of
from tests.furnish import add_adapter, furnish
from tests.pages import in_a_loop
from tests.workshop import wait_for

ROOT = Path(__file__).parent.parent
HOME = "http://127.0.0.1:7860"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    before = dict(os.environ)
    root = tmp_path_factory.mktemp("server") / "data"
    app: FastAPI = in_a_loop(lambda: server.build_app(root))
    yield app
    app.state.studio.answerer.close()
    app.state.studio.store.close()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def library(app: FastAPI) -> Store:
    store: Store = app.state.studio.store
    return store


@pytest.fixture(scope="module")
def adapter(library: Store) -> Adapter:
    return add_adapter(library, *furnish(library), name='quote" \r\n; filename=evil.exe')


@pytest.fixture
def token(library: Store) -> str:
    return token_of(library.files.root / "token")


@pytest.fixture
def stranger(app: FastAPI) -> TestClient:
    return TestClient(app, base_url=HOME, follow_redirects=False)


@pytest.fixture
def client(app: FastAPI, token: str) -> TestClient:
    headers = {"Authorization": f"Bearer {token}"}
    return TestClient(app, base_url=HOME, headers=headers, follow_redirects=False)


# --- the guard stands before all of it ----------------------------------------------------------------------------


def routes_of(routes: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Method and path of every route, those of Gradio's mounted application included, with 1 for each parameter."""
    for route in routes:
        included = getattr(route, "original_router", route)  # FastAPI keeps an included router as a route of its own
        if hasattr(included, "routes"):
            yield from routes_of(included.routes, prefix + getattr(route, "path", ""))
        else:
            path = re.sub(r"\{[^}]*\}", "1", f"{prefix}{route.path}")
            yield from ((method, path) for method in route.methods or {"GET"})


def test_every_route_refuses_foreign_hosts_foreign_pages_and_strangers(app: FastAPI, stranger: TestClient) -> None:
    routes = sorted(set(routes_of(app.routes)))
    assert len(routes) > 30, "Gradio's own routes are among them"
    assert ("POST", "/gradio_api/upload") in routes
    for method, path in routes:
        evil = stranger.request(method, path, headers={"Host": "evil.example"})
        assert evil.status_code == 421, (method, path)
        evil = stranger.request(method, path, headers={"Origin": "https://evil.example"})
        assert evil.status_code == 403, (method, path)
        if path != "/healthz":
            assert stranger.request(method, path).status_code == 401, (method, path)


@pytest.mark.parametrize(
    "sent",
    [
        {"files": {"files": ("a.jsonl", b"{}")}},
        {"json": {"data": []}},
        {"content": b"{}", "headers": {"Content-Type": "text/plain"}},
        {"data": {"a": "b"}},
    ],
    ids=["upload", "json", "plain text", "form"],
)
def test_a_foreign_page_cannot_make_the_studio_write(client: TestClient, library: Store, sent: dict[str, Any]) -> None:
    def state() -> tuple[int, list[Path]]:
        return library.revision(), sorted(library.files.root.rglob("*"))

    before = state()
    headers = {**sent.pop("headers", {}), "Origin": "https://evil.example"}
    for path in ("/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/component_server"):
        assert client.post(path, headers=headers, **sent).status_code == 403
    assert state() == before


def test_the_page_opens_with_the_token_and_keeps_the_rest_of_the_address(stranger: TestClient, token: str) -> None:
    answer = stranger.get(f"/?token={token}&tab=library")
    assert answer.headers["location"] == "/?tab=library"
    page = stranger.get("/?tab=library")
    assert page.status_code == 200
    assert "LoRA Studio" in page.text
    assert token not in page.text
    assert "frame-ancestors 'self'" in page.headers["content-security-policy"]


# --- how Gradio is set up -----------------------------------------------------------------------------------------


def test_gradio_holds_no_connection_shows_no_docs_and_caps_uploads(app: FastAPI, client: TestClient) -> None:
    config = client.get("/config").json()
    assert config["connect_heartbeat"] is False, "more than six tabs must work"
    assert config["analytics_enabled"] is False
    assert config["footer_links"] == []
    assert config["max_file_size"] == 200 * 1024 * 1024
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert client.get(path).status_code == 404


def test_the_environment_cannot_open_the_page_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "before")  # so that it is put back afterwards
    monkeypatch.setenv("GRADIO_SHARE", "True")
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    server.set_environment(tmp_path)
    assert "GRADIO_SHARE" not in os.environ
    assert "GRADIO_SERVER_NAME" not in os.environ
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"


# --- files --------------------------------------------------------------------------------------------------------


def test_an_adapter_is_downloaded_by_number_under_a_safe_name(client: TestClient, adapter: Adapter) -> None:
    answer = client.get(f"/download/adapter/{adapter.id}")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == 'attachment; filename="quote-filename-evil.exe.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert sorted(archive.namelist()) == ["adapter_config.json", "adapter_model.safetensors"]
        assert archive.testzip() is None
    assert answer.headers["content-length"] == str(len(answer.content))


def test_a_curve_is_downloaded_by_number(client: TestClient, library: Store) -> None:
    job = library.submit("train", "a curve", {})
    answer = client.get(f"/download/metrics/{job.id}.csv")
    assert answer.status_code == 200
    assert answer.text.startswith("step,loss")
    assert answer.headers["content-disposition"] == 'attachment; filename="a-curve-metrics.csv"'


def test_a_log_is_downloaded_by_number_as_text_that_steers_nothing(client: TestClient, library: Store) -> None:
    job = library.submit("train", "a log", {})
    assert client.get(f"/download/log/{job.id}.txt").text == ""
    library.files.log(f"job-{job.id}").write_bytes(b"first\n\x1b]0;evil\x07<script>\xff")
    answer = client.get(f"/download/log/{job.id}.txt")
    assert answer.text == "first\n\\x1b]0;evil\\x07<script>\\xff"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="a-log-log.txt"'


def test_a_download_of_what_is_not_there_is_refused_in_words(client: TestClient, library: Store) -> None:
    answer = client.get("/download/adapter/999")
    assert answer.status_code == 404
    assert "no adapter" in answer.json()["detail"]
    assert client.get("/download/metrics/999.csv").status_code == 404
    assert client.get("/download/log/999.txt").status_code == 404


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "x", "99999999999999999999", "../1", "1%2f..%2f1"])
def test_only_numbers_name_a_download(client: TestClient, number: str) -> None:
    assert client.get(f"/download/adapter/{number}").status_code in (404, 422)


def test_a_static_file_may_be_kept_for_ever_under_its_hash(client: TestClient) -> None:
    from studio.static_files import static_files, static_url

    for name in static_files():
        answer = client.get(static_url(name))
        assert answer.status_code == 200, name
        assert "immutable" in answer.headers["cache-control"]
    assert client.get("/static/theme.css").headers["cache-control"] == "no-cache"


SECRETS = ("studio.db", "token", "logs/page.log")


@pytest.mark.parametrize("way", ["/static/{}", "/gradio_api/file={}", "/file={}", "/static/..%2f..%2f{}", "/assets/{}"])
def test_no_address_leads_to_a_private_file(client: TestClient, library: Store, token: str, way: str) -> None:
    private = [str(library.files.root / name) for name in SECRETS]
    escapes = [
        "../app.py",
        "..%2fapp.py",
        "%2e%2e/pyproject.toml",
        "....//app.py",
        "/etc/passwd",
        "C:\\Windows\\win.ini",
    ]
    for target in (*private, *escapes):
        answer = client.get(way.format(target))
        assert answer.status_code != 200 or "LoRA Studio" in answer.text, (way, target)
        for secret in (token, "SQLite format", "root:x:0", "def main", "[project]"):
            assert secret not in answer.text, (way, target)


# --- a page as a person starts it ---------------------------------------------------------------------------------

# Runs app.py in this very process, and writes down each address that is connected to or looked up.
WATCHED = """
import sys
seen = open(sys.argv.pop(1), "w", buffering=1)
def watch(event, args):
    if event == "socket.connect": print("connect", args[1], file=seen)
    if event in ("socket.getaddrinfo", "socket.gethostbyname"): print("lookup", args[0], file=seen)
    if event == "socket.bind": print("bind", args[1], file=seen)
sys.addaudithook(watch)
sys.argv[0] = "app.py"
import app
sys.exit(app.main(sys.argv[1:]))
"""


class Page:
    """A page in a process of its own."""

    def __init__(self, root: Path, seen: Path) -> None:
        self.root, self.seen = root, seen
        options = ["--data-dir", str(root), "--port", "0", "--no-browser"]
        command = [sys.executable, "-c", WATCHED, str(seen), *options]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.link = wait_for(self._address, 90, "the page to say where it is") or ""

    def _address(self) -> str | None:
        assert self.process.poll() is None, self.process.stdout and self.process.stdout.read()
        return launch.address(self.root)

    def status(self, path: str, **headers: str) -> int:
        """The status of a GET; 0 while nobody answers."""
        at = urlsplit(self.link)
        connection = HTTPConnection(str(at.hostname), at.port or 80, timeout=60)
        try:
            connection.request("GET", path, headers=headers)
            return connection.getresponse().status
        finally:
            connection.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("page")
    store = Store(folder / "data")
    furnish(store)  # the starter model is here, so nothing is fetched
    store.close()
    page = Page(folder / "data", folder / "seen")
    yield page
    page.process.kill()
    page.process.wait()
    assert page.process.stdout is not None
    page.process.stdout.close()


def test_the_page_answers_and_asks_for_its_token(page: Page) -> None:
    assert page.status("/healthz") == 200
    assert page.status("/") == 401
    assert page.status("/", Authorization=f"Bearer {token_of(page.root / 'token')}") == 200
    assert page.status("/healthz", Host="evil.example") == 421


def test_the_page_listens_on_loopback_alone_and_connects_to_nobody_else(page: Page) -> None:
    assert page.status("/healthz") == 200
    listening = [c for c in psutil.Process(page.process.pid).net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert [c.laddr.ip for c in listening] == ["127.0.0.1"]
    for line in page.seen.read_text().splitlines():
        assert "127.0.0.1" in line or "localhost" in line or "::1" in line or ".sock" in line, line


def test_the_page_stands_in_an_empty_folder(page: Page) -> None:
    here = Path(psutil.Process(page.process.pid).cwd())
    assert here == page.root / "empty"
    assert list(here.iterdir()) == []


def test_a_second_start_says_where_the_first_is(page: Page) -> None:
    command = [sys.executable, "app.py", "--no-browser", "--data-dir", str(page.root), "--port", "0"]
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 0
    assert page.link in second.stdout
    assert "already" in second.stdout


def test_ctrl_c_closes_the_page_in_order(page: Page) -> None:
    assert page.status("/healthz") == 200  # before that, Ctrl-C breaks a start off
    assert (page.root / "page.json").exists()
    page.process.send_signal(signal.SIGINT)
    said, _ = page.process.communicate(timeout=30)
    assert page.process.returncode == 0
    assert page.link in said
    assert "Ctrl-C closes the page; runs go on in the background." in said
    assert "The page is closed." in said
    assert "Traceback" not in said
    assert not (page.root / "page.json").exists()


# --- addresses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", ""])
def test_an_address_that_others_can_reach_is_refused_with_a_way_out(host: str) -> None:
    with pytest.raises(UsageError, match="ssh -L"):
        launch.check_host(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_a_loopback_address_is_accepted(host: str) -> None:
    launch.check_host(host)


def test_a_port_in_use_is_passed_over() -> None:
    with launch.listen("127.0.0.1", 0) as first:
        taken = first.getsockname()[1]
        with launch.listen("127.0.0.1", taken) as second:
            assert second.getsockname()[1] > taken


def test_a_page_that_died_has_no_address(tmp_path: Path) -> None:
    assert launch.address(tmp_path) is None
    dead = {"pid": 2**22 + 1, "started": 1.0, "boot": process.boot_id(), "url": "http://127.0.0.1:7860/"}
    (tmp_path / "page.json").write_text(json.dumps(dead))
    assert launch.address(tmp_path) is None
    me = process.identify()
    (tmp_path / "page.json").write_text(json.dumps({**dead, **me._asdict()}))
    assert (launch.address(tmp_path) or "").startswith("http://127.0.0.1:7860/?token=")
