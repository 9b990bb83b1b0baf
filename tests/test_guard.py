"""The guard lets in who shows the right Host, Origin and token, and nobody else."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from studio.guard import LocalGuard, cookie_name, token_of

TOKEN = "t" * 43
HOME = "http://127.0.0.1:7860"


async def page(request: Request) -> PlainTextResponse:
    return PlainTextResponse("inside")


async def chat(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("inside")
    await socket.close()


@pytest.fixture
def guarded() -> LocalGuard:
    routes = [Route("/{rest:path}", page, methods=["GET", "POST", "DELETE"]), WebSocketRoute("/socket", chat)]
    return LocalGuard(Starlette(routes=routes[::-1]), token=TOKEN, cookie="studio_x", allowed_hosts=["lab.example"])


@pytest.fixture
def client(guarded: LocalGuard) -> TestClient:
    return TestClient(guarded, base_url=HOME, follow_redirects=False)


@pytest.fixture
def inside(client: TestClient) -> TestClient:
    client.headers["Authorization"] = f"Bearer {TOKEN}"
    return client


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:7861", "[::1]", "[::1]:80", "LOCALHOST:9", "lab.example:7860"]
)
def test_a_host_of_this_machine_is_served_on_any_port(inside: TestClient, host: str) -> None:
    assert inside.get("/", headers={"Host": host}).text == "inside"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7860",
        "127.0.0.1.evil.example",
        "localhost.",
        "localhost@evil.example",
        "[::2]",
        "localhost:evil",
        "",
    ],
)
def test_a_foreign_host_is_refused_even_with_the_token(inside: TestClient, host: str) -> None:
    assert inside.get("/", headers={"Host": host}).status_code == 421
    assert inside.get("/healthz", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:7860", "http://["]
)
def test_another_sites_page_may_not_ask(inside: TestClient, method: str, origin: str) -> None:
    assert inside.request(method, "/", headers={"Origin": origin}).status_code == 403


def test_the_studios_own_page_may_act(inside: TestClient) -> None:
    assert inside.post("/", headers={"Origin": HOME, "Sec-Fetch-Site": "same-origin"}).text == "inside"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_request_the_browser_calls_foreign_may_not_act_but_a_link_may_lead_here(
    inside: TestClient, site: str
) -> None:
    assert inside.post("/", headers={"Sec-Fetch-Site": site}).status_code == 403
    assert inside.get("/", headers={"Sec-Fetch-Site": site}).status_code == 200


def test_without_the_token_a_plain_page_says_where_the_link_is(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 401
    assert "python app.py" in answer.text
    assert "inside" not in answer.text
    assert client.post("/").status_code == 401


def test_the_link_lets_in_once_and_leaves_a_clean_address(client: TestClient) -> None:
    answer = client.get(f"/?tab=runs&token={TOKEN}&job=12")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/?tab=runs&job=12"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get(answer.headers["location"]).text == "inside"


@pytest.mark.parametrize("wrong", ["", "t", "t" * 42, "t" * 44, "T" * 43, "ü" * 43])
def test_a_wrong_token_opens_nothing(client: TestClient, wrong: str) -> None:
    assert client.get("/", params={"token": wrong}).status_code == 401
    assert client.get("/", headers={"Authorization": f"Bearer {wrong}".encode()}).status_code == 401
    assert client.get("/", headers={"Cookie": f"studio_x={wrong}".encode()}).status_code == 401
    assert client.get("/", headers={"Cookie": f"another={TOKEN}"}).status_code == 401


@pytest.mark.parametrize("path", ["//evil.example", "/\\evil.example", "///evil.example/", "/%0d%0aSet-Cookie:x=y"])
def test_the_redirect_never_leaves_this_site(client: TestClient, path: str) -> None:
    answer = client.get(f"{HOME}{path}?token={TOKEN}")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/")
    assert answer.headers["location"][1:2] not in ("/", "\\")
    assert "x=y" not in answer.headers["set-cookie"]


def test_a_post_does_not_log_in(client: TestClient) -> None:
    assert client.post(f"/?token={TOKEN}").status_code == 401


def test_health_needs_no_token(client: TestClient) -> None:
    assert client.get("/healthz").text == "inside"
    assert client.get("/healthz/../").status_code == 401


def test_a_websocket_is_guarded_like_a_request(client: TestClient) -> None:
    home = {"Origin": HOME, "Host": HOME.removeprefix("http://")}
    good = {**home, "Authorization": f"Bearer {TOKEN}"}
    with client.websocket_connect("/socket", headers=good) as socket:
        assert socket.receive_text() == "inside"
    for bad in (home, {**good, "Origin": "https://evil.example"}, {**good, "Host": "evil.example"}):
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/socket", headers=bad):
            pass


def test_every_answer_carries_the_headers_that_keep_the_page_at_home(client: TestClient) -> None:
    for answer in (client.get("/"), client.get("/healthz"), client.get("/", headers={"Host": "evil.example"})):
        assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


async def _asked(app: LocalGuard, sent: list[Message]) -> None:
    async def receive() -> Message:
        await anyio.sleep_forever()
        raise AssertionError("nobody hangs up")

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {TOKEN}".encode())]
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}
    await app(scope, receive, send)


def test_a_stream_passes_piece_by_piece() -> None:
    sent: list[Message] = []
    seen_between: list[int] = []

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"one", b"two"):
            seen_between.append(len(sent))
            yield piece

    guard = LocalGuard(StreamingResponse(pieces()), token=TOKEN, cookie="c")
    anyio.run(_asked, guard, sent)
    assert seen_between == [1, 2], "each piece must have left before the next one is made"


def test_the_token_is_kept_across_restarts_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "token"
    first = token_of(file)
    assert len(first) >= 40
    assert token_of(file) == first
    assert file.stat().st_mode & 0o077 == 0
    file.chmod(0o644)
    assert token_of(file) == first
    assert file.stat().st_mode & 0o077 == 0


def test_an_emptied_token_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("")
    assert len(token_of(file)) >= 40


def test_all_who_ask_at_once_get_the_same_token(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as many:
        for i in range(20):
            tokens = set(many.map(token_of, [tmp_path / f"token-{i}"] * 16))
            assert len(tokens) == 1
    assert len(list(tmp_path.iterdir())) == 20, "no drafts are left"


def test_two_data_folders_have_two_cookies(tmp_path: Path) -> None:
    assert cookie_name(tmp_path / "a") != cookie_name(tmp_path / "b")
    assert cookie_name(tmp_path / "a") == cookie_name(tmp_path / "b" / ".." / "a")
