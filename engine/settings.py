"""Every setting of a run, declared once.

The form on the page, the options of the command line, the JSON in the database, the checks and the reference in the
documentation are all made from the declarations below. A field carries its default, its bounds, its unit, the group of
the form it stands in and one line of help.

This module knows nothing about models, data or torch: whether a value fits a certain base model is for the caller.
What people write for a list is read in `settings_text.py`, and what is wrong with a value said in `settings_words.py`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.config import JsonDict

from engine.settings_text import numbers, pattern
from engine.settings_words import limits, sentence

Group = Literal["adapter", "more"]
Method = Literal["lora", "dora", "bottleneck", "prompt", "bitfit", "norms", "blocks", "full"]
SMALL_SET = 500  # rows; below it a batch of 16 leaves too few optimizer steps to learn from
LARGEST_RANK = 512

LOW_RANK: tuple[Method, ...] = ("lora", "dora")
IN_THE_BASE: tuple[Method, ...] = ("bitfit", "norms", "blocks", "full")  # they train parameters of the base itself
RATES: dict[Method, float] = {  # the learning rate each method starts from; docs/methods.md has them, too
    "lora": 2e-4,
    "dora": 2e-4,
    "bottleneck": 5e-4,
    "prompt": 1e-2,
    "bitfit": 1e-3,
    "norms": 1e-3,
    "blocks": 5e-5,
    "full": 2e-5,
}

METHOD_LINES: dict[Method, str] = {  # what a method does, and where it comes from, for people who choose
    "lora": "Trains two thin matrices, B and A, beside each layer (Hu et al. 2021, arXiv 2106.09685).",
    "dora": "LoRA with a trained length for each output of a layer, apart from its direction; slower (Liu et al. "
    "2024, arXiv 2402.09353).",
    "bottleneck": "Puts small trained layers behind attention and feed-forward of each block (Houlsby et al. 2019, "
    "arXiv 1902.00751).",
    "prompt": "Trains a few tokens of its own that stand before every row (Lester et al. 2021, arXiv 2104.08691).",
    "bitfit": "Trains the base's biases and nothing else (Ben Zaken et al. 2021, arXiv 2106.10199).",
    "norms": "Trains the base's norms and nothing else (Zhao et al. 2023, arXiv 2312.11420).",
    "blocks": "Trains the last blocks of the base whole (Lee et al. 2019, arXiv 1911.03090).",
    "full": "Trains every number of the base: the yardstick. The file is as large as the base in fp32.",
}


class SettingsError(ValueError):
    """Values that cannot be used. `problems` names all of them, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = problems


def _setting(
    default: Any,
    title: str,
    help_line: str,
    *,
    group: Group = "more",
    unit: str = "",
    spelt: str = "",
    methods: tuple[Method, ...] = (),
    titles: Mapping[str, str] | None = None,
    **bounds: Any,
) -> Any:
    extra: JsonDict = {"group": group, "unit": unit, "spelt": spelt, "methods": list(methods)}
    extra["titles"] = dict(titles or {})
    return Field(default=default, title=title, description=help_line, json_schema_extra=extra, **bounds)


Ranks = Annotated[dict[str, Annotated[int, Field(ge=1, le=LARGEST_RANK)]] | None, BeforeValidator(pattern)]
Alphas = Annotated[dict[str, Annotated[float, Field(gt=0, le=4096)]] | None, BeforeValidator(pattern)]
Blocks = Annotated[list[Annotated[int, Field(ge=0)]] | None, BeforeValidator(numbers)]


