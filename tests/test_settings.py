"""The settings: defaults, bounds, and sentences that name every wrong value at once."""

from pathlib import Path

import pytest

from engine.settings import RATES, RunSettings, SettingsError, bounds, defaults_for, group_of, parse, titles


def test_every_setting_has_a_title_a_line_of_help_and_a_place_in_the_form() -> None:
    for name, field in RunSettings.model_fields.items():
        assert field.title, name
        assert field.description
        assert field.description.endswith("."), name
        assert group_of(name) in ("adapter", "more")


def test_nothing_given_means_the_defaults() -> None:
    settings = parse({})
    assert (settings.rank, settings.alpha, settings.learning_rate, settings.epochs) == (16, 32, 2e-4, 3)
    assert settings.target_modules is None


def test_small_sets_start_with_a_smaller_batch() -> None:
    assert defaults_for(240).batch_size == 8
    assert defaults_for(5000).batch_size == 16


def test_all_problems_are_told_at_once_with_the_value_and_what_would_be_right() -> None:
    with pytest.raises(SettingsError) as told:
        parse({"rank": 0, "alpha": "loud", "epochs": 1.5, "learning_rate": 0, "schedule": "zigzag", "length": None})
    assert told.value.problems == [
        "Rank (r) is 0, but should be a whole number from 1 to 512.",
        "Alpha is loud, but should be a number above 0 to 4096.",
        "Learning rate is 0, but should be a number above 0 to 1.",
        "Epochs is 1.5, but should be a whole number from 1 to 1000.",
        "Length is empty, but should be a whole number from 8 to 131072.",
        "Schedule is zigzag, but should be one of cosine, linear or constant.",
    ]


@pytest.mark.parametrize("name", ["trust_remote_code", "output_dir", "deepspeed"])
def test_a_name_that_is_no_setting_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"no setting called {name}"):
        parse({name: True})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1e999"])
def test_a_learning_rate_that_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(SettingsError, match="Learning rate is"):
        parse({"learning_rate": value})


def test_bounds_are_those_of_the_declaration() -> None:
    assert bounds("rank") == (1, 512)
    assert bounds("schedule") == (None, None)
    assert bounds("validation_share") == (0, 0.5)


def test_blocks_written_from_the_higher_to_the_lower_are_refused_with_what_was_meant() -> None:
    with pytest.raises(SettingsError) as told:
        parse({"layers": "0, 8-3"})
    assert told.value.problems == [
        "Blocks is 0, 8-3, but should be numbers of blocks like 0-3, 8, the lower one first: 3-8 instead of 8-3."
    ]
    assert parse({"layers": "3-5, 8"}).layers == [3, 4, 5, 8]


@pytest.mark.parametrize(
    ("name", "value"),
    [("layers", "0-9999," * 20_000), ("rank_pattern", "q_proj=8," * 20_000), ("alpha_pattern", "q=8," * 20_000)],
)
def test_text_that_nobody_would_write_is_refused_unread(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=r"\.\.\., but should be .* in at most 500 characters\.$"):
        parse({name: value})


def test_the_same_blocks_over_and_over_are_collected_once() -> None:
    assert parse({"layers": "0-999," * 80}).layers == list(range(1000))


def test_the_document_of_the_methods_gives_each_its_default_learning_rate() -> None:
    lines = (Path(__file__).parent.parent / "docs" / "methods.md").read_text("utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    at = next(i for i, row in enumerate(rows) if "Default learning rate" in row)
    column = rows[at].index("Default learning rate")
    told = {row[0]: float(row[column]) for row in rows[at + 2 : at + 2 + len(RATES)]}
    assert told == {titles("method")[method]: rate for method, rate in RATES.items()}
