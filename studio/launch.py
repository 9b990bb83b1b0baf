"""Start the page: one for each data folder, on a loopback address, and say where it is.

Owns the lock `page.lock`, the file `page.json` (who serves this folder, and where), the port and the browser. Knows
nothing about what the page shows; closing it leaves the runner and its workers alone.
"""

import ipaddress
import json
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from filelock import FileLock, Timeout

from adapters_store.errors import StoreDamaged
from adapters_store.files import locate
from adapters_store.states import LIVE
from adapters_store.store import Store, StoreError
from adapters_store.tables import Owner
from jobs import process, runner
from studio import actions
from studio.edge import CommandFailed, UsageError, log_to
from studio.following import follow
from studio.guard import token_of
from studio.rebuild_command import rebuild_library

log = logging.getLogger(__name__)

DEFAULT_PORT = 7860
PORTS_TRIED = 50
STARTING_SECONDS = 30.0  # how long a page may take from its lock to its address
RUNNER_SECONDS = 2.0  # between two looks whether there is a runner
GOODBYE_SECONDS = 1  # how long open requests may go on after Ctrl-C


def serve(
    data_dir: Path | None,
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    browser: bool = True,
    allowed_hosts: Sequence[str] = (),
) -> None:
    """Serve the page until Ctrl-C; where this data folder's page is open already, say and open its address.

    A damaged library is offered to be made anew, if somebody is there to agree.

    Raises:
        UsageError: the address is not this machine's own.
        CommandFailed: no port is free, or a damaged library is to stay as it is.
        StoreError: the data folder cannot be used; StoreDamaged, which says what to do, if its library is damaged.
    """
    check_host(host, port)
    data_dir = locate(data_dir).expanduser().absolute()  # before the page stands elsewhere; see _settle_in
    try:
        _open_and_serve(data_dir, host, port, browser, allowed_hosts)
    except StoreDamaged as error:
        if not _agreed(error, data_dir):
            raise
        _open_and_serve(data_dir, host, port, browser, allowed_hosts)


def _open_and_serve(data_dir: Path | None, host: str, port: int, browser: bool, allowed_hosts: Sequence[str]) -> None:
    store = actions.open_store(data_dir)
    root = store.files.root
    lock = FileLock(root / "page.lock")
    first = take_place(root, lock)
    if first is not None:
        store.close()
        _show_first(first, browser)
        return
    try:
        with listen(host, port) as listener:
            _serve(store, listener, port, browser, [*allowed_hosts, host])
    finally:
        (root / "page.json").unlink(missing_ok=True)
        lock.release()
        store.close()


def _agreed(error: StoreDamaged, data_dir: Path | None) -> bool:
    """Whether a person who is told of the damage had the library made anew. CommandFailed if it is to stay as it is."""
    if not sys.stdin.isatty():
        return False
    print(error, flush=True)
    if input("Make it anew now? [y/N] ").strip().lower() not in ("y", "yes"):
        raise CommandFailed("Nothing was changed.")
    rebuild_library(data_dir=data_dir)
    return True


def check_host(host: str, port: int = DEFAULT_PORT) -> None:
    """Refuse an address that others on the network could reach. UsageError, with what to do instead."""
    if not 0 <= port < 65536:
        raise UsageError(f"{port} is not a port; choose one from 1 to 65535, or 0 for any that is free.")
    try:
        if host == "localhost" or ipaddress.ip_address(host).is_loopback:
            return
    except ValueError:
        pass
    raise UsageError(
        f"LoRA Studio serves this machine only, and {host} can be reached from others. To use it from another machine, "
        f"start it without --host and run there: ssh -L {DEFAULT_PORT}:127.0.0.1:{DEFAULT_PORT} you@this-machine"
    )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on `port`, or on the first free one after it; 0 is any.

    Raises:
        CommandFailed: none of the ports can be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, min(port + PORTS_TRIED, 65536)):
        listener = socket.socket(family, socket.SOCK_STREAM)
        if os.name == "posix":  # on Windows this would let two programs share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
            listener.listen(128)
        except OSError:
            listener.close()
            continue
        return listener
    raise CommandFailed(f"No port from {port} on is free on {host}. Choose another with --port.")


def address(root: Path) -> str | None:
    """The address of the page that serves the data folder, with the token that opens it; None when none is open."""
    try:
        page = json.loads((root / "page.json").read_text("utf-8"))
        owner = Owner(int(page["pid"]), float(page["started"]), str(page["boot"]))
        return f"{page['url']}?token={token_of(root / 'token')}" if process.alive(owner) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def take_place(root: Path, lock: FileLock) -> str | None:
    """Take the lock of the page and return None; where a page is open, return its address.

    A page that is closing, or was killed, has no address any more, but may hold its lock until its last thread is gone.

    Raises:
        CommandFailed: somebody holds the lock for STARTING_SECONDS and does not say where.
    """
    until = time.monotonic() + STARTING_SECONDS
    while True:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if (link := address(root)) is not None:
                return link
        else:
            return None
        if time.monotonic() > until:
            raise CommandFailed(f"Another page holds {root}, but does not say where it is. End it and start again.")
        time.sleep(0.1)


