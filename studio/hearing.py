"""The answers to a question as they come, model by model: what the answerer is asked, and what is kept of it.

Serves the page and the command line. Knows nothing about widgets or about how an answer is shown.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

from adapters_store.comparison_tables import Comparison
from adapters_store.store import Store
from jobs.ask import Answerer, AnswererError
from studio import seating
from studio.answer_grid import Pace
from studio.asked import Question
from studio.contestants import precision_of
from studio.seating import Sitting

DEADLINE = 900  # seconds for the answers; a large model on a slow disk takes its time to load
PROOF_SECONDS = 300  # a proof that takes longer is left out
FACTS = ("device", "dtype", "threads", "seconds")

Snapshot = Mapping[str, Any]


def sittings(store: Store, question: Question) -> list[Sitting]:
    """Who answers what, on which base and in which numbers, as the answerer is told: one sitting a base."""
    common = {
        "threads": question.threads,
        "device": question.device,
        "run": question.run,
        "spare_bytes": question.spare,
    }
    return [
        replace(one, payload={**one.payload, **common, "seats": _seats(question, one)})
        for one in seating.sittings(store, question.people)
    ]


def _seats(question: Question, sitting: Sitting) -> list[dict[str, Any]]:
    return [
        {**seat, "messages": question.messages_of(place), "sampling": question.sampling_of(place)}
        for place, seat in zip(sitting.places, sitting.payload["seats"], strict=True)
    ]


class Hearing:
    """The answers of one question as they come, sitting by sitting.

    Attributes:
        snapshot: all columns so far, as one snapshot of the answerer; None before the first token.
        rates: tokens per second of each column.
        ended: "complete", or what else became of it.
    """

    def __init__(self, store: Store, answerer: Answerer, question: Question) -> None:
        self._store, self._answerer, self.question = store, answerer, question
        self.sittings = sittings(store, question)
        self._last: list[Snapshot | None] = [None] * len(self.sittings)
        self._paces = [Pace(len(one.places)) for one in self.sittings]
        self._proofs: list[Mapping[str, Any] | None] = [None] * len(self.sittings)
        self.rates: list[float | None] = [None] * len(question.people)
        self.ended = "stopped"

    @property
    def snapshot(self) -> dict[str, Any] | None:
        """See above."""
        return _joined(self.sittings, self._last, len(self.question.people))

    def listen(self) -> Generator[int]:
        """Have all sittings answer; gives the number of the sitting with each token. Closing it stops the answerer.

        The model of a sitting goes when the next one comes, so all but the last are proven on the way.

        Raises:
            AnswererError: the answers broke off.
        """
        for number, sitting in enumerate(self.sittings):
            asked = {**sitting.payload, "keep_base": True}
            with closing(self._answerer.stream("compare", deadline=DEADLINE, **asked)) as snapshots:
                for last in snapshots:
                    self._last[number] = last
                    for place, rate in zip(sitting.places, self._paces[number].after(last), strict=True):
                        self.rates[place] = rate
                    yield number
            if number < len(self.sittings) - 1:
                with suppress(AnswererError):  # said with the last one
                    self._prove(number)
        self.ended = "complete"

    def keep(self) -> Comparison:
        """Save what was asked and answered so far."""
        snapshot, question = self.snapshot, self.question
        assert snapshot is not None
        return self._store.add_comparison(
            base=question.people[0].base,
            answers=[_row(question, snapshot, place, rate) for place, rate in enumerate(self.rates)],
            follows=question.follows,
            prompt=question.prompt,
            system=question.system,
            precision=precision_of(question.people),
            sampling=dict(question.sampling),
            how={fact: snapshot[fact] for fact in (*FACTS, "batches")},
            sides=question.sides,
            ended=self.ended,
        )

    def prove(self, kept: Comparison) -> Comparison:
        """Have what is not proven yet proven, and save it with the answers.

        Raises:
            AnswererError: no proof in time; the comparison stays as it is.
        """
        self._prove(len(self.sittings) - 1)
        weights: list[str | None] = [None] * len(kept.answers)
        moved: list[float | None] = [None] * len(kept.answers)
        along: list[Any] = [None] * len(kept.answers)
        templates: list[str | None] = [None] * len(kept.answers)
        for sitting, proof in zip(self.sittings, self._proofs, strict=True):
            if proof is None:
                raise AnswererError("One of the models could not be asked for its proof any more.")
            for at, place in enumerate(sitting.places):
                weights[place], moved[place] = proof["weights"][at], proof["divergences"][at]
                templates[place], along[place] = proof["templates"][at], proof["along"][at]
        by_place = {str(place): hashed for place, hashed in enumerate(templates)}
        how = {"template": templates[0]} if len(set(templates)) == 1 else {"templates": by_place}
        self._store.keep_along(kept.id, along)
        return self._store.prove(kept.id, weights, moved, **how)

    def _prove(self, number: int) -> None:
        last = self._last[number]
        assert last is not None
        payload = self.sittings[number].payload
        ask = self._answerer.request_in_spare_time  # so that nobody waits for it with a question
        self._proofs[number] = ask("proof", deadline=PROOF_SECONDS, ids=last["ids"], **payload)


def _joined(all_sittings: Sequence[Sitting], last: Sequence[Snapshot | None], count: int) -> dict[str, Any] | None:
    """The snapshots of all sittings as one of all columns; None before the first. Batches are by column."""
    there = [(one, snapshot) for one, snapshot in zip(all_sittings, last, strict=True) if snapshot is not None]
    if not there:
        return None
    empty = {"texts": "", "tokens": 0, "finished": False, "ids": []}
    joined: dict[str, Any] = {name: [nothing] * count for name, nothing in empty.items()}
    for sitting, snapshot in there:
        for at, place in enumerate(sitting.places):
            for name in ("texts", "tokens", "finished", *(["ids"] if snapshot["ids"] else [])):
                joined[name][place] = snapshot[name][at]
    batches = [[sitting.places[at] for at in batch] for sitting, snapshot in there for batch in snapshot["batches"]]
    batches += [[place] for sitting in all_sittings[len(there) :] for place in sitting.places]
    newest = there[-1][1]
    seconds = sum(float(snapshot["seconds"]) for _, snapshot in there)
    return {**{fact: newest[fact] for fact in FACTS}, "seconds": seconds, "batches": batches, **joined}


def _row(question: Question, snapshot: Snapshot, place: int, rate: float | None) -> dict[str, Any]:
    one, own = question.people[place], question.own_of(place)
    return {
        "name": question.name_of(place),
        "adapter_id": one.adapter.id if one.adapter else None,
        "strength": one.strength,
        "identity": question.identity_of(place),
        "text": snapshot["texts"][place],
        "tokens": snapshot["tokens"][place],
        "finished": snapshot["finished"][place],
        "tokens_per_second": rate,
        "seat": {
            "value": one.value,
            "base": one.base.name,
            "base_fingerprint": one.base.fingerprint,
            "system": own.system,
            "sampling": dict(own.sampling),
            "sample": own.sample,
        },
    }


def ask(store: Store, answerer: Answerer, question: Question) -> Comparison:
    """Have a question answered, keep it, and prove it.

    Raises:
        AnswererError: no answer.
    """
    hearing = Hearing(store, answerer, question)
    for _ in hearing.listen():
        pass
    return hearing.prove(hearing.keep())
