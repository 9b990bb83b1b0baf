"""Nothing tells who is who before the vote: all that a page can be told is the same, whoever said which of the texts.

Eight columns of every kind answer the same texts in the same places in two libraries; only who stands behind which text
differs. Whatever differed in what is told would be a leak, by whatever way: a name, a number, an order, a hash.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from adapters_store.comparison_tables import Comparison
from adapters_store.store import Store
from adapters_store.tables import Owner
from studio import answer_grid, answering, closer, comparing, comparison_files, past_comparisons, seating
from studio.asked import Own, Question
from studio.contestants import Contestant, find
from studio.page import Studio, problems_of
from tests.furnish import add_adapter, furnish

TEXTS = [f"Answer of {word}, said at length." for word in ("rain", "snow", "hail", "fog", "dew", "ice", "wind", "sun")]
SAMPLING = {"seed": 7, "temperature": 0.7, "top_p": 0.95, "max_tokens": 50}
OWN = [
    Own(),
    Own(None, {"temperature": 0.0}),
    Own("Be short."),
    Own(),
    Own(),
    Own(None, {"max_tokens": 9}),
    Own(),
    Own(None, {}, 1),
]


def people_of(store: Store, folder: Path) -> list[Contestant]:
    """The base twice, adapters at two strengths, a checkpoint and a merged model; in the order they were chosen."""
    base, data = furnish(store)
    one, two = (add_adapter(store, base, data, name, sha256=f"sha256:{name}") for name in ("pirate", "terse"))
    job = store.submit("train", "long", {"rank": 4}, base_model_id=base.id, data_set_id=data.id)
    with store.files.draft("checkpoints") as draft:
        (draft.path / "checkpoint.json").write_text("{}")
        published = draft.publish()
    token = store.claim(job.id, Owner(1, 2.0, "boot")).token
    store.add_checkpoint(job.id, token, step=40, folder=published)
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    export = store.submit("export", "whole", {"adapter_id": one.id, "folder": str(folder)}, base_model_id=base.id)
    token = store.claim(export.id, Owner(1, 2.0, "boot")).token
    for state in ("running", "finishing", "completed"):
        store.move(export.id, state, who="worker", token=token)
    values = [f"base-{base.id}", f"base-{base.id}#2", f"adapter-{one.id}", f"adapter-{one.id}@0.5", f"adapter-{two.id}"]
    values += ["checkpoint-1", f"merged-{export.id}", f"adapter-{two.id}#2"]
    found = [find(store, value) for value in values]
    assert all(found)
    return [one for one in found if one]


class Answering:
    """Stands for the answerer: those further left in the choice are faster, have moved less, and other hashes."""

    def __init__(self, places: list[list[int]], texts: list[str]) -> None:
        self._places, self._texts, self._sitting = places, texts, -1

    def stream(self, kind: str, **asked: Any) -> Iterator[dict[str, Any]]:
        self._sitting += 1
        places = self._places[self._sitting]
        facts = {"device": "cpu", "dtype": "float32", "threads": 1, "batches": [list(range(len(places)))]}
        for at in range(0, 40, 4):
            said = [self._texts[place][: at // (1 + place % 3)] for place in places]
            yield facts | self._so_far(places, said, seconds=0.1 * at, ended=False)
        yield facts | self._so_far(places, [self._texts[place] for place in places], seconds=9.0, ended=True)

    def _so_far(self, places: list[int], texts: list[str], seconds: float, ended: bool) -> dict[str, Any]:
        # The fog goes on where all others have ended.
        finished = [ended and "fog" not in text for text in texts]
        ids = [[place] for place in places] if ended else []
        return {"texts": texts, "tokens": [9 + place for place in places], "finished": finished} | {
            "seconds": seconds,
            "ids": ids,
        }

    def request_in_spare_time(self, kind: str, **asked: Any) -> dict[str, Any]:
        places = self._places[self._sitting]
        return {
            "weights": [f"{place}aa" for place in places],
            "divergences": [0.0001 * place for place in places],
            "templates": [f"{place}cc" for place in places],
            "along": [[["Answer", -1.0, -2.0 - place]] for place in places],
        }


def asked_blindly(root: Path, sides: int) -> tuple[Store, list[str], Comparison]:
    """All that is told of a question whose columns say TEXTS from left to right, in the order in which it is told."""
    store = Store(root / "data", clock=lambda: 1_700_000_000.0)
    people = people_of(store, root / "whole")
    places = comparing.order(8, sides)
    said = [TEXTS[places.index(place)] for place in range(8)]
    told: Any = Answering([one.places for one in seating.sittings(store, people)], said)
    studio = Studio(store, told, root)
    question = Question(people, "What is it?", SAMPLING, sides=sides, own=OWN)
    seen = [json.dumps(answering.waiting(question))]
    seen += [json.dumps(grid) for grid in answering.answers(studio, question)]
    seen.append(json.dumps(answer_grid.ended(json.loads(seen[0]), "Stopped.")))
    (kept,) = store.comparisons()
    seen += list(_asked_of(store, told, kept))
    return store, seen, kept


def _asked_of(store: Store, told: Any, kept: Comparison) -> Iterator[str]:
    """What each thing that a page may ask, and each file, tells of a kept comparison."""
    questions = [*past_comparisons.questions(store), *closer.questions(store, told)]
    ask = {fn.__name__: fn for fn in questions if fn.__name__ != "compare_vote"}
    more = [("compare_past", {"search": words}) for words in ("", "pirate", "fog", "pirate fog", "aa", "temperature 0")]
    more += [("closer_reference", {"text": "Wet."}), ("closer_judge", {"judge": "adapter-1"})]
    more += [("closer_difference", {"one": 0, "other": 1})]
    for name, question in [*((name, {}) for name in ask), *more]:
        yield _outcome(ask[name], {"id": kept.id, **question})
    yield from (form([kept]) for form in comparison_files.FORMS.values())
    yield comparison_files.pairs(store, [kept])
    yield _outcome(lambda one: comparing.again(store, one).prompt, kept)


def _outcome(ask: Callable[[Any], object], question: Any) -> str:
    try:
        return json.dumps(ask(question))
    except Exception as error:
        return f"refused: {problems_of(error)}"


def test_all_that_is_told_before_the_vote_is_the_same_whoever_said_what(tmp_path: Path) -> None:
    told = []
    for sides in (3, 11):
        (root := tmp_path / str(sides)).mkdir()
        store, seen, kept = asked_blindly(root, sides)
        told.append(seen)
        assert (kept.is_secret, len(kept.answers)) == (True, 8)
        assert all(answer.weights for answer in kept.answers)  # proven, and not told
        after = store.vote(kept.id, "tie")
        assert "pirate@0.5" in comparison_files.markdown([after])
        store.close()
    one, other = told
    assert comparing.order(8, 3) != comparing.order(8, 11)
    assert any("8 answers ready. Cut: D." in text for text in one)
    assert [text for text, same in zip(one, other, strict=True) if text != same] == []


def test_no_name_hash_or_figure_is_in_what_is_shown_of_the_columns(tmp_path: Path) -> None:
    store, seen, _ = asked_blindly(tmp_path, 3)
    store.close()
    shown = [text for text in seen if text.startswith(('{"state"', '{"grid"'))]
    assert len(shown) > 3
    for secret in ("pirate", "terse", "long at", "sha256", "aa", "cc", "tokens/s", "KL ", "Seed", "temperature"):
        grids = [json.loads(text).get("grid", json.loads(text)) for text in shown]
        assert [grid for grid in grids if secret in json.dumps(grid)] == [], secret
