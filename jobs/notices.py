"""What is told when a run has ended, and to whom: a command of the person's own, or an address on this machine.

The runner tells, after the worker is gone, from a thread of its own: whatever becomes of a notice, no run hears of it.
It stands in the log of the run. What is told, and to whom, is kept in the library and set by `python -m studio notices`
alone: the page can read it and not change it, so nothing that gets into a page can have a program started.

An end is told at most once, also across restarts: how far the ends are told is noted before one is.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import logging
import queue
import shutil
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from adapters_store.errors import StoreError
from adapters_store.store import Store
from adapters_store.tables import Job
from jobs import job_notes, process
from jobs.progress import job_sentence
from jobs.queue import ON_DEVICE

log = logging.getLogger("runner.notices")

NOTICES = "notices"  # the setting: who is told
TOLD_TO = "notices_told_to"  # the setting: the number of the event up to which ends were told
ENDS = ("completed", "stopped", "failed", "interrupted")  # the others are a person's own doing
COMMAND_SECONDS = 30.0
WEBHOOK_SECONDS = 10.0  # for each step of the exchange
MOST_AT_ONCE = 20  # ends; after a long time without a runner the older ones are passed over


class NoticeError(ValueError):
    """A command or an address that cannot be used, with what to do instead."""


@dataclass(frozen=True)
class Notices:
    """Who is told: the words of a command, an address, and the hosts beside this machine that an address may be on."""

    command: tuple[str, ...] = ()
    webhook: str = ""
    hosts: tuple[str, ...] = ()

    @classmethod
    def of(cls, store: Store) -> Self:
        """As they were set."""
        kept = store.recall(NOTICES, {})
        return cls(tuple(kept.get("command", ())), kept.get("webhook", ""), tuple(kept.get("hosts", ())))

    def keep(self, store: Store) -> None:
        """Set them. What has ended before is not told. NoticeError for what cannot be used; nothing is set then."""
        check_webhook(self.webhook, self.hosts)
        if not Notices.of(store).anybody():
            store.remember(TOLD_TO, store.newest_event())
        store.remember(NOTICES, asdict(self))

    def anybody(self) -> bool:
        """Whether somebody is told."""
        return bool(self.command or self.webhook)


def whole_command(words: Sequence[str]) -> tuple[str, ...]:
    """A command with its program by its full path, so that it is the same one wherever the runner stands.

    Raises:
        NoticeError: there is no such program.
    """
    program = shutil.which(words[0]) if words else None
    if program is None:
        raise NoticeError(f"There is no program {words[0] if words else ''!r}. Give the path of one that can be run.")
    return (program, *words[1:])


def check_webhook(address: str, hosts: Sequence[str]) -> None:
    """Refuse an address that is neither on this machine nor on one of `hosts`. NoticeError."""
    if not address:
        return
    try:
        at = urlsplit(address)
        host, port = (at.hostname or "").lower(), at.port
    except ValueError:
        host, port, at = "", None, urlsplit("")
    if at.scheme not in ("http", "https") or not host or port == 0 or at.username is not None or not address.isascii():
        raise NoticeError(f"{address!r} is no address. Write it like http://127.0.0.1:8080/path, without a password.")
    if host != "localhost" and not _is_loopback(host) and host not in hosts:
        raise NoticeError(
            f"{host} is another machine. To have the names and results of runs sent there, allow it by its name: "
            f"--allow-host {host}"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def facts(job: Job) -> dict[str, Any]:
    """What is told of an end, as JSON."""
    return {
        "job": job.id,
        "name": job.name,
        "kind": job.kind,
        "state": job.state,
        "says": job_sentence(job),
        "why": job.why,
        "adapter": job.adapter_id,
        "finished_at": job.finished_at,
    }


def tell(store: Store, job: Job, notices: Notices) -> list[str]:
    """Tell of an end, and write into the log of the run what became of it; that in sentences, trouble first."""
    ways = [_command(store, job, notices.command), _webhook(job, notices)]
    said = sorted((one for one in ways if one), key=lambda one: one.endswith("told."))
    for one in said:
        job_notes.write(store, job, one, "notices", warning=not one.endswith("told."))
    return said


def _command(store: Store, job: Job, words: tuple[str, ...]) -> str:
    if not words:
        return ""
    told = facts(job)
    also = {f"LORA_STUDIO_{name.upper()}": _one_line(told[name]) for name in ("job", "name", "kind", "state", "says")}
    try:
        code = process.run_briefly(list(words), json.dumps(told), also, _log_of(store, job), COMMAND_SECONDS)
    except subprocess.TimeoutExpired:
        return f"Notice: {words[0]} was ended after {COMMAND_SECONDS:.0f} s."
    except (OSError, ValueError) as error:
        return f"Notice: {words[0]} could not be started ({error})."
    return f"Notice: {words[0]} was told." if code == 0 else f"Notice: {words[0]} {process.how_it_ended(code)}."


def _one_line(value: object) -> str:
    return " ".join(str(value).replace("\0", " ").split())


def _webhook(job: Job, notices: Notices) -> str:
    if not notices.webhook:
        return ""
    try:
        check_webhook(notices.webhook, notices.hosts)  # as it is sent, not only as it was set
        status = _post(notices.webhook, json.dumps(facts(job)).encode())
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"Notice: {place(notices.webhook)} was not reached ({error})."
    there = place(notices.webhook)
    return f"Notice: {there} was told." if 200 <= status < 300 else f"Notice: {there} answered with {status}."


def _post(address: str, body: bytes) -> int:
    """The status of the answer. No proxy stands between, and no redirection is followed: it would lead elsewhere."""
    at = urlsplit(address)
    kind = http.client.HTTPSConnection if at.scheme == "https" else http.client.HTTPConnection
    line = kind(str(at.hostname), at.port, timeout=WEBHOOK_SECONDS)
    try:
        path = f"{at.path or '/'}{f'?{at.query}' if at.query else ''}"
        line.request("POST", path, body, {"Content-Type": "application/json"})
        return line.getresponse().status
    finally:
        line.close()


def place(address: str) -> str:
    """An address for a log: what stands behind the host may be a secret."""
    return urlsplit(address).netloc


def _log_of(store: Store, job: Job) -> Any:
    return store.files.log(f"job-{job.id}")


class Herald:
    """Sees which runs have ended, and has it told by a thread, one after another."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._due: queue.Queue[tuple[Job, Notices]] = queue.Queue()
        self._thread: threading.Thread | None = None

    def look(self) -> None:
        """Have told what has ended since the last look. StoreError."""
        notices = Notices.of(self._store)
        if not notices.anybody():
            return
        ends = self._store.ends(self._store.recall(TOLD_TO, 0), ENDS, ON_DEVICE)
        if ends:  # noted before: a notice that brings this process down is not told again
            self._store.remember(TOLD_TO, ends[-1].id)
        for end in ends[-MOST_AT_ONCE:]:
            job = self._store.job(end.job_id)
            if job.state == end.state_to:  # not queued again meanwhile
                self._due.put((job, notices))
        self._begin()

    def busy(self) -> bool:
        """Whether somebody is still to be told."""
        return self._thread is not None and self._thread.is_alive()

    def _begin(self) -> None:
        if not self.busy() and not self._due.empty():
            self._thread = threading.Thread(target=self._tell_all, name="notices", daemon=True)
            self._thread.start()

    def _tell_all(self) -> None:
        while True:
            try:
                job, notices = self._due.get_nowait()
            except queue.Empty:
                return
            try:
                for sentence in tell(self._store, job, notices):
                    log.info("job %s: %s", job.id, sentence)
            except (OSError, StoreError):
                log.exception("the notice of job %s", job.id)


def ended_since(store: Store, event: int) -> tuple[int, list[dict[str, Any]]]:
    """The runs that have ended since this event, for a browser that notifies, and the newest event.

    Before the first event (-1) there is only the newest one.
    """
    newest = store.newest_event()
    ends: Mapping[int, Any] = {e.job_id: e for e in store.ends(event, ENDS, ON_DEVICE)} if event >= 0 else {}
    jobs = [(end, store.job(end.job_id)) for end in ends.values()]
    return newest, [{"event": e.id, **facts(job)} for e, job in jobs if job.state == e.state_to]
