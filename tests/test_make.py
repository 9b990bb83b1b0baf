"""The one-word commands: plain `make` explains itself, and nothing needs a program called `python`."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_plain_make_lists_the_commands_and_does_nothing() -> None:
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True).stdout
    commands = re.findall(r"make (\w+)", said)
    assert commands == ["help", "run", "demo", "test", "faults", "methods", "states", "bench", "clean"]


def test_only_python3_is_asked_of_the_path() -> None:
    recipes = re.findall(r"^\t(.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert recipes
    for recipe in recipes:
        assert not re.search(r"(^|[@;&|]\s*)(python|pip)\b", recipe), recipe


def test_the_build_machines_script_is_sound_and_ends_in_the_tests() -> None:
    script = ROOT / ".ci" / "run"
    subprocess.run(["bash", "-n", str(script)], check=True, timeout=30)
    assert script.stat().st_mode & 0o111
    lines = script.read_text("utf-8").splitlines()
    assert "set -euo pipefail" in lines
    assert lines[-1] == "make test"
