"""The colours of columns and curves: as many as can answer, apart from each other and from what they stand on.

Also for eyes without one kind of cone, as Machado, Oliveira and Fernandes (2009) simulate them at full strength.
Differences are distances in Oklab (Ottosson 2020), contrast is that of WCAG 2.2.
"""

import itertools
import re

import numpy as np
import pytest
from numpy.typing import NDArray

from studio.contestants import MOST_COLUMNS
from studio.static_files import text

APART = 0.085  # a little under the closest two of the six colours that were there first, 0.086
SEEN = [
    np.eye(3),
    np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
]
CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def colours(theme: str) -> dict[str, NDArray[np.float64]]:
    """The tokens of a theme that name a colour, as linear RGB."""
    block = re.findall(r"^:root(?: \.dark)? \{(.*?)^\}", text("theme.css"), re.DOTALL | re.MULTILINE)[theme == "dark"]
    return {name: linear(value) for name, value in re.findall(r"--([a-z0-9-]+): #([0-9A-F]{6});", block)}


def linear(value: str) -> NDArray[np.float64]:
    part = np.array([*bytes.fromhex(value)]) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def oklab(colour: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(OKLAB @ np.cbrt(CONES @ np.clip(colour, 0, 1)))


def contrast(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    dark, light = sorted(float(colour @ [0.2126, 0.7152, 0.0722]) + 0.05 for colour in (one, other))
    return light / dark


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_column_has_a_colour_of_its_own_for_every_eye(theme: str) -> None:
    known = colours(theme)
    series = [known[name] for name in sorted(known) if re.fullmatch(r"s\d", name)]
    assert len(series) == MOST_COLUMNS
    assert min(contrast(colour, known["surface"]) for colour in series) >= 3
    for seen in SEEN:
        pairs = itertools.combinations([oklab(seen @ colour) for colour in series], 2)
        assert min(np.linalg.norm(one - other) for one, other in pairs) >= APART


@pytest.mark.parametrize("module", ["columns.js", "compare.js", "scores.js"])
def test_what_draws_a_swatch_goes_through_all_colours(module: str) -> None:
    assert re.findall(r"var\(--s\$\{.*?% (\d+)", text(module)) == [str(MOST_COLUMNS)]
