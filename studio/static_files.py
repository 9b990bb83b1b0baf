"""The files the browser loads from the studio itself: style, scripts, icon, and Plotly from its own package.

It knows names, paths and addresses. It deliberately knows nothing about routes, headers or who may ask: the server
does. Only the names listed in a folder of this package can be asked for, so no name from outside is ever joined to a
path.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_FOLDER = Path(__file__).parent / "static"
PLOTLY = "plotly.min.js"
MODULES = ("runs.js", "library.js", "columns.js", "compare.js", "mix.js", "grid_form.js")
# Imported by modules, under their bare names.
_CHARTS = ("chart.js", "group_chart.js", "live_chart.js", "small_charts.js", "smoothing.js")
_OF_RUNS = ("curve_card.js", "line.js", "log_part.js", "pins.js", "run_group.js", "run_list.js", *_CHARTS)
PARTS = ("dom.js", "draft.js", "past.js", "scores.js", *_OF_RUNS)


@cache
def static_files() -> dict[str, Path]:
    """Every file that may be served, by name."""
    files = {path.name: path for path in sorted(_FOLDER.iterdir()) if path.is_file()}
    # Asking for the place of the package does not import it, which would take half a second.
    package = find_spec("plotly")
    if package is not None and package.origin is not None:
        files[PLOTLY] = Path(package.origin).parent / "package_data" / PLOTLY
    return files


@cache
def _version(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def static_url(name: str) -> str:
    """The address of a static file with a hash of its content, so that it may be cached for ever.

    Raises KeyError for a name that is not served.
    """
    return f"/static/{name}?v={_version(static_files()[name])}"


def text(name: str) -> str:
    """What stands in a static file, for what has to be on the page before anything else."""
    return static_files()[name].read_text("utf-8")


def modules() -> list[str]:
    """The addresses of all modules and of what they import, to be fetched ahead of their first use."""
    return [*map(static_url, MODULES), *(f"/static/{name}" for name in PARTS)]


def module(name: str) -> str:
    """The JavaScript expression that loads a module of ours.

    The address is made whole in the browser: a browser may reuse a compiled piece of script for the page of another
    studio, on another port, and would then look for a bare path at the first one's address.
    """
    return f'import(new URL("{static_url(name)}", document.baseURI).href)'
