"""A stand-in for a model hub, on loopback: the addresses, headers and errors that clients of a hub rely on.

Serves folders as models, keeps every request it was sent, and can be told to misbehave. Large files come by redirect
from a second address, as from a storage host. Knows nothing of the rest of the project.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "3f9c0de5" * 5
LARGE = (".safetensors", ".bin", ".gguf", ".parquet")
KIND = "(?:datasets/)?"  # what stands before the name of a data set


@dataclass
class Asked:
    """One request: what for, and with which headers (names in lower case)."""

    method: str
    path: str
    headers: dict[str, str]

    @property
    def file(self) -> str:
        """The file it asked for, if it did."""
        found = re.search(r"/(?:resolve|stored)/[^/]+/(.+)$", self.path)
        return found[1] if found else ""


@dataclass
class Faults:
    """How the hub misbehaves. `broken` is after how many bytes the connection of a file ends, once for each entry."""

    broken: dict[str, list[int]] = field(default_factory=dict)
    false_hash: str = ""  # the file whose content is not the listed one
    gated: bool = False
    private: bool = False
    refuses_tokens: bool = False
    busy: bool = False
    ranges: bool = True
    hold: dict[str, threading.Event] = field(default_factory=dict)  # after its first half, wait for this


class StandIn:
    """The hub: models by id, data sets by "datasets/" and their id, and the address to reach it at."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.models: dict[str, Path] = {}
        self.cards: dict[str, object] = {}  # what the card of a data set says of its files
        self.asked: list[Asked] = []
        self.faults = Faults()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def storage(self) -> str:
        """Another origin, though the same machine."""
        return f"http://localhost:{self.port}"

    def files_asked_for(self) -> list[str]:
        """The names of the files that were asked for, each once, in order."""
        return list(dict.fromkeys(asked.file for asked in self.asked if asked.file))


@contextmanager
def hub() -> Iterator[StandIn]:
    """A hub that is being served. Its thread ends with the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    stand_in = StandIn(server.server_port)
    server.stand_in = stand_in  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        for event in stand_in.faults.hold.values():
            event.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> StandIn:
        found: StandIn = self.server.stand_in  # type: ignore[attr-defined]
        return found

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(Asked(self.command, path, {k.lower(): v for k, v in self.headers.items()}))
        if found := re.fullmatch(r"/api/(?:models/)?((?:datasets/)?[^/]+/[^/]+)(?:/revision/(.+))?", path):
            self._facts(found[1], found[2] or "main")
        elif found := re.fullmatch(rf"/api/models/([^/]+/[^/]+)/tree/{COMMIT}", path):
            self._json([_in_tree(file) for file in sorted(self.hub.models[found[1]].iterdir())])
        elif found := re.fullmatch(rf"/({KIND}[^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._resolve(found[1], found[2], found[3])
        elif found := re.fullmatch(r"/stored/([^/]+)/(.+)", path):
            self._content(self.hub.models[found[1].replace("--", "/")] / found[2])
        else:
            self._refuse(404, "")

    def _facts(self, id: str, revision: str) -> None:
        if self._stopped(id):
            return
        if revision not in ("main", "v1", COMMIT):
            self._refuse(404, "RevisionNotFound")
            return
        folder = self.hub.models[id]
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        facts = {
            "id": id,
            "cardData": {"configs": self.hub.cards[id]} if id in self.hub.cards else {},
            "sha": COMMIT,
            "private": False,
            "gated": "auto" if self.hub.faults.gated else False,
        }
        self._json({**facts, "siblings": [_listed(file) | {"rfilename": _below(folder, file)} for file in files]})

    def _stopped(self, id: str) -> bool:
        faults = self.hub.faults
        if faults.busy:
            self._refuse(503, "")
        elif faults.refuses_tokens and "authorization" in self.hub.asked[-1].headers:
            self._refuse(401, "", "Invalid credentials in Authorization header")
        elif id not in self.hub.models or faults.private:
            # Whether it is absent or private is not for everybody to know.
            self._refuse(404 if "authorization" in self.hub.asked[-1].headers else 401, "RepoNotFound")
        else:
            return False
        return True

    def _resolve(self, id: str, revision: str, name: str) -> None:
        if self._stopped(id):
            return
        if self.hub.faults.gated:
            self._refuse(403 if "authorization" in self.hub.asked[-1].headers else 401, "GatedRepo")
            return
        file = self.hub.models[id] / name
        if not file.is_file():
            self._refuse(404, "EntryNotFound")
        elif file.suffix in LARGE:
            place = f"{self.hub.storage}/stored/{id.replace('/', '--')}/{name}"
            about = {"X-Linked-Size": str(file.stat().st_size), "X-Linked-Etag": f'"{_sha256(file)}"'}
            self._send(302, b"", {"Location": place, "X-Repo-Commit": COMMIT, **about})
        else:
            self._content(file)

    def _content(self, file: Path) -> None:
        content = file.read_bytes()
        if self.hub.faults.false_hash == file.name:
            content = bytes([content[0] ^ 1]) + content[1:]
        about = {"ETag": f'"{_sha256(file)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and self.hub.faults.ranges:
            start, end = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
            about["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
            self._send(206, content[start : end + 1], about, file.name)
        else:
            self._send(200, content, about, file.name)

    def _json(self, facts: Any) -> None:
        self._send(200, json.dumps(facts).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, message: str = "") -> None:
        self._send(status, b"", {**({"X-Error-Code": code} if code else {}), "X-Error-Message": message or "No."})

    def _send(self, status: int, body: bytes, headers: dict[str, str], name: str = "") -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if name in self.hub.faults.hold:
            half = len(body) // 2
            self.wfile.write(body[:half])
            self.wfile.flush()
            self.hub.faults.hold[name].wait(30)
            body = body[half:]
        breaks = self.hub.faults.broken.get(name)
        if breaks:
            self.wfile.write(body[: breaks.pop(0)])
            self.close_connection = True
            return
        self.wfile.write(body)


def _listed(file: Path) -> dict[str, Any]:
    content = file.read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    about: dict[str, Any] = {"rfilename": file.name, "size": len(content), "blobId": blob}
    if file.suffix in LARGE:
        about["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return about


def _below(folder: Path, file: Path) -> str:
    return file.relative_to(folder).as_posix()


def _in_tree(file: Path) -> dict[str, Any]:
    listed = _listed(file)
    about = {"type": "file", "path": file.name, "size": listed["size"], "oid": listed["blobId"]}
    if "lfs" in listed:
        about["lfs"] = {**listed["lfs"], "oid": listed["lfs"]["sha256"]}
    return about


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
