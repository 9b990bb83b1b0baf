"""Bytes from a hub to this disk: one file at a time, checked by its hash, going on where it broke off.

Written on plain HTTP, though a client library of the hub is installed: that one deletes a half-fetched file when it is
interrupted, so that a retry begins at the first byte; it sends along what it knows about the machine; and whether it
may go online it reads once, at import, for all of a process in which everything else must stay offline.

The access token goes to the hub alone: not to the storage hosts it redirects to, and into no message and no log. Knows
nothing about models.
"""

import hashlib
import json
import logging
import os
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

HUB = "https://huggingface.co"
BLOCK = 1 << 20  # bytes of a file on this disk read at a time
TRIES = 3  # times in a row that may bring no new byte before it counts as broken
TIMEOUT = httpx.Timeout(30.0, connect=15.0)  # seconds without a byte
MOST_FACTS = 64_000_000  # bytes of an answer that is read into memory

_TOKEN = re.compile(r"[\x21-\x7e]{1,1000}")


class HubError(ValueError):
    """Something could not be had from the hub. `problems` says all that stands in the way, and what to do."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class RemoteFile:
    """A file as the hub lists it: its name, size in bytes, and a hash of its content."""

    name: str
    size: int
    sha256: str = ""  # of large files
    blob: str = ""  # of the others, as git counts it: SHA-1 over "blob SIZE\\0" and the content


class Hub:
    """A connection to one hub. A context manager; holds the token in memory and nowhere else."""

    def __init__(self, endpoint: str | None = None, token: str | None = None) -> None:
        """Without `endpoint` and `token` the environment's HF_ENDPOINT and HF_TOKEN. HubError if they make no sense."""
        self.endpoint = (endpoint or os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")
        self._token = (token if token is not None else os.environ.get("HF_TOKEN", "")).strip()
        address = _address(self.endpoint)
        if self._token and not _TOKEN.fullmatch(self._token):
            raise HubError(["HF_TOKEN holds something that is no access token. Copy the token again, without spaces."])
        self.host = address.host
        self._secure = address.scheme == "https"
        # It would log every address with its signature.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._client = httpx.Client(
            follow_redirects=True,
            timeout=TIMEOUT,
            event_hooks={"request": [self._check]},
            headers={"User-Agent": "lora-studio"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @property
    def has_token(self) -> bool:
        """Whether requests carry an access token."""
        return bool(self._token)

    def facts(self, path: str) -> Any:
        """The JSON at `path`. HubError, in words, when it cannot be had; Refused when the hub says no."""
        with self._reading(f"{self.endpoint}/{path}", {}) as answer:
            body = bytearray()
            for block in answer.iter_bytes():
                body += block
                if len(body) > MOST_FACTS:
                    raise HubError([f"{self.host} answered with more than {MOST_FACTS / 1e6:.0f} MB of facts."])
        try:
            return json.loads(body)
        except ValueError as error:
            raise HubError([f"{self.host} did not answer as a model hub does. Check HF_ENDPOINT."]) from error

    def piece(self, path: str, first: int, count: int) -> bytes:
        """At most `count` bytes of the file at `path`, from byte `first` on. No hash tells if they are right.

        Raises:
            HubError: no connection, or the server gives out no piece that is not at the beginning.
            Refused: the hub says no.
        """
        asked = {"Range": f"bytes={first}-{first + count - 1}", "Accept-Encoding": "identity"}
        content = bytearray()
        with self._reading(f"{self.endpoint}/{path}", asked) as answer:
            if first and not answer.headers.get("Content-Range", "").startswith(f"bytes {first}-"):
                raise HubError([f"{self.host} gives out whole files only, so this one cannot be looked into."])
            for block in answer.iter_bytes():
                content += block
                if len(content) >= count:
                    break
        return bytes(content[:count])

    def fetch(self, path: str, file: RemoteFile, into: Path, arrived: Callable[[int], None]) -> None:
        """Bring the file at `path` into the folder `into`, under its name, once every byte of it is right.

        What has arrived so far lies beside it and ends in `.part`; the next call goes on from there.

        Args:
            path: below the endpoint.
            file: what the hub said about the file.
            into: an existing folder.
            arrived: called with the bytes of this file that are here, again and again.

        Raises:
            HubError: no connection, a full disk, or content that is not the listed one, of which nothing is kept.
            Refused: the hub says no.
        """
        target, part = into / file.name, into / f"{file.name}.part"
        if target.is_file() and target.stat().st_size == file.size:
            arrived(file.size)
            return
        self._complete(path, file, part, arrived)
        if not _is_whole(part, file):
            part.unlink()
            raise HubError([f"{file.name} arrived damaged: its hash is not the listed one. It was not kept. Retry."])
        part.replace(target)

    def _complete(self, path: str, file: RemoteFile, part: Path, arrived: Callable[[int], None]) -> None:
        tries, best = TRIES, _size(part)
        while (had := _size(part)) < file.size or not part.exists():
            try:
                self._append(path, part, had, file.size, arrived)
            except BrokenOff:
                # Not what was here before: a server without ranges begins anew, and may get less far each second time.
                tries = TRIES if _size(part) > best else tries - 1
                best = max(best, _size(part))
                if not tries:
                    raise

    def _append(self, path: str, part: Path, had: int, size: int, arrived: Callable[[int], None]) -> None:
        """Ask for what is missing and write it down as it comes. HubError when it breaks off."""
        asked = {"Range": f"bytes={had}-", "Accept-Encoding": "identity"} if had else {"Accept-Encoding": "identity"}
        with self._reading(f"{self.endpoint}/{path}", asked) as answer:
            goes_on = answer.headers.get("Content-Range", "").startswith(f"bytes {had}-")
            here = had if goes_on else 0  # a server that does not know ranges begins anew
            with part.open("ab" if goes_on else "wb") as out:
                for block in answer.iter_bytes():
                    here += _written(out.write, block)
                    if here > size:
                        break
                    arrived(here)
        if here > size:
            part.unlink()
            raise HubError([f"{part.stem} is longer than the hub says. It was not kept. Retry."])
        if here < size:
            raise BrokenOff(self.host)

    @contextmanager
    def _reading(self, url: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        sent = {**headers, **({"Authorization": f"Bearer {self._token}"} if self._token else {})}
        try:
            with self._client.stream("GET", url, headers=sent) as answer:
                if answer.status_code >= 400:
                    raise Refused(self.host, answer.status_code, answer.headers.get("X-Error-Code", ""))
                yield answer
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.ReadTimeout):
            raise BrokenOff(self.host) from None
        except httpx.HTTPError as error:
            raise HubError([self._no_connection(error)]) from None  # its text may hold what was sent

    def _check(self, request: httpx.Request) -> None:
        """Each hop is looked at: what began encrypted stays encrypted."""
        if self._secure and request.url.scheme != "https":
            raise HubError([f"{self.host} led to an address that is not encrypted. Nothing was fetched from there."])

    def _no_connection(self, error: httpx.HTTPError) -> str:
        if isinstance(error.__cause__, ssl.SSLError) or "CERTIFICATE" in str(error):
            return f"The certificate of {self.host} cannot be trusted. Check the clock and the proxy of this machine."
        if isinstance(error, httpx.ProxyError):
            return f"The proxy of this machine does not let {self.host} through. Check HTTPS_PROXY."
        return f"No connection to {self.host}. Retry when online, or add a model that is on this machine."


class BrokenOff(HubError):
    """The connection ended in the middle. What had arrived is kept."""

    def __init__(self, host: str) -> None:
        super().__init__([f"The connection to {host} broke off. Retry: it goes on where it stopped."])


class Refused(HubError):
    """The hub answered, and the answer is no. `status` and `code` are what it said (HTTP status, X-Error-Code)."""

    def __init__(self, host: str, status: int, code: str) -> None:
        self.status, self.code = status, code
        if status == 429:
            words = f"{host} asks to wait: too many requests from here. Retry in some minutes."
        elif status >= 500:
            words = f"{host} has trouble of its own (HTTP {status}). Retry later."
        else:
            words = f"{host} does not give it out (HTTP {status})."
        super().__init__([words])


def _address(endpoint: str) -> httpx.URL:
    try:
        address = httpx.URL(endpoint)
    except httpx.InvalidURL:
        address = httpx.URL("")
    if address.scheme not in ("http", "https") or not address.host:
        raise HubError(["HF_ENDPOINT is no address of a hub. It looks like https://huggingface.co."])
    return address


def _written(write: Callable[[bytes], int], block: bytes) -> int:
    try:
        return write(block)
    except OSError as error:
        raise HubError([f"The disk did not take it ({error.strerror}). Free some space and retry."]) from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _is_whole(path: Path, file: RemoteFile) -> bool:
    with path.open("rb") as handle:
        if file.sha256:
            return hashlib.file_digest(handle, "sha256").hexdigest() == file.sha256
        if not file.blob:
            return path.stat().st_size == file.size
        # SHA-1 guards against damage here, as in git; against a person it would not.
        whole = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
        while block := handle.read(BLOCK):
            whole.update(block)
    return whole.hexdigest() == file.blob
