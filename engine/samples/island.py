"""Composes the notebook entries of the plain-text set: a year on an invented island, one sighting to an entry.

Every sentence is hand-written, in `sources/plain-text.txt`. Composed is the frame of an entry: a date, a wind,
a remark on the sky before the sighting and one on the day after it. Used by the builder only; it knows nothing about
how rows are written.
"""

import calendar
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

WINDS = [
    f"{direction}, {force}"
    for direction in ("north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west")
    for force in ("light", "moderate", "fresh")
]
WEATHER = re.compile(r"\b(rain|dry|fog|gale|snow|ice|frost|storm|sea broke|heat|sun\w*|shadows?|breeze|stars?)\b", re.I)
NIGHT = re.compile(r"\b(night|nightfall|midnight|dark|dusk|evening|sunset|lamp|tonight|late)\b", re.I)


class Sighting(NamedTuple):
    """What was seen, of which creature, in which month and where."""

    creature: str
    month: int
    place: str
    told: str


class Frame:
    """Remarks to put round a sighting, handed out so that none is used much more often than the others.

    Some remarks fit always; the others only where the sighting does not itself tell of the weather, or of the hour.
    """

    def __init__(self, always: Iterable[str], sometimes: Iterable[str], rng: random.Random) -> None:
        self._always = tuple(always)
        self._all = [*self._always, *sometimes]
        rng.shuffle(self._all)
        self._uses: Counter[str] = Counter()

    def take(self, only_always: bool) -> str:
        """The least used remark; the cautious ones alone where the sighting already says how it was."""
        fitting = [remark for remark in self._all if remark in self._always or not only_always]
        chosen = min(fitting, key=self._uses.__getitem__)
        self._uses[chosen] += 1
        return chosen


def entries(source: str, rng: random.Random) -> tuple[list[str], list[str]]:
    """The training passages, and one held-out passage for each creature; the two share no sentence."""
    parts = _parts(source)
    sky, closing = "sky, where the entry tells of no weather", "closing, where the entry is by day and out of doors"
    sightings = [sighting for name, lines in parts.items() for sighting in _sightings(name, lines)]
    dated = list(zip(_days(sightings, rng), sightings, strict=True))
    kept = {
        rng.choice([seen for seen in sightings if seen.creature == name])
        for name in dict.fromkeys(s.creature for s in sightings)
    }
    rng.shuffle(dated)
    skies = Frame(parts["sky, in any weather"], parts[sky], rng)
    closings = Frame(parts["closing, at any hour"], parts[closing], rng)
    train = [_entry(day, seen, skies, closings, rng) for day, seen in dated if seen not in kept]
    skies, closings = Frame(parts["sky, held out"], (), rng), Frame(parts["closing, held out"], (), rng)
    return train, [_entry(day, seen, skies, closings, rng) for day, seen in dated if seen in kept]


def _parts(source: str) -> dict[str, list[str]]:
    """The lines of the source below each of its headings."""
    blocks = source.split("# ")[1:]
    return {heading: lines for heading, *lines in (block.strip().split("\n") for block in blocks)}


def _sightings(creature: str, lines: Sequence[str]) -> list[Sighting]:
    told = [line.split(" | ") for line in lines if " | " in line]
    return [Sighting(creature, int(month), place, text) for month, place, text in told]


def _days(sightings: Sequence[Sighting], rng: random.Random) -> list[int]:
    """A day of the month for each sighting: no date twice, and each creature's story in its order."""
    free: Mapping[int, list[int]] = {month: rng.sample(range(1, 29), 28) for month in range(1, 13)}
    groups = Counter((seen.creature, seen.month) for seen in sightings)
    days = {group: sorted(free[group[1]].pop() for _ in range(count)) for group, count in groups.items()}
    return [days[seen.creature, seen.month].pop(0) for seen in sightings]


def _entry(day: int, seen: Sighting, skies: Frame, closings: Frame, rng: random.Random) -> str:
    sky = skies.take(bool(WEATHER.search(seen.told)))
    closing = closings.take(bool(NIGHT.search(seen.told)) or seen.place == "the keeper's hut")
    opening = f"{day} {calendar.month_name[seen.month]}, {seen.place}. Wind from the {rng.choice(WINDS)}; {sky}."
    return f"{opening} {seen.told} {closing}"
