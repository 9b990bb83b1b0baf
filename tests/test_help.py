"""What `--help` says, of every command of the command line: short, and in words that people write."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from studio.cli import app


def paths(command: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words that lead to each command, groups included."""
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from paths(inner, (*path, name))


def helped(*words: str) -> str:
    return CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"}, terminal_width=200).stdout


@pytest.mark.parametrize("path", list(paths(get_command(app))), ids=" ".join)
def test_help_names_what_to_write_and_not_types_of_the_program(path: tuple[str, ...]) -> None:
    told = helped(*path)
    assert told.startswith("Usage:")
    assert not set("<{") & set(told.replace("<=", "")), told
    assert "False" not in told


@pytest.mark.parametrize("path", list(paths(get_command(app))), ids=" ".join)
def test_each_command_is_summed_up_in_less_than_fifty_characters(path: tuple[str, ...]) -> None:
    command = get_command(app)
    for word in path:
        command = getattr(command, "commands")[word]  # noqa: B009
    assert 0 < len((command.help or "").partition(". ")[0].strip()) < 50


def test_train_tells_the_batch_by_the_rows_and_switches_as_people_write_them() -> None:
    told = helped("train")
    assert "default: 16, or 8 below 500 rows" in told
    assert "(rsLoRA): for high ranks. [default: no]" in told
    assert "default: 0.05" in told
    assert helped("jobs", "show").splitlines()[0].endswith("[OPTIONS] NUMBER")
