"""The guard in front of the whole page: who may ask at all.

A program on localhost can be reached by every web page open in the same browser, so being local is no protection.
Three checks stand here: the Host (a foreign name that resolves to this machine is refused), the Origin (another site's
page may not act), and a token (another user of this machine may not look). Every answer carries the headers that keep
the page from being framed, sniffed or made to load from elsewhere.

Plain ASGI, so that streams pass unbuffered. It knows nothing about what it guards, and cannot protect against a program
that runs as the same person: that one can read the token's file.
"""

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
OPEN_PATHS = ("/healthz",)
SHORTEST = 32  # characters of a token
A_YEAR = 365 * 24 * 3600  # seconds

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        "connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

LOCKED = """<!doctype html><html lang="en"><meta charset="utf-8"><title>LoRA Studio</title>
<style>:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem}</style>
<h1>LoRA Studio is locked</h1>
<p>This browser has not been let in yet. Open the link that the terminal printed when the studio started
(it ends in <code>?token=…</code>), or run <code>python app.py</code> once more: it opens the running studio.</p>
<p>If you have just opened that link: <a href="/">go on</a>.</p></html>
"""


def token_of(file: Path) -> str:
    """The token kept in `file`, made on first use. Only its owner can read the file."""
    if not file.exists():
        _put(secrets.token_urlsafe(32), file)
    file.chmod(0o600)
    token = file.read_bytes().decode("ascii", "replace").strip()
    if len(token) >= SHORTEST and token.isascii():
        return token
    file.unlink()  # nothing of ours is so short: somebody has emptied it
    return token_of(file)


def _put(token: str, file: Path) -> None:
    """Write it whole or not at all, and never over another's: two that start at once agree on the first one's."""
    draft = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as out:
        out.write(token)
    try:
        os.link(draft, file)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def cookie_name(data_dir: Path) -> str:
    """A name of its own for each data folder: cookies ignore ports, so two studios would share one."""
    return "studio_" + hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:12]


class LocalGuard:
    """Let a request through only when its Host, its Origin and its token are right.

    Args:
        app: what is guarded.
        token: the secret a browser or script must show once as `?token=`, or as `Authorization: Bearer`.
        cookie: the name under which a browser keeps it.
        allowed_hosts: host names beside localhost, 127.0.0.1 and [::1], each on any port.
    """

    def __init__(self, app: ASGIApp, *, token: str, cookie: str, allowed_hosts: Iterable[str] = ()) -> None:
        self.app = app
        self.token = token
        self.cookie = cookie
        self.hosts = {*LOOPBACK, *(host.lower() for host in allowed_hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, one websocket, or the life span of the app."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        refusal = self.refusal(scope)
        if refusal is None:
            await self.app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await receive()  # the handshake; closing before it is accepted answers 403
            await send({"type": "websocket.close", "code": 1008, "reason": "refused"})
        else:
            await refusal(scope, receive, _with_headers(send))

    def refusal(self, scope: Scope) -> Response | None:
        """The answer to give in place of the app's, or None when the request may pass."""
        headers = Headers(scope=scope)
        if not self._knows_host(headers):
            return _plain(HTTPStatus.MISDIRECTED_REQUEST, "This address is not one of this studio's.")
        if _is_foreign(scope, headers):
            return _plain(HTTPStatus.FORBIDDEN, "This request comes from another site.")
        if scope["path"] in OPEN_PATHS:
            return None
        return self._login(scope, headers)

    def _knows_host(self, headers: Headers) -> bool:
        hosts = headers.getlist("host")
        return len(hosts) == 1 and _without_port(hosts[0]) in self.hosts

    def _login(self, scope: Scope, headers: Headers) -> Response | None:
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        shown = [value for key, value in query if key == "token"]
        if shown and scope.get("method") == "GET" and self._is_token(shown[0]):
            return self._let_in(scope["path"], [(key, value) for key, value in query if key != "token"])
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if (scheme.lower() == "bearer" and self._is_token(bearer.strip())) or any(
            self._is_token(value) for value in _cookies(headers, self.cookie)
        ):
            return None
        return HTMLResponse(LOCKED, HTTPStatus.UNAUTHORIZED, {"Cache-Control": "no-store"})

    def _let_in(self, path: str, query: list[tuple[str, str]]) -> Response:
        # One slash in front: `//elsewhere` would be another site's address.
        clean = "/" + quote(path.lstrip("/\\")) + (f"?{urlencode(query)}" if query else "")
        answer = Response(status_code=HTTPStatus.SEE_OTHER, headers={"Location": clean, "Cache-Control": "no-store"})
        answer.set_cookie(self.cookie, self.token, max_age=A_YEAR, path="/", httponly=True, samesite="strict")
        return answer

    def _is_token(self, shown: str) -> bool:
        return hmac.compare_digest(shown.encode(), self.token.encode())


def _is_foreign(scope: Scope, headers: Headers) -> bool:
    """Whether a page of another site sent this. Browsers set both headers, and no script can change them."""
    own = headers["host"].lower()
    # `null` is no address of ours, so a sandboxed frame is foreign too.
    if any(origin.lower() not in (f"http://{own}", f"https://{own}") for origin in headers.getlist("origin")):
        return True
    acts = scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS
    return acts and headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")


def _without_port(host: str) -> str:
    name, colon, port = host.lower().rpartition(":")
    if not colon or host.endswith("]"):
        return host.lower()
    return name if port.isdecimal() else ""


def _cookies(headers: Headers, name: str) -> list[str]:
    pairs = (part.strip().partition("=") for line in headers.getlist("cookie") for part in line.split(";"))
    return [value for key, _, value in pairs if key == name]


def _plain(status: HTTPStatus, sentence: str) -> Response:
    return PlainTextResponse(sentence, status)


def _with_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(HEADERS)
        await send(message)

    return guarded