class RunSettings(BaseModel):
    """What a person can choose for one run. Sources for the defaults stand in docs/decisions.md."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    method: Method = _setting(
        "lora",
        "Method",
        "What is trained.",
        group="adapter",
        titles={
            "lora": "LoRA",
            "dora": "DoRA",
            "bottleneck": "Bottleneck adapters",
            "prompt": "Soft prompt",
            "bitfit": "Biases only (BitFit)",
            "norms": "Norms only",
            "blocks": "Last blocks",
            "full": "Full fine-tune",
        },
    )
    rank: int = _setting(
        16,
        "Rank (r)",
        "How much room the adapter has to learn. More costs more memory.",
        group="adapter",
        methods=LOW_RANK,
        ge=1,
        le=LARGEST_RANK,
    )
    alpha: float = _setting(
        32,
        "Alpha",
        "How loud it speaks: its output is multiplied by alpha / r.",
        group="adapter",
        methods=LOW_RANK,
        gt=0,
        le=4096,
    )
    base_precision: Literal["full", "int8", "nf4"] = _setting(
        "full",
        "Base precision",
        "How the frozen base is held. NF4 (as in QLoRA) and int8 need less memory.",
        titles={"full": "Full", "int8": "int8", "nf4": "NF4"},
    )
    target_modules: list[str] | None = _setting(
        None,
        "Target modules",
        "The layers that get an adapter. Empty means every linear layer of the blocks.",
        spelt="a list of layer names",
        methods=LOW_RANK,
    )
    layers: Blocks = _setting(
        None,
        "Blocks",
        "Numbers of the blocks that get an adapter, like 0-3, 8. Empty means all.",
        spelt="a list of block numbers from 0",
        methods=LOW_RANK,
    )
    rank_stabilised: bool = _setting(
        False, "Rank-stabilised", "Multiply by alpha / sqrt(r) instead (rsLoRA): for high ranks.", methods=LOW_RANK
    )
    start: Literal["gaussian", "pissa"] = _setting(
        "gaussian",
        "Start of A and B",
        "Where A and B begin: at random and zero, or at the base's own largest directions (PiSSA).",
        methods=("lora",),
        titles={"gaussian": "Random", "pissa": "PiSSA"},
    )
    b_ratio: float = _setting(
        1.0, "Rate of B", "B learns this many times faster than A. LoRA+ uses 16.", methods=LOW_RANK, ge=0.01, le=100
    )
    rank_pattern: Ranks = _setting(
        None,
        "Rank by layer",
        "Layers with a rank of their own, like q_proj=8, v_proj=32.",
        spelt=f"layer names with a whole number from 1 to {LARGEST_RANK} each",
        methods=LOW_RANK,
    )
    alpha_pattern: Alphas = _setting(
        None,
        "Alpha by layer",
        "Layers with an alpha of their own, like q_proj=16.",
        spelt="layer names with a number above 0 to 4096 each",
        methods=LOW_RANK,
    )
    train_in_full: list[str] | None = _setting(
        None,
        "Train in full",
        "Modules that are trained whole beside the adapter, such as embeddings or head. They make it large.",
        spelt="a list of module names",
        methods=LOW_RANK,
    )
    bias: Literal["none", "all", "lora_only"] = _setting(
        "none",
        "Biases",
        "Whether biases of the base are trained too.",
        methods=LOW_RANK,
        titles={"none": "None", "all": "All", "lora_only": "Of adapted layers"},
    )
    blocks: int = _setting(
        2,
        "Trained blocks",
        "How many of the last blocks are trained.",
        group="adapter",
        methods=("blocks",),
        ge=1,
        le=1000,
    )
    bottleneck: int = _setting(
        64,
        "Bottleneck",
        "Width of the small layers that are put in.",
        group="adapter",
        methods=("bottleneck",),
        ge=1,
        le=4096,
    )
    prompt_tokens: int = _setting(
        20,
        "Prompt length",
        "Trained tokens that stand before every row.",
        group="adapter",
        unit="tokens",
        methods=("prompt",),
        ge=1,
        le=1024,
    )
    learning_rate: float = _setting(
        2e-4, "Learning rate", "2e-4 suits LoRA; each method has its own default.", gt=0, le=1
    )
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
    gradient_checkpointing: bool = _setting(
        False, "Gradient checkpointing", "States are computed again instead of kept: less memory, about a third slower."
    )
    compiled: bool = _setting(
        False,
        "Compiled blocks",
        "By torch's compiler, in about a minute: no faster on a CPU, perhaps on a GPU. Resuming may change last bits.",
    )
    length: int = _setting(1024, "Length", "Tokens; longer rows are cut.", unit="tokens", ge=8, le=131072)
    loss_on: Literal["answers", "last", "all"] = _setting(
        "answers",
        "Loss on",
        "What is learned: every answer, the last answer of each row, or all of its text. Weight 0 is never learned.",
        titles={"answers": "Answers", "last": "Last answer", "all": "All text"},
    )
    chat_template: Literal["own", "plain", "chatml", "llama3", "gemma", "mistral", "alpaca"] = _setting(
        "own",
        "Chat template",
        "How conversations are written. A base without a template of its own is taught plain words, or what is chosen.",
        titles={
            "own": "The base's own",
            "plain": "Plain words",
            "chatml": "ChatML",
            "llama3": "Llama 3",
            "gemma": "Gemma",
            "mistral": "Mistral",
            "alpaca": "Alpaca",
        },
    )
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
        0.0,
        "Dropout",
        "Part of the adapter's input dropped at random in training.",
        methods=(*LOW_RANK, "bottleneck"),
        ge=0,
        le=0.9,
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

    def scaling(self, rank: int, alpha: float) -> float:
        """What B A is multiplied by: alpha / r (arXiv 2106.09685, 4.1), or alpha / sqrt(r) (rsLoRA, 2312.03732)."""
        return alpha / (rank**0.5 if self.rank_stabilised else rank)

    def shape_of(self, path: str) -> tuple[int, float]:
        """(rank, alpha) of the layer at `path`: by its whole path, else by its last name, else the common ones."""
        name = path.rpartition(".")[2]
        ranks, alphas = self.rank_pattern or {}, self.alpha_pattern or {}
        return ranks.get(path, ranks.get(name, self.rank)), alphas.get(path, alphas.get(name, self.alpha))

    @property
    def changes_base(self) -> bool:
        """Whether parameters of the base itself are trained, which takes a base in full precision."""
        return self.method in IN_THE_BASE or bool(self.train_in_full) or self.bias != "none"


def defaults_for(rows: int, method: Method = "lora") -> RunSettings:
    """The settings a data set of `rows` rows starts from: a batch of 8 on small sets, 16 otherwise."""
    return RunSettings(method=method, batch_size=8 if rows < SMALL_SET else 16, learning_rate=RATES[method])


def parse(values: Mapping[str, object]) -> RunSettings:
    """Check `values` and fill the rest with defaults.

    Raises:
        SettingsError: with a sentence for every value that is wrong and every name that is no setting.
    """
    try:
        settings = RunSettings.model_validate(dict(values))
    except ValidationError as error:
        told = (sentence(problem, RunSettings.model_fields) for problem in error.errors())
        raise SettingsError(list(dict.fromkeys(told))) from None
    problems = _at_odds(settings)
    if problems:
        raise SettingsError(problems)
    return settings


def usable(values: Mapping[str, object]) -> RunSettings:
    """Settings from the values that are right by themselves, all others at their defaults: to look further with."""
    right: dict[str, object] = {}
    for name, value in values.items():
        try:
            RunSettings.model_validate({name: value})
        except ValidationError:
            continue
        right[name] = value
    return RunSettings.model_validate(right)


def applies(name: str, method: str) -> bool:
    """Whether the setting `name` means anything to a method."""
    methods = _extra(name)["methods"]
    assert isinstance(methods, list)
    return not methods or method in methods


def titles(name: str) -> dict[str, str]:
    """The values of a setting that is a choice, with how each is called on the page."""
    given = _extra(name)["titles"]
    choices = get_args(RunSettings.model_fields[name].annotation)
    assert isinstance(given, dict)
    return {choice: str(given.get(choice, choice)) for choice in choices if isinstance(choice, str)}


def group_of(name: str) -> Group:
    """The part of the form in which the setting `name` stands."""
    group: Group = "adapter" if _extra(name)["group"] == "adapter" else "more"
    return group


def _extra(name: str) -> JsonDict:
    extra = RunSettings.model_fields[name].json_schema_extra
    assert isinstance(extra, dict)
    return extra


def _at_odds(settings: RunSettings) -> list[str]:
    """Values that are right one by one and make no sense together."""
    problems = []
    for name, field in RunSettings.model_fields.items():
        if not applies(name, settings.method) and getattr(settings, name) != field.default:
            title = titles("method")[settings.method]
            problems.append(f"{field.title} means nothing to the method {title}. Leave it at its default.")
    if settings.base_precision != "full" and settings.changes_base:
        precision = titles("base_precision")[settings.base_precision]
        problems.append(
            f"Base precision is {precision}, but these settings train parameters of the base itself, which must be in "
            "full precision for that. Choose Full, or train an adapter alone."
        )
    if settings.start == "pissa" and settings.base_precision != "full":
        problems.append("PiSSA starts from the base's exact weights, so it needs the base precision Full.")
    return problems


def bounds(name: str) -> tuple[float | None, float | None]:
    """The least and the greatest value of a numeric setting; None where it has none."""
    return limits(RunSettings.model_fields[name])
