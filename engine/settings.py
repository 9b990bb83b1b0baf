"""Every setting of a run, declared once.

The form on the page, the options of the command line, the JSON in the database, the checks and the reference in the
documentation are all made from the declarations below. A field carries its default, its bounds, its unit, the group of
the form it stands in and one line of help.

This module knows nothing about models, data or torch: whether a value fits a certain base model is for the caller.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.config import JsonDict

Group = Literal["adapter", "more"]
SMALL_SET = 500  # rows; below it a batch of 16 leaves too few optimizer steps to learn from


class SettingsError(ValueError):
    """Values that cannot be used. `problems` names all of them, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = problems


def _setting(default: Any, title: str, help_line: str, *, group: Group = "more", unit: str = "", **bounds: Any) -> Any:
    extra: JsonDict = {"group": group, "unit": unit}
    return Field(default=default, title=title, description=help_line, json_schema_extra=extra, **bounds)


class RunSettings(BaseModel):
    """What a person can choose for one run. Sources for the defaults stand in docs/decisions.md."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    rank: int = _setting(
        16,
        "Rank (r)",
        "How much room the adapter has to learn. More costs more memory.",
        group="adapter",
        ge=1,
        le=512,
    )
    alpha: float = _setting(
        32,
        "Alpha",
        "How loud it speaks: its output is multiplied by alpha / r.",
        group="adapter",
        gt=0,
        le=4096,
    )
    target_modules: list[str] | None = _setting(
        None,
        "Target modules",
        "The layers that get an adapter. Empty means every linear layer of the blocks.",
    )
    learning_rate: float = _setting(2e-4, "Learning rate", "2e-4 suits LoRA.", gt=0, le=1)
    epochs: int = _setting(3, "Epochs", "Times through the data.", ge=1, le=1000)
    batch_size: int = _setting(16, "Batch", "Rows per step.", unit="rows", ge=1, le=4096)
    micro_batch: int = _setting(
        8,
        "Rows at once",
        "Rows that go through the model together. Fewer need less memory and give the same result.",
        unit="rows",
        ge=1,
        le=4096,
    )
    length: int = _setting(1024, "Length", "Tokens; longer rows are cut.", unit="tokens", ge=8, le=131072)
    validation_share: float = _setting(
        0.1,
        "Validation share",
        "Part of the rows kept aside to measure on. 0 turns validation off.",
        ge=0,
        le=0.5,
    )
    schedule: Literal["cosine", "linear", "constant"] = _setting(
        "cosine", "Schedule", "How the learning rate falls after the warm-up."
    )
    warmup: float = _setting(0.05, "Warm-up", "Part of the steps over which the learning rate rises.", ge=0, le=0.5)
    dropout: float = _setting(
        0.0, "Dropout", "Part of the adapter's input dropped at random in training.", ge=0, le=0.9
    )
    weight_decay: float = _setting(0.0, "Weight decay", "How strongly AdamW pulls the adapter to zero.", ge=0, le=1)
    max_gradient_norm: float = _setting(
        1.0, "Gradient limit", "Longer gradients are scaled down to this norm.", gt=0, le=1000
    )
    seed: int = _setting(
        0, "Seed", "Same seed, same data, same settings: same run on the same machine.", ge=0, le=2**31 - 1
    )
    max_seconds: float | None = _setting(
        None,
        "Time limit",
        "Stop after this long and keep the adapter. Empty means no limit.",
        unit="seconds",
        gt=0,
    )


def defaults_for(rows: int) -> RunSettings:
    """The settings a data set of `rows` rows starts from: a batch of 8 on small sets, 16 otherwise."""
    return RunSettings(batch_size=8) if rows < SMALL_SET else RunSettings()


def parse(values: Mapping[str, object]) -> RunSettings:
    """Check `values` and fill the rest with defaults.

    Raises:
        SettingsError: with a sentence for every value that is wrong and every name that is no setting.
    """
    try:
        return RunSettings.model_validate(dict(values))
    except ValidationError as error:
        raise SettingsError([_sentence(e) for e in error.errors()]) from None


def group_of(name: str) -> Group:
    """The part of the form in which the setting `name` stands."""
    extra = RunSettings.model_fields[name].json_schema_extra
    assert isinstance(extra, dict)
    group: Group = "adapter" if extra["group"] == "adapter" else "more"
    return group


def bounds(name: str) -> tuple[float | None, float | None]:
    """The least and the greatest value of a numeric setting; None where it has none."""
    low = high = None
    for rule in RunSettings.model_fields[name].metadata:
        low = getattr(rule, "ge", getattr(rule, "gt", low))
        high = getattr(rule, "le", getattr(rule, "lt", high))
    return low, high


def _sentence(error: Any) -> str:
    name = str(error["loc"][0]) if error["loc"] else "settings"
    field = RunSettings.model_fields.get(name)
    if field is None:
        return f"There is no setting called {name}."
    return f"{field.title} is {_shown(error['input'])}, but should be {_expected(name, error)}."


def _shown(value: object) -> str:
    text = "empty" if value is None or value == "" else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _expected(name: str, error: Any) -> str:
    if error["type"] == "literal_error":
        return "one of " + str(error["ctx"]["expected"]).replace("'", "")
    if error["type"].startswith(("list", "string")):
        return "a list of layer names"
    whole = "a whole number" if error["type"].startswith("int") or name in _WHOLE else "a number"
    low, high = bounds(name)
    above = (
        "above"
        if any(getattr(rule, "gt", None) is not None for rule in RunSettings.model_fields[name].metadata)
        else "from"
    )
    if low is None:
        return whole
    return f"{whole} {above} {low:g}" + (f" to {high:g}" if high is not None else "")


_WHOLE = {name for name, field in RunSettings.model_fields.items() if field.annotation is int}
