"""Writes the table of docs/methods.md: every method on every architecture, measured on the tiny models of the tests.

    make methods      (or: python -m tests.methods_table)

A cell holds the numbers trained, the bytes of the tensors in the adapter's file, and the greatest difference of a
logit: between what was trained and what PEFT computes from the file, or, where PEFT has no such method, what the
studio itself computes from it. Where a base has no place for a method, the cell is empty and the reason stands below.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from engine import adapter_files, models
from engine.methods import fit
from engine.methods.attach import attached
from engine.misfits import misfits
from engine.settings import Method, RunSettings, parse, titles
from tests.architectures import ALL, make_architecture

DOCUMENT = Path(__file__).parent.parent / "docs" / "methods.md"
BEGIN, END = "<!-- table: make methods -->", "<!-- end of table -->"
SMALL: dict[str, dict[str, Any]] = {
    "lora": {"rank": 4, "alpha": 8},
    "dora": {"rank": 4, "alpha": 8},
    "bottleneck": {"bottleneck": 4},
    "prompt": {"prompt_tokens": 4},
    "blocks": {"blocks": 1},
}
METHODS = get_args(Method)
CPU = models.Device("cpu", "CPU", torch.float32, "a table")


def main() -> None:
    """Measure everything and put it between the marks of the document."""
    torch.set_num_threads(1)
    rows, reasons = [], dict[str, list[str]]()
    for known in ALL:
        rows.append([known, *(_cell(known, method, reasons) for method in METHODS)])
    heads = ["Architecture", *(titles("method")[method] for method in METHODS)]
    lines = [_line(heads), _line(["---"] * len(heads)), *(_line(row) for row in rows), ""]
    lines += [f"- {reason} ({', '.join(names)})" for reason, names in reasons.items()]
    text = DOCUMENT.read_text("utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    DOCUMENT.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}", "utf-8")


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(known: str, method: str, reasons: dict[str, list[str]]) -> str:
    settings = parse({"method": method, **SMALL.get(method, {})})
    with tempfile.TemporaryDirectory() as folder:
        path = make_architecture(Path(folder), known)
        told = misfits(models.describe(path), settings, "The base")
        if told:
            reasons.setdefault(" ".join(told), []).append(known)
            return ""
        return _measured(models.load(path, CPU), settings)


@torch.no_grad()
def _measured(base: models.LoadedBase, settings: RunSettings) -> str:
    ids = torch.arange(3, 40)[None]
    fitted = fit(base.model, settings)
    generator = torch.Generator().manual_seed(0)
    for parameter in fitted.trained.values():
        parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.02)
    trained = sum(p.numel() for p in fitted.trained.values())
    expected, tensors = base.model(input_ids=ids).logits, fitted.tensors()
    fitted.remove()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        adapter_files.write(place, tensors, base_name="tiny", settings=settings, model=base.model)
        difference = float((_again(base, place, ids) - expected).abs().max())
    size = sum(tensor.nbytes for tensor in tensors.values())
    return f"{trained:,}; {size:,} B; {difference:.0e}" if difference else f"{trained:,}; {size:,} B; 0"


def _again(base: models.LoadedBase, folder: Path, ids: Tensor) -> Tensor:
    """The logits from the file: by PEFT where the folder is PEFT's."""
    if (folder / adapter_files.CONFIG).is_file():
        from peft import PeftModel

        other: Any = PeftModel.from_pretrained(models.load(base.path, CPU).model, folder).eval()
        logits: Tensor = other(input_ids=ids).logits
        return logits[:, -ids.shape[1] :]
    with attached(base.model, [adapter_files.read(folder)]):
        own: Tensor = base.model(input_ids=ids).logits
    return own


if __name__ == "__main__":
    main()
