"""Who may import whom, read from the source; and what a process costs to start, measured in a fresh one."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("adapters_store", "engine", "jobs", "studio", "tests", "app")
STUDIO_MAY = (
    "engine.settings",
    "engine.shape",
    "engine.sizing",
    "engine.misfits",
    "engine.data",
    "engine.starter",
    "engine.votes",
    "engine.suites",
)
ARROWS = {
    "engine": ("engine",),
    "adapters_store": ("adapters_store",),
    "jobs": ("jobs", "engine", "adapters_store"),
    "studio": ("studio", "jobs", "adapters_store", *STUDIO_MAY),
    "app.py": ("studio",),
}


def imported(file: Path) -> Iterator[str]:
    """Every name that `file` imports, inside functions too: `from a.b import c` is a.b.c."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports by a relative name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(part: str) -> list[Path]:
    return [ROOT / part] if part.endswith(".py") else sorted((ROOT / part).rglob("*.py"))


def within(name: str, parts: tuple[str, ...]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


@pytest.mark.parametrize("part", ARROWS)
def test_each_part_imports_only_what_lies_below_it(part: str) -> None:
    assert files(part)
    for file in files(part):
        for name in imported(file):
            ours = name.partition(".")[0] in OURS
            assert not ours or within(name, ARROWS[part]), f"{file.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize(
    ("part", "never"),
    [
        ("adapters_store", ("torch", "transformers", "gradio", "fastapi")),
        ("engine", ("gradio", "fastapi", "sqlalchemy", "platformdirs")),
        ("jobs", ("gradio", "fastapi", "typer")),
        ("studio", ("torch", "transformers", "peft")),
    ],
)
def test_no_part_names_a_library_that_is_not_its_business(part: str, never: tuple[str, ...]) -> None:
    for file in files(part):
        for name in imported(file):
            assert not within(name, never), f"{file.relative_to(ROOT)} imports {name}"


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh process holds after `statement`."""
    said = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys; print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return {name.partition(".")[0] for name in said.stdout.split()}


def test_the_page_process_holds_no_torch(tmp_path: Path) -> None:
    build = f"from pathlib import Path; from studio.server import build_app; build_app(Path({str(tmp_path)!r}))"
    loaded = loaded_by(build)
    assert "gradio" in loaded
    assert not loaded & {"torch", "transformers", "datasets", "pandas_datareader"}


@pytest.mark.parametrize("module", ["studio.cli", "studio.demo", "studio.launch", "jobs.runner", "jobs.ask"])
def test_command_line_and_runner_hold_neither_torch_nor_gradio(module: str) -> None:
    assert not loaded_by(f"import {module}") & {"torch", "transformers", "gradio", "pandas", "numpy"}


def test_the_worker_and_the_answerer_hold_no_gradio() -> None:
    statement = "import jobs.worker, jobs.answerer, jobs.training, jobs.fetching, engine.generate"
    assert "gradio" not in loaded_by(statement)


def test_starting_a_worker_does_not_wait_for_torch() -> None:
    assert "torch" not in loaded_by("import jobs.worker, jobs.answerer, engine.starter")


def test_the_command_line_waits_for_the_library_only_when_it_is_asked_for() -> None:
    assert not loaded_by("import studio.cli") & {"sqlalchemy", "alembic", "psutil", "httpx"}


def test_a_command_that_only_lists_waits_for_nothing_that_works() -> None:
    assert not loaded_by("import studio.opening, studio.records") & {"rich", "httpx"}
