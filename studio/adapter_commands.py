"""`python -m studio adapters ...`: the library of adapters: list, bring in, write out, merge, rename, delete.

A part of the command line, apart for its size; the edge and the exit codes are in `cli.py`. Imports neither torch nor
Gradio.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studio.deferred import Deferred
from studio.edge import CommandFailed, UsageError
from studio.options import PLAIN, AsJson, Commands, DataDir
from studio.terminal import facts, plain, print_json, say, show, table
from studio.words import file_name

if TYPE_CHECKING:
    from adapters_store.tables import Adapter
    from jobs import progress, start_adapter
    from studio import actions, adapter_actions, asking, method_words, opening, records
else:
    progress, start_adapter = Deferred("jobs.progress"), Deferred("jobs.start_adapter")
    actions, adapter_actions = Deferred("studio.actions"), Deferred("studio.adapter_actions")
    asking, method_words = Deferred("studio.asking"), Deferred("studio.method_words")
    opening, records = Deferred("studio.opening"), Deferred("studio.records")

Which = Annotated[str, typer.Argument(metavar="NAME_OR_NUMBER", help="Its name or its number.", show_default=False)]
adapters = Commands(help="The library of trained adapters.", **PLAIN)


@adapters.command("list")
def list_adapters(
    search: Annotated[str, typer.Option(metavar="WORDS", help="Words in the names of adapter, base and data.")] = "",
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """List the adapters, the newest first."""
    with opening.opened(data_dir) as store:
        found, total = store.adapters(search=search, limit=1000)
    if as_json:
        print_json([records.adapter_record(a) for a in found])
    else:
        print(_listed(found) if found else "No adapters yet.")
    if total > len(found):
        say(f"{total - len(found)} more; narrow it with --search.")


def _listed(found: Sequence[Adapter]) -> str:
    described = method_words.of_adapter
    heads = ("Adapter", "Name", "Base", "Method", "Validation", "Hash")
    rows = [(a.id, a.name, a.base_model.name, described(a), a.validation_loss, a.sha256[:10]) for a in found]
    return table(heads, rows)


@adapters.command("show")
def show_adapter(which: Which, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show an adapter. What it was trained on and how, and what was measured."""
    with opening.opened(data_dir) as store:
        record = records.adapter_record(asking.adapter(store, which))
    show(as_json, record, facts(record))


@adapters.command("export")
def export_adapter(
    which: Which,
    to: Annotated[Path | None, typer.Option("--to", metavar="PATH", help="A file or a folder; default: here.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Write an adapter as a zip. It is in PEFT's format, or in our own where PEFT lacks the method."""
    with opening.opened(data_dir) as store:
        adapter = asking.adapter(store, which)
        target = _zip_target(adapter, to)
        if target.exists() and not force:
            raise UsageError(f"{target} is there already. Choose another place with --to, or add --force.")
        partial = target.with_name(target.name + ".partial")
        try:
            actions.zip_adapter(store, adapter.id, partial)
            partial.replace(target)
        except OSError as error:
            raise CommandFailed(f"{target} could not be written: {error.strerror}.") from error
        finally:
            partial.unlink(missing_ok=True)
    record = {"file": str(target), "bytes": target.stat().st_size, "adapter": records.adapter_record(adapter)}
    show(as_json, record, str(target))


def _zip_target(adapter: Adapter, to: Path | None) -> Path:
    target = Path.cwd() if to is None else to.expanduser().absolute()
    return target / f"{file_name(adapter.name)}.zip" if target.is_dir() else target


@adapters.command("delete")
def delete_adapter(which: Which, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Delete an adapter. Its files stay in the data folder's trash for a week, and restore brings it back."""
    with opening.opened(data_dir) as store:
        adapter = asking.adapter(store, which)
        store.delete_adapter(adapter.id)
    told = f"Deleted {plain(adapter.name)}. To bring it back: {start_adapter.RESTORE} {adapter.id}"
    show(as_json, records.adapter_record(adapter), told)


@adapters.command("restore")
def restore_adapter(which: Which, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Bring a deleted adapter back. It gets a suffix if its name was taken meanwhile."""
    with opening.opened(data_dir) as store:
        adapter = store.restore_adapter(asking.deleted_adapter(store, which).id)
    show(as_json, records.adapter_record(adapter), f"Adapter {adapter.id}: {plain(adapter.name)}")


@adapters.command("rename")
def rename_adapter(
    which: Which,
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.", show_default=False)],
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Give an adapter another name."""
    with opening.opened(data_dir) as store:
        adapter = store.rename_adapter(asking.adapter(store, which).id, new)
    show(as_json, records.adapter_record(adapter), f"Adapter {adapter.id}: {plain(adapter.name)}")


@adapters.command("import")
def import_adapter(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER_OR_ZIP",
            help="An adapter in PEFT's format, or in our own where PEFT lacks the method.",
            show_default=False,
        ),
    ],
    base: Annotated[
        str,
        typer.Option(
            "--base", metavar="NAME_OR_NUMBER", help="Its base model's name or number; default: the one it fits."
        ),
    ] = "",
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What to call it.", show_default=False)] = "",
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Put an adapter from elsewhere into the library. It is checked against its base model first."""
    with opening.opened(data_dir) as store:
        chosen = asking.base_model(store, base).id if base else None
        job = asking.wait(store, adapter_actions.import_adapter(store, source, chosen, name))
        if job.state != "completed" or job.adapter_id is None:
            raise CommandFailed(f"The adapter was not imported. {progress.job_sentence(job)}")
        made = store.adapter(job.adapter_id)
    show(as_json, records.adapter_record(made), f"Adapter {made.id}: {plain(made.name)}")


@adapters.command("merge")
def merge_adapter(
    which: Which,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FOLDER", help="A new folder; default: one in the data folder's exports."),
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Merge an adapter into its base model. Writes a base model folder that stands alone."""
    with opening.opened(data_dir) as store:
        adapter = asking.adapter(store, which)
        job = asking.wait(store, adapter_actions.merge_adapter(store, adapter.id, to))
        if job.state != "completed":
            raise CommandFailed(f"Nothing was written. {progress.job_sentence(job)}")
    folder, dtype = job.settings["folder"], job.progress.get("dtype")
    if adapter.settings.get("base_precision", "full") != "full":
        say(f"The adapter was trained on a base in few bits: that base was put back to {dtype} and merged so.")
    record = {"folder": folder, "dtype": dtype, "adapter": records.adapter_record(adapter)}
    show(as_json, record, f"{folder} ({dtype})")
    say(adapter_actions.to_use(folder))
