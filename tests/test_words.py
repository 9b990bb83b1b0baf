"""Sizes as people read them: a unit that fits, and never a false zero."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio import words

UNITS = {"kB": 1e3, "MB": 1e6, "GB": 1e9}


@pytest.mark.parametrize(
    ("many", "told"),
    [
        (0, "0 kB"),
        (1, "1 kB"),
        (20_480, "20 kB"),
        (999_400, "999 kB"),
        (999_600, "1.0 MB"),
        (19_600_000, "19.6 MB"),
        (999_960_000, "1.0 GB"),
        (538_000_000_000, "538.0 GB"),
    ],
)
def test_a_size_has_the_unit_that_fits(many: int, told: str) -> None:
    assert words.size(many) == told


@given(st.integers(min_value=500, max_value=10**15))
def test_a_size_is_told_to_a_tenth_of_its_unit_and_never_as_nothing(many: int) -> None:
    number, unit = words.size(many).split(" ")
    value = float(number.replace(",", ""))
    assert value >= 1
    assert abs(value * UNITS[unit] - many) <= UNITS[unit] * (0.5 if unit == "kB" else 0.05) + 1e-6 * many
    assert unit == "GB" or value < 1000
