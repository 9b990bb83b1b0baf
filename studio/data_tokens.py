"""What the Data tab may ask about rows as a base model will see them: the tokens of some rows, and the lengths of all.

The answerer, which has the tokenizer, does both. Knows nothing about how a row becomes tokens.
"""

from __future__ import annotations

from collections.abc import Callable

from adapters_store.tables import BaseModel, DataSet
from engine.settings import RunSettings, defaults_for, parse, titles
from studio.actions import NotNow
from studio.page import Studio
from studio.question import Answer, fields, whole

VIEW_DEADLINE = 90.0  # seconds; the first view has to load the tokenizer
LENGTHS_DEADLINE = 600.0  # seconds; a large set takes minutes the first time
MOST_ROWS = 50  # at once


def questions(studio: Studio) -> list[Callable[[object], Answer]]:
    """What the page may ask. Each takes one JSON object, of which nothing is believed, and answers with one."""

    def data_view(question: object) -> Answer:
        """Some rows as tokens, from row number `first` on, counted from 0."""
        asked = fields(question)
        first, count = whole(asked, "first", 0, 2**53), whole(asked, "count", 1, MOST_ROWS)
        return studio.answerer.request("view", deadline=VIEW_DEADLINE, first=first, count=count, **_of(studio, asked))

    def data_lengths(question: object) -> Answer:
        """How long all rows are in tokens, which are cut, and which are left with nothing to learn."""
        asked = fields(question)
        return studio.answerer.request("lengths", deadline=LENGTHS_DEADLINE, **_of(studio, asked))

    return [data_view, data_lengths]


def _of(studio: Studio, asked: Answer) -> Answer:
    """The base model, the rows and the settings that a question is about, as the answerer wants them."""
    base = studio.store.base_model(whole(asked, "base", 1, 2**53))
    data = studio.store.data_set(whole(asked, "id", 1, 2**53))
    paths = {"base_path": studio.store.base_path(base), "rows_path": studio.store.rows_path(data)}
    if not paths["base_path"].is_dir():
        raise NotNow(f"The files of the base model {base.name} are gone from disk.")
    if not paths["rows_path"].is_file():
        raise NotNow(f"The rows of the data set {data.name} are gone from disk. Add the file again.")
    return {
        **{name: str(path) for name, path in paths.items()},
        "settings": _settings(data, asked).model_dump(mode="json"),
    }


def _settings(data: DataSet, asked: Answer) -> RunSettings:
    """Those that a run with this set starts from, with the length, loss and template that were asked for."""
    given = {name: asked[name] for name in ("length", "loss_on", "chat_template") if asked.get(name) is not None}
    return parse({**defaults_for(data.rows).model_dump(), **given})


def choices(bases: list[BaseModel]) -> Answer:
    """What can be chosen to look through: the base models, and what carries loss; and the length to begin with."""
    return {
        "bases": [[base.id, base.name] for base in bases],
        "loss_on": [[value, title] for value, title in titles("loss_on").items()],
        "chat_template": [[value, title] for value, title in titles("chat_template").items()],
        "length": RunSettings().length,
    }
