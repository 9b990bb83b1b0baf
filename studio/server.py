"""The web application: the guard, the downloads, the static files, and the Gradio page mounted behind them.

Built by a function and by nothing else: importing this module makes no application and does not import Gradio. Ports,
browsers and the lock of the data folder are in `launch.py`.
"""

import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, HTTPException
from fastapi import Path as Segment
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.background import BackgroundTask

from adapters_store.errors import NotFound, StoreError
from adapters_store.store import Store
from studio import actions, comparison_files, job_log, suite_files
from studio.guard import LocalGuard, cookie_name, token_of
from studio.static_files import static_files, static_url
from studio.words import file_name

if TYPE_CHECKING:
    from studio.page import Studio

MOST_UPLOADED = "200mb"  # a file; larger sets come by the command line
BLOCK = 1 << 20  # bytes of a download sent at once
Number = Annotated[int, Segment(ge=1, le=2**31)]


def build_app(data_dir: Path, *, allowed_hosts: Sequence[str] = ()) -> FastAPI:
    """The whole application for one data folder, ready to be served on a loopback address.

    Args:
        data_dir: the data folder; made when absent.
        allowed_hosts: host names to answer to beside localhost, 127.0.0.1 and [::1].
    """
    store = actions.open_store(data_dir)
    set_environment(store.files.root)
    studio = _studio(store)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=_closing(studio))
    app.state.studio = studio
    app.add_middleware(
        LocalGuard,
        token=token_of(token_file(store.files.root)),
        cookie=cookie_name(store.files.root),
        allowed_hosts=allowed_hosts,
    )
    _add_routes(app, store)
    return _with_page(app, studio)


def set_environment(root: Path) -> None:
    """What Gradio and the libraries below it read from the environment; it must be there before they are imported."""
    uploads = root / "uploads"
    uploads.mkdir(mode=0o700, exist_ok=True)
    os.environ.update(
        GRADIO_ANALYTICS_ENABLED="False",
        GRADIO_TEMP_DIR=str(uploads),
        HF_HUB_OFFLINE="1",
        HF_HUB_DISABLE_TELEMETRY="1",
    )
    # Where the page listens, and whether it is shared, is not for the environment to say.
    for name in ("GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT", "GRADIO_SHARE", "GRADIO_ROOT_PATH", "GRADIO_MCP_SERVER"):
        os.environ.pop(name, None)


def token_file(root: Path) -> Path:
    """Where the token of a data folder is kept."""
    return root / "token"


def _studio(store: Store) -> "Studio":
    from jobs.ask import Answerer
    from studio.page import Studio

    return Studio(store, Answerer(store.files.log("answerer")), store.files.root)


def _closing(studio: "Studio") -> Any:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        studio.answerer.close()
        studio.store.close()

    return lifespan


def _with_page(app: FastAPI, studio: "Studio") -> FastAPI:
    import gradio as gr

    from studio.first_script import put_first
    from studio.theme import build_theme, page_head
    from studio.ui import build_page

    put_first()
    mounted: FastAPI = gr.mount_gradio_app(
        app,
        build_page(studio),
        path="/",
        server_name="127.0.0.1",
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
        # Only what was uploaded may ever be served as a file.
        blocked_paths=[str(path) for path in _private(studio.data_dir)],
        max_file_size=MOST_UPLOADED,
        show_error=False,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        run_history=False,
        footer_links=[],
        theme=build_theme(),
        head=page_head(),
    )
    return mounted


def _private(root: Path) -> list[Path]:
    names = ("studio.db", "studio.db-wal", "studio.db-shm", "token", "page.json")
    return [root / name for name in (*names, "models", "datasets", "adapters", "checkpoints", "logs", "temp", "trash")]


def _add_routes(app: FastAPI, store: Store) -> None:
    @app.get("/healthz")
    def healthz() -> JSONResponse:
        return JSONResponse({"ok": True, "app": "lora-studio"})

    @app.get("/static/{name}")
    def static(name: str, v: str = "") -> Response:
        file = static_files().get(name)
        if file is None:
            raise HTTPException(404, "There is no such file.")
        lasting = static_url(name).endswith(f"?v={v}")
        keep = "public, max-age=31536000, immutable" if lasting else "no-cache"
        return FileResponse(file, headers={"Cache-Control": keep})

    @app.get("/download/adapter/{adapter_id}")
    def adapter(adapter_id: Number) -> Response:
        return _zipped(store, adapter_id)

    @app.get("/download/metrics/{job_id}.csv")
    def metrics(job_id: Number) -> Response:
        with _refusing():
            text, name = actions.metrics_csv(store, job_id)
        return Response(text, media_type="text/csv", headers=_as_file(name))

    @app.get("/download/comparisons.{form}")
    def comparisons(form: str, id: int | None = None) -> Response:
        if form not in comparison_files.FORMS:
            raise HTTPException(404, "Comparisons come as jsonl, csv or md.")
        with _refusing():
            chosen = [store.comparison(id)] if id is not None else store.every_comparison()
        name = f"comparison-{id}.{form}" if id is not None else f"comparisons.{form}"
        written = comparison_files.FORMS[form](chosen)
        return Response(written, media_type=comparison_files.MEDIA[form], headers=_as_file(name))

    @app.get("/download/preference-pairs.jsonl")
    def preference_pairs() -> Response:
        written = comparison_files.pairs(store, store.every_comparison())
        return Response(written, media_type=comparison_files.MEDIA["jsonl"], headers=_as_file("preference-pairs.jsonl"))

    @app.get("/download/suite-run/{run_id}.{form}")
    def suite_run(run_id: Number, form: str) -> Response:
        if form not in suite_files.FORMS:
            raise HTTPException(404, "Runs over suites come as jsonl, csv or md.")
        with _refusing():
            written = suite_files.FORMS[form](store, store.suite_run(run_id))
        name = f"suite-run-{run_id}.{form}"
        return Response(written, media_type=comparison_files.MEDIA[form], headers=_as_file(name))

    @app.get("/download/log/{job_id}.txt")
    def log(job_id: Number) -> Response:
        with _refusing():
            job = store.job(job_id)
        lines = job_log.lines(store.files.log(f"job-{job.id}"))
        name = f"{file_name(job.name)}-log.txt"
        return StreamingResponse(lines, media_type="text/plain; charset=utf-8", headers=_as_file(name))


def _zipped(store: Store, adapter_id: int) -> Response:
    # Without a name on disk where the system can do that: nothing is left behind, whatever happens on the way.
    archive = tempfile.TemporaryFile(dir=store.files.root / "temp")  # noqa: SIM115  closed when it was sent
    try:
        with _refusing():
            name = actions.zip_adapter(store, adapter_id, archive)
    except BaseException:
        archive.close()
        raise
    size = archive.seek(0, os.SEEK_END)
    archive.seek(0)
    headers = {**_as_file(name), "Content-Length": str(size)}
    return StreamingResponse(
        _blocks(archive), media_type="application/zip", headers=headers, background=BackgroundTask(archive.close)
    )


def _blocks(archive: IO[bytes]) -> Iterator[bytes]:
    with archive:
        while block := archive.read(BLOCK):
            yield block


def _as_file(name: str) -> dict[str, str]:
    """`name` is made of letters, digits, dot, dash and underscore (see words.file_name), so it needs no escaping."""
    return {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn an error for people into an answer that says it."""
    try:
        yield
    except NotFound as error:
        raise HTTPException(404, str(error)) from error
    except (StoreError, actions.ActionError) as error:
        raise HTTPException(409, str(error)) from error