def _show_first(link: str, browser: bool) -> None:
    print(f"LoRA Studio is open already: {link}", flush=True)
    if browser:
        webbrowser.open(link)


def _serve(store: Store, listener: socket.socket, asked: int, browser: bool, allowed_hosts: Sequence[str]) -> None:
    root = store.files.root
    log_to(store.files.log("page"))
    _settle_in(root)
    url = _url(listener)
    _announce(root, url)
    link = f"{url}?token={token_of(root / 'token')}"
    closed, showing = threading.Event(), threading.Thread(target=lambda: _show_fetch(store, closed), daemon=True)

    def background() -> None:
        _prepare(store)
        keep_runner(root, closed)

    # The fetch begins while Gradio is still being imported.
    threading.Thread(target=background, name="background", daemon=True).start()

    def started() -> None:
        if asked not in (0, listener.getsockname()[1]):
            print(f"Port {asked} is in use by another program.")
        print(f"LoRA Studio: {link}\nCtrl-C closes the page; runs go on in the background.", flush=True)
        if browser:
            threading.Thread(target=webbrowser.open, args=(link,), daemon=True).start()
        showing.start()

    try:
        _run(store, listener, started, allowed_hosts)
    finally:
        closed.set()  # so that no half-drawn bar stays behind in the terminal
        if showing.is_alive():
            showing.join(GOODBYE_SECONDS)


def _run(store: Store, listener: socket.socket, started: Callable[[], None], allowed_hosts: Sequence[str]) -> None:
    import uvicorn

    from studio.server import build_app

    class Server(uvicorn.Server):
        """uvicorn, which tells when it answers."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started()

    # Side by side: on a cold disk, looking through a large library takes a while.
    with ThreadPoolExecutor(max_workers=1) as beside:
        looked_through = beside.submit(store.check_pages)
        app = build_app(store.files.root, allowed_hosts=allowed_hosts)
        looked_through.result()
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=GOODBYE_SECONDS
    )
    signal.signal(signal.SIGTERM, _leave)
    try:
        with suppress(KeyboardInterrupt):  # Ctrl-C is how one closes the page, not an error
            Server(config).run(sockets=[listener])
    finally:
        _goodbye(store)


def _leave(*_: Any) -> NoReturn:
    """SIGTERM leaves by the front door, so that page.json goes and the answerer is closed."""
    raise SystemExit(0)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def _announce(root: Path, url: str) -> None:
    me = process.identify()
    text = json.dumps({"pid": me.pid, "started": me.started, "boot": me.boot, "url": url})
    draft = root / "page.json.new"
    draft.write_text(text, "utf-8")
    draft.replace(root / "page.json")


def _settle_in(root: Path) -> None:
    """Forget old uploads, and stand in an empty folder: Gradio may hand out files of the working directory."""
    shutil.rmtree(root / "uploads", ignore_errors=True)
    empty = root / "empty"
    shutil.rmtree(empty, ignore_errors=True)
    empty.mkdir(mode=0o700)
    os.chdir(empty)


def _prepare(store: Store) -> None:
    """What a fresh data folder needs: the sample sets, the starter model on its way, a runner."""
    try:
        actions.import_samples(store)
        actions.fetch_starter(store)
        runner.ensure(store.files.root)
    except (StoreError, OSError) as error:
        log.exception("preparing the data folder failed")
        print(f"{error}", file=sys.stderr)


def keep_runner(root: Path, closed: threading.Event) -> None:
    """Have a runner for as long as the page is open: one that was killed is replaced, whatever it left."""
    while not closed.wait(RUNNER_SECONDS):
        try:
            runner.ensure(root)
        except OSError:
            log.exception("no runner could be started")


def _show_fetch(store: Store, closed: threading.Event) -> None:
    """The progress of the starter model's fetch, in one line of the terminal."""
    live = store.jobs(kinds=["fetch"], states=["queued", *LIVE], limit=1)
    if live:
        follow(store, live[0].id, closed)


def _goodbye(store: Store) -> None:
    going = store.jobs(kinds=["train"], states=["queued", *LIVE])
    names = ", ".join(job.name for job in going[:3])
    if going:
        print(f"\nThe page is closed. {names} goes on; see `python -m studio jobs list`.")
    else:
        print("\nThe page is closed.")
