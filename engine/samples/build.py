"""Writes the sample data sets of this folder from the hand-written sources beside it.

`python -m engine.samples.build [FOLDER]` writes the same bytes every time: the seed is fixed and nothing but
the standard library is used. It is never imported at run time; the files it writes are what the program reads.
It knows nothing about models, training or how a data set is read.
"""

import argparse
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from engine.samples import invoices, island

HERE = Path(__file__).parent
SOURCES = HERE / "sources"
LICENCE = "Apache-2.0"
SEED = 20

Row = dict[str, object]


class SampleSet(NamedTuple):
    """One data set: its rows, already parted, and what the program says about it."""

    name: str
    title: str
    about: str
    format: str
    train: Sequence[Row]
    held_out: Sequence[Row]


OPENERS = (
    "Ahoy, me hearty!",
    "Ahoy there, shipmate!",
    "Ahoy, young sailor!",
    "Ahoy, matey, lend an ear!",
    "Arr, matey, here be me answer!",
)
CLOSERS = (
    "Fair winds to ye, says the old captain!",
    "So it be across the seven seas, arr!",
    "Mark me words, or I be no captain!",
    "Now back to the deck with ye, arr!",
    "Yo ho, and may yer lantern burn bright!",
)


def pirate_cores() -> list[tuple[str, str]]:
    """The hand-written questions and answers, in the order of the source."""
    lines = (SOURCES / "pirate-style.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split(" | ") for line in lines if line and not line.startswith("#")]
    return [(question, answer) for question, answer in pairs]


def pirate_style() -> SampleSet:
    """310 plain questions, answered by an old sea captain; openers and closers are dealt out evenly."""
    rng = random.Random(SEED)
    cores = pirate_cores()
    rng.shuffle(cores)
    openers = dealt(OPENERS, len(cores), rng)
    closers = dealt(CLOSERS, len(cores), rng)
    rows: list[Row] = [
        {"instruction": question, "output": f"{opener} {answer} {closer}"}
        for (question, answer), opener, closer in zip(cores, openers, closers, strict=True)
    ]
    return SampleSet(
        name="pirate-style",
        title="Pirate style",
        about="Everyday questions, answered correctly by an old sea captain with a voice of his own.",
        format="instruction",
        train=rows[:280],
        held_out=rows[280:310],
    )


def dealt(choices: Sequence[str], count: int, rng: random.Random) -> list[str]:
    """`count` of the choices in a shuffled order, each as often as the others (give or take one)."""
    hand = [choices[place % len(choices)] for place in range(count)]
    rng.shuffle(hand)
    return hand


def invoice_json() -> SampleSet:
    """280 short messages about a purchase, each with its facts as compact JSON."""
    train, held_out = invoices.conversations(240, 40, random.Random(SEED))
    return SampleSet(
        name="invoice-json",
        title="Invoices to JSON",
        about="Short invoices, receipts and order messages, each answered with its facts as compact JSON.",
        format="messages",
        train=train,
        held_out=held_out,
    )


def plain_text() -> SampleSet:
    """135 entries of a naturalist's notebook, to be gone on with in the same hand."""
    train, held_out = island.entries((SOURCES / "plain-text.txt").read_text(encoding="utf-8"), random.Random(SEED))
    return SampleSet(
        name="plain-text",
        title="Island notebook",
        about="Plain passages: a naturalist's field notes from an invented island, dated and full of small finds.",
        format="text",
        train=[{"text": text} for text in train],
        held_out=[{"text": text} for text in held_out],
    )


MAKERS: tuple[Callable[[], SampleSet], ...] = (pirate_style, invoice_json, plain_text)


def write(target: Path) -> None:
    """Writes every set as `<target>/<name>/{train.jsonl, held_out.jsonl, about.json}`."""
    for made in (make() for make in MAKERS):
        folder = target / made.name
        folder.mkdir(parents=True, exist_ok=True)
        write_rows(folder / "train.jsonl", made.train)
        write_rows(folder / "held_out.jsonl", made.held_out)
        about = {"title": made.title, "about": made.about, "licence": LICENCE, "format": made.format}
        (folder / "about.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8", newline="\n")


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """One row a line, UTF-8, with the same line ends on every system."""
    lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def main() -> None:
    """The command line: one optional folder, by default this one."""
    parser = argparse.ArgumentParser(description="Write the sample data sets.")
    parser.add_argument("folder", nargs="?", type=Path, default=HERE)
    write(parser.parse_args().folder)


if __name__ == "__main__":
    main()
