"""`python -m studio data ...`: check a file, and the data sets of a studio: add, list, show, clean, delete.

A part of the command line, apart for its size; the edge and the exit codes are in `cli.py`. Imports neither torch nor
Gradio.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.data.hygiene import ADVISED, KINDS
from studio.deferred import Deferred
from studio.edge import CommandFailed, UsageError
from studio.options import PLAIN, AsJson, Commands, DataDir
from studio.terminal import plain, show, table
from studio.words import clean_name

if TYPE_CHECKING:
    from adapters_store import tables
    from adapters_store.store import Store
    from adapters_store.tables import DataSet, Job
    from engine.data import check as rows_of
    from jobs import adding_data, examining, hub_data, progress
    from jobs.hub_data import DataListing, Part
    from studio import actions, asking, data_report, records
else:
    tables, rows_of = Deferred("adapters_store.tables"), Deferred("engine.data.check")
    adding_data, hub_data = Deferred("jobs.adding_data"), Deferred("jobs.hub_data")
    examining, progress = Deferred("jobs.examining"), Deferred("jobs.progress")
    actions, asking = Deferred("studio.actions"), Deferred("studio.asking")
    data_report, records = Deferred("studio.data_report"), Deferred("studio.records")

SHOWN_ROWS = 3
SHOWN_ERRORS = 10
FIXES_HELP = f"Rows to leave out, among {', '.join(KINDS)}. By default {', '.join(ADVISED)}."
ROLES = "messages, system, prompt, input, answer, text or source"

Source = Annotated[
    str,
    typer.Argument(
        metavar="FILE_OR_FOLDER",
        help="Rows of any kind, a folder of them, or hub:organisation/name[@revision].",
        show_default=False,
    ),
]
File = Annotated[
    Path, typer.Argument(metavar="FILE_OR_FOLDER", help="Rows of any kind, or a folder of them.", show_default=False)
]
Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="ROLE=COLUMN",
        help=f"What a column is: {ROLES}. Can be given for each role; remembered by add.",
        show_default=False,
    ),
]
Which = Annotated[str, typer.Argument(metavar="NAME_OR_NUMBER", help="Its name or its number.", show_default=False)]
data = Commands(help="The data sets, and files that may become one.", **PLAIN)


@data.command("check")
def check_file(
    file: File,
    model: Annotated[
        str,
        typer.Option("--model", metavar="MODEL", help="Count its tokens, too: a base model's name or number."),
    ] = "",
    mapping: Map = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Say how a file is understood and what is wrong. Nothing is kept. Exits 1 when no row is usable."""
    with asking.opened(data_dir) as store:
        base = asking.base_model(store, model) if model else None
        told = data_report.report(store, _there(file), _columns(mapping), base)
    show(as_json, told, _report_text(told))
    if not told["usable_rows"]:
        raise typer.Exit(1)


