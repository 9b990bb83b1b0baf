"""From what a person types to what it means: a model, a data set, adapters by name or number, and their answers.

Serves the command line and the demo. Where a name means nothing, the error lists what there is.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from adapters_store.store import Store
from adapters_store.tables import Adapter, BaseModel, DataSet, Job, Weighted
from jobs.ask import Answerer
from jobs.progress import job_sentence
from studio import actions, room_beside
from studio.contestants import precision
from studio.edge import CommandFailed, UsageError
from studio.following import follow
from studio.opening import opened as opened
from studio.terminal import say

STARTER = "starter"
DEADLINE = 900.0  # seconds for an answer; a large model on a slow disk takes its time to load


class Sampling(NamedTuple):
    """How answers are drawn: the same values give the same answers on the same machine."""

    temperature: float
    top_p: float
    max_tokens: int
    seed: int


class Beginning(NamedTuple):
    """What a run begins with: its base, its data, and the adapter it starts from, if any.

    Attributes:
        mixture: all data sets with their weights; `data` is the first of them.
    """

    base: BaseModel
    data: DataSet
    start: Adapter | None
    mixture: list[Weighted]


def wait(store: Store, job: Job) -> Job:
    """Follow the job to its end. Ctrl-C leaves it running, and says so."""
    try:
        return follow(store, job.id)
    except KeyboardInterrupt:
        say(f"\nNot waiting any more; {job.name} goes on. To stop it: python -m studio jobs stop {job.id}")
        raise


def data_set(store: Store, text: str) -> DataSet:
    """The data set called `text`, or made from the file `text`.

    Raises:
        UsageError: neither.
        DataError: the file cannot be learned from.
    """
    actions.import_samples(store)
    known = store.data_sets()
    named = [data for data in known if data.name == text]
    if named:
        return named[-1]
    file = Path(text).expanduser()
    if not file.exists():
        names = ", ".join(data.name for data in known)
        raise UsageError(f"{text} is neither a data set nor a file. There are {names}.")
    return actions.import_file(store, file, file.name)


def known_data(store: Store, text: str) -> DataSet:
    """The data set with this name or number. UsageError if there is none."""
    actions.import_samples(store)
    known = store.data_sets()
    found = [one for one in known if one.name == text] or [one for one in known if str(one.id) == text]
    if not found:
        raise UsageError(f"There is no data set {text}. See: python -m studio data list")
    return found[-1]


def weighted(store: Store, text: str) -> Weighted:
    """The data set that `text` names, as `data_set`, with the weight behind its last `=`; 1 where there is none.

    Raises:
        UsageError, DataError: as `data_set`.
    """
    name, _, number = text.rpartition("=")
    whole = not name or any(data.name == text for data in store.data_sets()) or Path(text).expanduser().exists()
    try:
        weight = float(number)
    except ValueError:
        whole = True
    return Weighted(data_set(store, text), 1.0) if whole else Weighted(data_set(store, name), weight)


def beginning(store: Store, data: Sequence[str], model: str, start: str) -> Beginning:
    """What a run begins with; an adapter to start from brings its base, and its data where none is named.

    Raises:
        UsageError: something named is not there, or no data set is named.
        CommandFailed: the starter model could not be fetched.
    """
    begun = adapter(store, start) if start else None
    base = begun.base_model if begun and not model else None
    if data:
        mixture = [weighted(store, text) for text in data]
    elif begun and begun.mixture:
        mixture = begun.mixture
    else:
        whose = f" {begun.name} came without its own." if begun else ""
        raise UsageError(f"Give the data to learn from: --data NAME_OR_FILE.{whose}")
    return Beginning(base or base_model(store, model or STARTER), mixture[0].data_set, begun, mixture)


def base_model(store: Store, text: str) -> BaseModel:
    """The base model with this name or number; "starter" is fetched first when it is not here.

    Raises:
        UsageError: there is none.
        CommandFailed: the starter model could not be fetched.
    """
    if text == STARTER:
        return _starter(store)
    known = store.base_models()
    found = [base for base in known if base.name == text] or [base for base in known if str(base.id) == text]
    if not found:
        names = ", ".join(base.name for base in known) or "none but the starter model"
        how = "Add one: python -m studio models add FOLDER_OR_ID_OR_GGUF"
        raise UsageError(f"There is no base model {text}. There are {names}. {how}")
    return found[-1]


def _starter(store: Store) -> BaseModel:
    job = actions.fetch_starter(store)
    if job is not None:
        job = follow(store, job.id)
    base = actions.starter_model(store)
    if base is None:
        raise CommandFailed(f"The starter model is not here. {job_sentence(job) if job else ''}".strip())
    return base


def model_from(store: Store, job: Job) -> BaseModel:
    """The base model that an ended fetch job added, or found to be here already.

    Raises:
        CommandFailed: there is no usable model at its source.
    """
    if job.state != "completed":
        raise CommandFailed(f"The model was not added. {job_sentence(job)}")
    return store.base_model(job.progress["base_model"])


def adapter(store: Store, text: str) -> Adapter:
    """The adapter with this name or number. UsageError if there is none."""
    found = store.adapter_called(text)
    if found is None:
        raise UsageError(f"There is no adapter {text}. See: python -m studio adapters list")
    return found


def deleted_adapter(store: Store, text: str) -> Adapter:
    """The deleted adapter with this name or number; of several with this name the one deleted last.

    Raises:
        UsageError: there is none.
    """
    known = store.deleted_adapters()
    found = [a for a in known if a.name == text] or [a for a in known if str(a.id) == text]
    if found:
        return found[0]
    if store.adapter_called(text) is not None:
        raise UsageError(f"The adapter {text} is in the library already.")
    names = ", ".join(f"{a.name} ({a.id})" for a in known[:20]) or "none"
    raise UsageError(f"There is no deleted adapter {text}. Deleted: {names}.")


def answers_of(
    answerer: Answerer, store: Store, chosen: Sequence[Adapter], prompt: str, system: str, sampling: Sampling
) -> list[dict[str, Any]]:
    """What the base and each adapter answer, in order: name, id, sha256, text, tokens, tokens_per_second, and for a
    replay to the bit device, dtype, threads and batch: the places of those that answered together, itself among them.

    Raises:
        AnswererError: no answer.
    """
    base, jobs = chosen[0].base_model, room_beside.at_work(store)
    first = [{"role": "system", "content": system}] if system else []
    parts = answerer.stream(
        "compare",
        deadline=DEADLINE,
        base_path=str(store.base_path(base)),
        precision=precision(chosen),
        adapters=[str(store.adapter_path(a)) for a in chosen],
        messages=[*first, {"role": "user", "content": prompt}],
        threads=room_beside.threads(jobs),
        run=jobs[0].name if jobs else "",
        spare_bytes=room_beside.spare(jobs),
        **sampling._asdict(),
    )
    last = list(parts)[-1]
    named = [(base.name, None, None), *((a.name, a.id, a.sha256) for a in chosen)]
    return [
        {
            "name": name,
            "id": number,
            "sha256": sha256,
            "text": last["texts"][i],
            "tokens": last["tokens"][i],
            "tokens_per_second": last["tokens"][i] / last["seconds"] if last["seconds"] else 0.0,
            **{fact: last[fact] for fact in ("device", "dtype", "threads")},
            "batch": next(batch for batch in last["batches"] if i in batch),
        }
        for i, (name, number, sha256) in enumerate(named)
    ]
