"""Settings become widgets, and widgets become settings, without a value being judged on the way."""

from __future__ import annotations

import gradio as gr
import pytest

from engine.settings import RunSettings, SettingsError, parse
from studio import forms
from tests.pages import in_a_loop

ORDER = [*forms.names("adapter"), *forms.names("more")]


@pytest.fixture(scope="module")
def widgets() -> dict[str, gr.components.Component]:
    def build() -> dict[str, gr.components.Component]:
        with gr.Blocks():
            return {name: forms.widget(name) for name in ORDER}

    return in_a_loop(build)


def test_every_setting_has_a_widget_with_its_title_and_help(widgets: dict[str, gr.components.Component]) -> None:
    assert set(widgets) == set(RunSettings.model_fields)
    for name, field in RunSettings.model_fields.items():
        assert widgets[name].label == field.title
        assert (field.description or "") in str(getattr(widgets[name], "info", ""))
        assert getattr(widgets[name], "interactive", None) is True


def test_untouched_widgets_give_the_default_settings(widgets: dict[str, gr.components.Component]) -> None:
    given = [widgets[name].value for name in ORDER]
    assert parse(forms.settings_of(ORDER, given)) == RunSettings()


@pytest.mark.parametrize("name", ["rank", "schedule", "learning_rate"])
def test_a_widget_passes_on_what_was_typed(widgets: dict[str, gr.components.Component], name: str) -> None:
    assert widgets[name].preprocess(99_999) == 99_999


def test_what_was_typed_is_told_in_words_all_at_once() -> None:
    values = {**RunSettings().model_dump(), "rank": 99_999, "max_seconds": "soon", "schedule": "sideways"}
    with pytest.raises(SettingsError) as caught:
        parse(forms.settings_of(ORDER, [values[name] for name in ORDER]))
    assert len(caught.value.problems) == 3


def test_an_empty_choice_or_line_means_not_chosen() -> None:
    assert forms.settings_of(["target_modules", "max_seconds"], [[], ""]) == {
        "target_modules": None,
        "max_seconds": None,
    }


def test_the_title_says_how_many_settings_were_changed() -> None:
    defaults = RunSettings().model_dump(mode="json")
    assert forms.more_title(defaults, defaults) == "More settings"
    assert forms.more_title({**defaults, "epochs": 1, "seed": 4}, defaults) == "More settings (2 changed)"


def test_whole_numbers_step_by_one_and_small_ones_by_their_own_size(
    widgets: dict[str, gr.components.Component],
) -> None:
    steps = {name: getattr(widgets[name], "step", None) for name in ("epochs", "learning_rate", "warmup", "dropout")}
    assert steps == pytest.approx({"epochs": 1, "learning_rate": 1e-4, "warmup": 0.01, "dropout": 0.01})


def test_no_setting_is_called_as_the_button_that_starts_a_run(widgets: dict[str, gr.components.Component]) -> None:
    assert widgets["start"].label == "Start of A and B"
