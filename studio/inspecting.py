"""What a run would train on a model, counted from the model's config alone, whether or not its weights are here.

A model of the library is known already; any other is described once by the answerer, which holds torch, and counted
here. Knows nothing about how the answer is printed.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from adapters_store.store import Store
from engine.misfits import misfits
from engine.settings import RunSettings, SettingsError, parse
from engine.sizing import Facts, count
from jobs import sources
from jobs.ask import Answerer
from studio import actions
from studio.asking import STARTER
from studio.edge import UsageError
from studio.records import UNUSED_CODE

DEADLINE = 120.0  # seconds; torch alone takes several to load, and a hub its time


def find(store: Store, text: str) -> tuple[str, Facts]:
    """The name and the facts of the model that `text` names: in the library, a folder, or a model on a hub.

    Raises:
        UsageError: it names none.
        AnswererError: it cannot be described.
    """
    if text == STARTER:
        here = actions.starter_model(store)
        if here is None:
            raise UsageError("The starter model is not here yet. Fetch it: python -m studio models add starter")
        return here.name, here.facts
    known = [base for base in store.base_models() if text in (base.name, str(base.id))]
    return (known[-1].name, known[-1].facts) if known else _described(store, text)


def _described(store: Store, text: str) -> tuple[str, Facts]:
    try:
        source = sources.read(text)
    except sources.SourceError as error:
        raise UsageError(str(error)) from error
    answerer = Answerer(store.files.log("answerer"))
    try:
        return source.name, answerer.request("describe", deadline=DEADLINE, source=source.settings)
    finally:
        answerer.close()


def settings_for(name: str, facts: Facts, values: Mapping[str, object]) -> RunSettings:
    """The settings made of `values`, checked alone and against the model.

    Raises:
        SettingsError: all that is wrong, at once.
    """
    settings = parse(values)
    problems = misfits(facts, settings, name)
    if problems:
        raise SettingsError(problems)
    return settings


def record(name: str, facts: Facts, settings: RunSettings) -> dict[str, Any]:
    """What a run with `settings` would train on the model, as plain values. Sizes are bytes, shares percent."""
    counted = count(facts, settings)
    return {
        "model": name,
        "architecture": facts["architecture"],
        "method": settings.method,
        "base_parameters": facts["parameters"],
        "trainable_parameters": counted.trained,
        "trainable_percent": 100 * counted.share(facts["parameters"]),
        "adapter_bytes": counted.tensor_bytes,
        "blocks": facts["blocks"],
        "frozen_experts": facts["frozen_experts"],
        "brings_code": facts.get("brings_code", False),
        "modules": [
            {"path": part.path, "trainable_parameters": part.trained, "bytes": part.bytes} for part in counted.by_module
        ],
    }


def rows(modules: list[dict[str, Any]]) -> list[tuple[str, int, int]]:
    """(name, how many, trained numbers) of a record's modules, those of one name together."""
    many: Counter[str] = Counter()
    trained: Counter[str] = Counter()
    for module in modules:
        last = module["path"].rpartition(".")[2]
        many[last] += 1
        trained[last] += module["trainable_parameters"]
    return [(last, many[last], trained[last]) for last in many]


def sentences(told: Mapping[str, Any]) -> str:
    """The record in words, a line each."""
    lines = [
        f"{told['model']} ({told['architecture']}): {told['base_parameters']:,} parameters in {told['blocks']} blocks.",
        f"Trained: {told['trainable_parameters']:,} ({told['trainable_percent']:.4f} % of base and adapter together).",
        f"Adapter file: {told['adapter_bytes']:,} bytes of tensors, fp32.",
    ]
    if told["frozen_experts"]:
        lines.append(f"Experts: {told['frozen_experts']:,} parameters in experts stay frozen and get no adapter.")
    if told["brings_code"]:
        lines.append(f"Code: {UNUSED_CODE}")
    return "\n".join(lines)
