"""The options of the command line: those that many commands share, and one for each setting of a run, made from their
declarations in `engine/settings.py`.

Every option takes text as it was typed: the declarations check it, so that all problems are told at once and in the
same words as on the page. Knows nothing about what the values mean.
"""

import functools
import inspect
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand

from engine.settings import METHOD_LINES, SMALL_SET, RunSettings, applies, bounds, defaults_for

Command = Callable[..., None]
AnyCommand = TypeVar("AnyCommand", bound=Callable[..., Any])
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", metavar="FOLDER", help="The data folder.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Detach = Annotated[bool, typer.Option("--detach", help="Print the job and do not wait.")]
PLAIN: dict[str, Any] = {"no_args_is_help": True, "rich_markup_mode": None, "pretty_exceptions_enable": False}


def with_settings(command: Command) -> Command:
    """`command` with one option for each setting; those that were given reach it as keyword arguments."""

    @functools.wraps(command)
    def filled(**given: object) -> None:
        chosen = {name: _typed(name, given.pop(name)) for name in RunSettings.model_fields if given[name] is not None}
        own = {name: given.pop(name) for name in list(given) if name not in RunSettings.model_fields}
        command(**own, **chosen)

    hints = typing.get_type_hints(command, include_extras=True)
    own = [
        p.replace(annotation=hints[p.name])
        for p in inspect.signature(command).parameters.values()
        if p.kind is not p.VAR_KEYWORD
    ]
    options = [_parameter(name) for name in RunSettings.model_fields]
    filled.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]
    filled.__annotations__ = {p.name: p.annotation for p in (*own, *options)}
    return filled


class PlainCommand(TyperCommand):
    """A command whose help names arguments as they stand in its declaration, without Typer's signs and types.

    Where it has settings, the help says what each method is, and to which of them a setting means something.
    """

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words of the usage line."""
        return [piece.removeprefix("{").removesuffix("}") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The command's own arguments and options, then the methods, then the settings by the methods they are for."""
        own: dict[str, list[tuple[str, str]]] = {}
        settings: dict[str, list[tuple[str, str]]] = {}
        given = {param.name for param in self.get_params(ctx)}
        for param in self.get_params(ctx):
            record, name = param.get_help_record(ctx), param.name or ""
            if record is None:
                continue
            if name in RunSettings.model_fields and "method" in given:
                settings.setdefault(_meant_for(name), []).append(record)
            elif param.param_type_name == "argument":
                own.setdefault("Arguments", []).append((record[0].partition(" ")[0], record[1]))
            else:
                own.setdefault("Options", []).append(record)
        methods = {"Methods": list(METHOD_LINES.items())} if settings else {}
        for title, records in {**own, **methods, **settings}.items():
            with formatter.section(title):
                formatter.write_dl(records)


class Commands(typer.Typer):
    """A group of commands, each of them a PlainCommand."""

    def command(self, name: str | None = None, **given: Any) -> Callable[[AnyCommand], AnyCommand]:
        """As Typer's."""
        return super().command(name, cls=PlainCommand, **given)


def _meant_for(name: str) -> str:
    """The heading a setting stands under."""
    methods = [method for method in METHOD_LINES if applies(name, method)]
    if len(methods) == len(METHOD_LINES):
        return "Settings"
    return f"Settings of {' and '.join([', '.join(methods[:-1]), methods[-1]]) if methods[1:] else methods[0]}"


def _parameter(name: str) -> inspect.Parameter:
    option = typer.Option(*_flags(name), help=_help(name), metavar=_metavar(name), show_default=False)
    kind: Any = Annotated[str | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)


def _flags(name: str) -> list[str]:
    return [f"--{name.replace('_', '-')}", *(["--targets"] if name == "target_modules" else [])]


def _help(name: str) -> str:
    field = RunSettings.model_fields[name]
    low, high = bounds(name)
    extra = field.json_schema_extra
    unit = extra.get("unit") if isinstance(extra, dict) else ""
    facts = []
    if low is not None and high is not None:
        facts.append(f"{low:,.10g} to {high:,.10g}{f' {unit}' if unit else ''}")
    if default := _default(name):
        facts.append(f"default: {default}")
    return f"{field.description} [{'; '.join(facts)}]" if facts else str(field.description)


def _default(name: str) -> str:
    default = RunSettings.model_fields[name].default
    if default is None or name == "learning_rate":  # that one is the method's
        return ""
    if name == "batch_size":
        return f"{default}, or {defaults_for(SMALL_SET - 1).batch_size} below {SMALL_SET} rows"
    if isinstance(default, bool):
        return "yes" if default else "no"
    return f"{default:g}" if isinstance(default, float) else str(default)


def _metavar(name: str) -> str:
    kind = RunSettings.model_fields[name].annotation
    if typing.get_origin(kind) is typing.Literal:
        return "|".join(typing.get_args(kind))
    if _is_names(name):
        return "NAME,NAME"
    if name in _SPELT:
        return _SPELT[name]
    return "yes|no" if kind is bool else "WHOLE" if kind is int else "NUMBER"


def _typed(name: str, text: object) -> object:
    """A list is written with commas; everything else stays text for the declarations to read."""
    if _is_names(name):
        return [part.strip() for part in str(text).split(",") if part.strip()]
    return text


def _is_names(name: str) -> bool:
    return list[str] in typing.get_args(RunSettings.model_fields[name].annotation)


_SPELT = {"layers": "0-3,8", "rank_pattern": "NAME=RANK,...", "alpha_pattern": "NAME=ALPHA,..."}
