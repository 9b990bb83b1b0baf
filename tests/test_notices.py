"""Who is told when a run has ended, that nobody else is, and that trouble with it stays with the notice."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from adapters_store.store import Store
from adapters_store.tables import Job, Owner
from jobs import notices, process
from jobs.notices import NoticeError, Notices
from jobs.runner import Runner
from tests.terminal import Terminal
from tests.workshop import wait_for

NOBODY = Owner(2**22 + 1, 1.0, "boot-a")
# Writes what it was given into the file that its last word names.
SCRIBE = "import os, sys; open(sys.argv[1], 'a').write(os.environ['LORA_STUDIO_SAYS'] + chr(10) + sys.stdin.read())"


def ended(store: Store, state: str = "failed", kind: str = "train", name: str = "run") -> Job:
    job = store.claim(store.submit(kind, name, {}).id, process.identify())
    assert job is not None
    return store.move(job.id, state, who="worker", why="Because of a test.", token=job.token)


def scribe(tmp_path: Path) -> tuple[tuple[str, ...], Path]:
    return (sys.executable, "-c", SCRIBE, str(tmp_path / "told")), tmp_path / "told"


def log_of(store: Store, job: Job) -> str:
    return store.files.log(f"job-{job.id}").read_text()


def through_a_runner(store: Store) -> None:
    runner = Runner(store)
    runner.step()
    wait_for(lambda: not runner._herald.busy(), 20, "everybody to be told")


def test_a_command_is_told_of_an_end_once(store: Store, tmp_path: Path) -> None:
    before = ended(store)
    command, told = scribe(tmp_path)
    Notices(command=command).keep(store)
    job = ended(store, name="two\nlines $(touch here) 'and a quote")
    ended(store, kind="fetch")  # nobody waits beside it
    through_a_runner(store)
    through_a_runner(store)
    says, _, given = told.read_text().partition("\n")
    facts = json.loads(given)
    assert (facts["job"], facts["name"], facts["state"]) == (job.id, job.name, "failed")
    assert says == " ".join(facts["says"].split())
    assert "was told" in log_of(store, job)
    assert not store.files.log(f"job-{before.id}").exists()
    assert not (Path.cwd() / "here").exists()


def test_what_goes_on_by_itself_or_was_ended_by_a_person_is_no_end(store: Store, tmp_path: Path) -> None:
    command, told = scribe(tmp_path)
    Notices(command=command).keep(store)
    again = ended(store, "interrupted")
    store.move(again.id, "queued", who="runner")
    store.request_stop(again.id, "cancel")
    through_a_runner(store)
    assert not told.exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ((sys.executable, "-c", "raise SystemExit(3)"), "exit code 3"),
        ((sys.executable, "-c", "import signal; signal.pause()"), "was ended after"),
        (("/nowhere/at-all",), "could not be started"),
    ],
    ids=["failing", "endless", "gone"],
)
def test_trouble_with_a_command_stands_in_the_log_and_nowhere_else(
    store: Store, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], said: str
) -> None:
    monkeypatch.setattr(notices, "COMMAND_SECONDS", 0.3)
    Notices(command=command).keep(store)
    job = ended(store)
    through_a_runner(store)
    assert said in log_of(store, job)
    assert store.job(job.id).state == "failed"


class Listening(BaseHTTPRequestHandler):
    """Keeps what it is sent."""

    received: list[Any] = []  # noqa: RUF012
    status = 204

    def do_POST(self) -> None:
        self.received.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
        self.send_response(self.status)
        self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[str]:
    Listening.received, Listening.status = [], 204
    with HTTPServer(("127.0.0.1", 0), Listening) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}/ended?key=secret"
        server.shutdown()
        serving.join()


def test_an_address_on_this_machine_is_told_and_its_secret_is_not(
    store: Store, listener: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")
    Notices(webhook=listener).keep(store)
    job = ended(store)
    through_a_runner(store)
    ((path, facts),) = Listening.received
    assert (path, facts["job"]) == ("/ended?key=secret", job.id)
    assert "was told" in log_of(store, job)
    assert "secret" not in log_of(store, job)


def test_a_redirection_is_not_followed(store: Store, listener: str) -> None:
    Listening.status = 307
    Notices(webhook=listener).keep(store)
    job = ended(store)
    through_a_runner(store)
    assert "answered with 307" in log_of(store, job)
    assert len(Listening.received) == 1


@pytest.mark.parametrize(
    "address",
    [
        "http://example.com/",
        "http://127.0.0.1.example.com/",
        "http://localhost@example.com/",
        "http://10.0.0.1/",
        "http://[::ffff:10.0.0.1]/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http://127.0.0.1:99999/",
        "http://",
        "127.0.0.1",
    ],
)
def test_an_address_elsewhere_is_refused_before_anything_is_sent(store: Store, address: str) -> None:
    with pytest.raises(NoticeError):
        Notices(webhook=address).keep(store)
    assert Notices.of(store) == Notices()


def test_another_machine_is_told_once_it_was_allowed(store: Store) -> None:
    Notices(webhook="https://hooks.example.com/x", hosts=("hooks.example.com",)).keep(store)
    assert Notices.of(store).webhook == "https://hooks.example.com/x"
    store.remember(notices.NOTICES, {"webhook": "https://hooks.example.com/x"})  # allowed no longer
    (said,) = notices.tell(store, ended(store), Notices.of(store))
    assert "another machine" in said


def test_a_browser_hears_of_ends_behind_the_event_it_knows(store: Store) -> None:
    known, none = notices.ended_since(store, -1)
    job = ended(store, "failed", name="mine")
    newest, told = notices.ended_since(store, known)
    assert none == []
    assert [(one["job"], one["name"]) for one in told] == [(job.id, "mine")]
    assert notices.ended_since(store, newest) == (newest, [])


def test_notices_are_set_and_tried_from_the_command_line(store: Store, tmp_path: Path) -> None:
    person, (command, told) = Terminal(store.files.root), scribe(tmp_path)
    assert "Nobody is told" in person.run("notices", "show").stdout
    assert person.run("notices", "try", str(ended(store).id)).returncode == 1
    refused = person.run("notices", "webhook", "http://example.com/")
    assert (refused.returncode, "--allow-host example.com" in refused.stderr) == (2, True)
    assert person.run("notices", "command", "--", "no-such-program").returncode == 2
    assert person.run("notices", "command", "--", *command).returncode == 0
    assert person.json("notices", "show")["command"] == list(command)
    tried = person.run("notices", "try", "1")
    assert (tried.returncode, "was told" in tried.stdout) == (0, True)
    assert '"state": "failed"' in told.read_text()
    assert "Nobody is told" in person.run("notices", "off").stdout
