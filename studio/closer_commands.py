"""`comparisons judge`, and the parts of `compare` and `comparisons show` that look closer at answers.

A part of the command line; the edge and the exit codes are in `cli.py`. Imports neither torch nor Gradio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from studio.deferred import Deferred
from studio.edge import CommandFailed, UsageError
from studio.options import AsJson, DataDir
from studio.terminal import plain, say, show, side_by_side, table

if TYPE_CHECKING:
    from adapters_store.comparison_tables import Comparison
    from adapters_store.store import Store
    from studio import asking, contestants, judging, naming, references, word_diff
    from studio.contestants import Contestant
else:
    asking, contestants, naming = Deferred("studio.asking"), Deferred("studio.contestants"), Deferred("studio.naming")
    judging, references = Deferred("studio.judging"), Deferred("studio.references")
    word_diff = Deferred("studio.word_diff")

MOST_JUDGED = 1000


def columns_of(kept: Comparison, between: str) -> tuple[int, int]:
    """The two places that `1,3` names, counted from 1. UsageError if it names none."""
    parts = [part.strip() for part in between.split(",")]
    count = len(kept.answers)
    numbers = [int(part) for part in parts if part.isdecimal() and 1 <= int(part) <= count]
    if len(parts) != 2 or len(set(numbers)) != 2:
        raise UsageError(f"--between is {between}; it has to be two different columns from 1 to {count}, such as 1,2.")
    return numbers[0] - 1, numbers[1] - 1


def difference(kept: Comparison, between: str) -> tuple[dict[str, Any], str]:
    """What differs between two answers, as a record and as text: [-gone-] and {+new+}."""
    one, other = (kept.answers[place] for place in columns_of(kept, between))
    spans = word_diff.differences(one.text, other.text)
    text = side_by_side([one.name, other.name], word_diff.in_plain_text(spans))
    return {"between": [one.name, other.name], "differences": [one._asdict() for one in spans]}, text


def reference_text(kept: Comparison) -> str:
    """How likely each contestant is to give the reference; nothing where none was measured."""
    found = references.rows(kept)
    if not found or kept.reference is None:
        return ""
    heads = ("Reference answer", "In all", "Per token", "Perplexity")
    lines = table(heads, [(row["name"], *references.said(row)) for row in found])
    return plain("\n".join(filter(None, ["", lines, references.sentence(kept)])))


def judge_comparisons(
    judge: Annotated[
        str, typer.Option("--judge", metavar="base|NAME", help="Who judges: an adapter by name or number, or the base.")
    ],
    number: Annotated[
        list[int] | None,
        typer.Argument(
            metavar="COMPARISON", help="Their numbers; none for all it has yet to judge.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Have a model of the library judge answers. Both ways round; it says how far the judge agrees with your votes."""
    with asking.opened(data_dir) as store:
        who = naming.one(store, judge) if judge != "base" else _the_base(store)
        read = _judged(store, who, [store.comparison(one) for one in number or []])
        told = judging.record(store.verdicts(judge=who.identity))
    sentences = judging.sentences(who.name, told)
    lines = table(("Comparison", "Pair", "Better"), [(row["comparison"], row["pair"], row["said"]) for row in read])
    record = {"judge": who.name, "verdicts": read, **told._asdict(), "sentences": sentences}
    show(as_json, record, plain("\n".join([lines, "", *sentences])))


def _the_base(store: Store) -> Contestant:
    return contestants.Contestant(asking.base_model(store, asking.STARTER), None)


def _judged(store: Store, who: Contestant, named: list[Comparison]) -> list[dict[str, Any]]:
    from jobs.ask import Answerer, AnswererError

    for kept in named:
        if why := judging.refusal(kept):
            raise UsageError(why)
    chosen = named or _yet_to_judge(store, who)
    answerer, read, failed = Answerer(store.files.log("answerer")), [], ""
    try:
        for at, kept in enumerate(chosen, 1):
            say(f"{who.name} reads comparison {kept.id}, {at} of {len(chosen)}.")
            try:
                verdicts = judging.judge(store, answerer, kept, who)
            except AnswererError as error:  # one that is too long for the judge does not keep it from the others
                failed = f"Comparison {kept.id} was not judged. {error}"
                say(failed)
                continue
            read += [{"comparison": kept.id, **judging.verdict_row(kept, one)} for one in verdicts]
    finally:
        answerer.close()
    if failed and not read:
        raise CommandFailed(failed)
    return read


def _yet_to_judge(store: Store, who: Contestant) -> list[Comparison]:
    done = {one.verdict.comparison_id for one in store.verdicts(judge=who.identity)}
    can_be = [kept for kept in store.comparisons(limit=MOST_JUDGED)[::-1] if not judging.refusal(kept)]
    if not can_be:
        raise UsageError("There is no comparison with two different answers and its names told. Compare first.")
    return [kept for kept in can_be if kept.id not in done]