@data.command("add")
def add_file(
    file: Source,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What to call it.", show_default=False)] = "",
    mapping: Map = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out rows that cannot be used.")] = False,
    subset: Annotated[
        str, typer.Option("--subset", metavar="NAME", help="Of a data set on a hub.", show_default=False)
    ] = "",
    split: Annotated[
        str, typer.Option("--split", metavar="NAME", help="Of a data set on a hub.", show_default=False)
    ] = "",
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Make a file, a folder or data on a hub a data set. The same rows again are the same data set."""
    on_hub = file.startswith(hub_data.PREFIX)
    if not on_hub and (subset or split):
        raise UsageError("Only a data set on a hub has subsets and splits. Write hub:organisation/name.")
    with asking.opened(data_dir) as store:
        if on_hub:
            listing = hub_data.look_up(hub_data.read(file))
            part = hub_data.chosen(listing, subset, split)
            wanted, columns = clean_name(name or listing.wanted.name, "data set"), _columns(mapping)
            _check_beginning(store, listing, part, columns)
            made = _arrived(store, hub_data.add(store, listing, part, wanted, columns, skip_bad))
        else:
            path = _there(Path(file))
            wanted = clean_name(name or path.name.partition(".")[0], "data set")
            made = _arrived(store, adding_data.add(store, path, wanted, _columns(mapping), skip_bad))
        record = records.data_record(store, made)
    show(
        as_json,
        record,
        f"Data set {made.id}: {plain(made.name)}, {_rows(made.rows)}. {record['understood'] or ''}".rstrip(),
    )


@data.command("list")
def list_data(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List the data sets, the newest last."""
    with asking.opened(data_dir) as store:
        actions.import_samples(store)
        found = [records.data_record(store, one) for one in store.data_sets()]
    rows = [(one["id"], one["name"], one["source"], one["format"], f"{one['rows']:,}") for one in found]
    show(as_json, found, table(("Data set", "Name", "Source", "Format", "Rows"), rows))


@data.command("show")
def show_data(which: Which, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show a data set. Its source, who used it, and its first rows."""
    with asking.opened(data_dir) as store:
        one = asking.known_data(store, which)
        record = records.data_record(store, one)
        first = rows_of.read_rows(store.rows_path(one), SHOWN_ROWS) if record["present"] else []
        users = store.data_set_users(one.id, SHOWN_ERRORS)
    used = {"runs": [job.name for job in users.jobs], "adapters": [adapter.name for adapter in users.adapters]}
    facts = [f"{key:<11}{value}" for key, value in record.items() if value not in (None, "", {}, [])]
    facts += [f"{key:<11}{', '.join(names)}" for key, names in used.items() if names]
    shown = [f"{number}  {_row_text(row)}" for number, row in enumerate(first, 1)]
    show(as_json, {**record, "used_by": used, "first_rows": first}, plain("\n".join([*facts, "", *shown])))


@data.command("clean")
def clean_data(
    which: Which,
    fix: Annotated[
        list[str] | None,
        typer.Option("--fix", metavar="KIND", help=f"{FIXES_HELP} Can be given for each kind.", show_default=False),
    ] = None,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="What to call the copy.", show_default=False)
    ] = "",
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Make a cleaned copy of a data set. The data set itself stays as it is."""
    with asking.opened(data_dir) as store:
        one = asking.known_data(store, which)
        made = _arrived(store, examining.clean(store, one, fix or ADVISED, clean_name(name, f"{one.name}-clean")))
        record = records.data_record(store, made)
    told = f"Data set {made.id}: {plain(made.name)}, {_rows(made.rows)} of {one.rows:,}."
    show(as_json, record, told)


@data.command("delete")
def delete_data(which: Which, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Delete a data set that nobody uses. Its files stay in the data folder's trash for a week."""
    with asking.opened(data_dir) as store:
        one = asking.known_data(store, which)
        record = records.data_record(store, one)
        store.delete_data_set(one.id)
    show(as_json, record, f"Deleted {plain(one.name)}.")


def _there(file: Path) -> Path:
    path = file.expanduser().absolute()
    if not path.exists():
        raise UsageError(f"There is no {path} on this machine.")
    return path


def _columns(mapping: list[str] | None) -> dict[str, str] | None:
    """What was given with --map. UsageError for anything but role=column."""
    wrong = [text for text in mapping or [] if not all(part.strip() for part in text.partition("="))]
    if wrong:
        raise UsageError(f"{wrong[0]} maps nothing. Write --map ROLE=COLUMN, with a role of {ROLES}.")
    pairs = (text.partition("=") for text in mapping or [])
    return {role.strip(): column.strip() for role, _, column in pairs} or None


def _check_beginning(store: Store, listing: DataListing, part: Part, columns: dict[str, str] | None) -> None:
    """DataError if the first rows of what is on a hub are not understood: said before all of it is fetched."""
    try:
        first = hub_data.beginning(store, listing, part)
    except hub_data.HubDataError:  # nothing of it can be shown beforehand
        return
    seen = adding_data.preview(store, first, columns)
    if not seen.format:
        raise rows_of.DataError(seen.problems)


def _arrived(store: Store, made: DataSet | Job) -> DataSet:
    """The data set, after its job where it needs one. CommandFailed with the reason if none came of it."""
    if isinstance(made, tables.DataSet):
        return made
    job = asking.wait(store, made)
    if job.state != "completed":
        raise CommandFailed(f"The data set was not added. {progress.job_sentence(job)}")
    return store.data_set(job.progress["data_set"])


def _report_text(told: dict[str, Any]) -> str:
    """The report for a person: what it is, its figures, and the first bad rows."""
    names = {"usable_rows": "usable", "answer_tokens": "learned", "max_length": "longest", "p95_length": "95 %"}
    keys = (
        "rows",
        "usable_rows",
        "duplicates",
        "tokens",
        "answer_tokens",
        "max_length",
        "p95_length",
        "truncated_rows",
    )
    figures = [f"{names.get(key, key.replace('_', ' ')):<15}{told[key]:,}" for key in keys if told[key] is not None]
    shown = [error.get("says", error["reason"]) for error in told["errors"][:SHOWN_ERRORS]]
    more = told["error_total"] - len(shown)
    rest = [f"And {more:,} more that cannot be used."] if more > 0 else []
    cut = [one["says"] for one in told["truncated"][:SHOWN_ERRORS]]
    left = (told["truncated_rows"] or 0) - len(cut)
    rest_cut = [f"And {left:,} more that are cut."] if left > 0 else []
    understood = filter(None, [told["understood"]])
    return plain("\n".join([*understood, *figures, *told["warnings"], *shown, *rest, *cut, *rest_cut]))


def _row_text(row: dict[str, Any]) -> str:
    texts = [text for text, _ in rows_of.spans(row)]
    return " | ".join(" ".join(text.split())[:200] for text in texts)


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"
