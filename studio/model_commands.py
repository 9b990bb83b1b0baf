"""`python -m studio models ...`: the base models of a studio, where they come from, and which lie on this disk.

A part of the command line, apart for its size; the edge and the exit codes are in `cli.py`. Imports neither torch nor
Gradio.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studio.deferred import Deferred
from studio.edge import UsageError
from studio.options import PLAIN, AsJson, Commands, DataDir, with_settings
from studio.terminal import plain, say, show, table
from studio.words import size

if TYPE_CHECKING:
    from jobs import sources
    from studio import actions, asking, inspecting, records
else:
    sources, actions, asking = Deferred("jobs.sources"), Deferred("studio.actions"), Deferred("studio.asking")
    inspecting, records = Deferred("studio.inspecting"), Deferred("studio.records")

models = Commands(help="The base models.", **PLAIN)


@models.command("list")
def list_models(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List the base models."""
    with asking.opened(data_dir) as store:
        found = [records.model_record(store, base) for base in store.base_models()]
    rows = [(m["id"], m["name"], f"{m['parameters']:,}", "" if m["present"] else "files are gone") for m in found]
    nothing = "No base models yet. The first run fetches the starter model; or: python -m studio models add ..."
    show(as_json, found, table(("Model", "Name", "Parameters", ""), rows) if rows else nothing)


@models.command("add")
def add_model(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER_OR_ID_OR_GGUF",
            help='A model folder, organisation/name on a hub, a GGUF file, or "starter" for the starter model.',
            show_default=False,
        ),
    ],
    revision: Annotated[
        str,
        typer.Option("--revision", metavar="REVISION", help="A branch, tag or commit on the hub.", show_default=False),
    ] = "",
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What to call it.", show_default=False)] = "",
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Add a base model. A folder stays where it is, a GGUF file is converted, a model on a hub is fetched."""
    with asking.opened(data_dir) as store:
        if source == asking.STARTER and not revision:
            base = asking.base_model(store, source)
        else:
            base = asking.model_from(store, asking.wait(store, actions.add_model(store, source, name, revision)))
        record = records.model_record(store, base)
    for remark in record["remarks"]:
        say(remark)
    show(as_json, record, f"Model {base.id}: {plain(base.name)}")


@models.command("find")
def find_models(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="Where to look; default: where tools keep models.", show_default=False),
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """List the models that lie on this disk. In the hub's cache, or below a folder. Adds none."""
    del data_dir  # each command takes it; this one needs nothing of it
    place = folder.expanduser().absolute() if folder else None
    if place and not place.is_dir():
        raise UsageError(
            f"There is no folder {place}. Name one that is there, or none to look where tools keep models."
        )
    found = [records.found_record(model) for model in sources.find(place)]
    rows = [(m["name"], size(m["size_bytes"]), m["why_not"] or "usable", m["path"]) for m in found]
    nothing = f"No models in {place}." if place else "None found. Name a folder: python -m studio models find FOLDER"
    show(as_json, found, table(("Name", "Size", "", "Path"), rows) if rows else nothing)


@models.command("inspect")
@with_settings
def inspect_model(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A base model's name or number, a model folder, or an id on a hub.",
            show_default=False,
        ),
    ],
    as_json: AsJson = False,
    data_dir: DataDir = None,
    **values: object,
) -> None:
    """Count what a run would train. From the model's config alone: no weights are read or fetched."""
    with asking.opened(data_dir) as store:
        name, facts = inspecting.find(store, model)
    settings = inspecting.settings_for(name, facts, values)
    told = inspecting.record(name, facts, settings)
    heads = ("Module", "How many", "Trained numbers")
    modules = [(one, many, f"{trained:,}") for one, many, trained in inspecting.rows(told["modules"])]
    show(as_json, told, f"{inspecting.sentences(told)}\n\n{table(heads, modules)}")
