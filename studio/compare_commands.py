"""`python -m studio compare`, `comparisons ...` and `votes ...`: ask several contestants, and what was kept of it.

A part of the command line; the edge and the exit codes are in `cli.py`. Imports neither torch nor Gradio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from studio.deferred import Deferred
from studio.edge import UsageError
from studio.options import PLAIN, AsJson, Commands, DataDir
from studio.terminal import plain, say, show, side_by_side, table

if TYPE_CHECKING:
    from adapters_store.comparison_tables import Comparison
    from adapters_store.store import Store
    from studio import asking, comparing, comparison_files, contestants, records, scores
    from studio.comparing import Question
    from studio.contestants import Contestant
else:
    asking, comparing, records = Deferred("studio.asking"), Deferred("studio.comparing"), Deferred("studio.records")
    comparison_files, contestants = Deferred("studio.comparison_files"), Deferred("studio.contestants")
    scores = Deferred("studio.scores")

comparisons = Commands(help="Kept comparisons: questions and answers.", **PLAIN)
votes = Commands(help="Blind votes, and pairs to learn from.", **PLAIN)

MOST_EXPORTED = 1000
Number = Annotated[int, typer.Argument(metavar="COMPARISON", help="Its number.", show_default=False)]


def compare(
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="What all of them answer.", show_default=False)],
    contestant: Annotated[
        list[str],
        typer.Option(
            "--contestant",
            metavar="base|NAME[@STRENGTH]",
            help="The base, or an adapter by name or number, at 0 to 2 times its strength. Given again for each.",
        ),
    ],
    system: Annotated[str, typer.Option(metavar="TEXT", help="A system message before the prompt.")] = "",
    temperature: Annotated[
        float, typer.Option(metavar="NUMBER", min=0, max=2, help="How freely words are drawn; 0 is greedy.")
    ] = 0.7,
    top_p: Annotated[
        float, typer.Option(metavar="NUMBER", min=0.01, max=1, help="Share of the likeliest words to draw from.")
    ] = 0.95,
    top_k: Annotated[
        int, typer.Option(metavar="WHOLE", min=0, max=100_000, help="Draw from so many of the likeliest; 0 from all.")
    ] = 0,
    min_p: Annotated[
        float, typer.Option(metavar="NUMBER", min=0, max=1, help="Draw from tokens this likely beside the likeliest.")
    ] = 0.0,
    repetition_penalty: Annotated[
        float, typer.Option(metavar="NUMBER", min=1, max=2, help="Above 1 makes tokens that stand already less likely.")
    ] = 1.0,
    max_tokens: Annotated[int, typer.Option(metavar="WHOLE", min=1, max=4096, help="The longest answer.")] = 200,
    seed: Annotated[
        int, typer.Option(metavar="WHOLE", min=0, max=2**31 - 1, help="The same seed draws the same answer.")
    ] = 0,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Have contestants answer one prompt, side by side. They share a base model, and the comparison is kept."""
    sampling = {"seed": seed, "temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}
    narrowing = {"top_k": top_k, "min_p": min_p, "repetition_penalty": repetition_penalty}
    with asking.opened(data_dir) as store:
        people = _people(store, contestant)
        threads = asking.threads_beside_a_run(store)
        kept = _ask(store, comparing.Question(people, prompt, sampling | narrowing, system, threads=threads))
    _show(kept, as_json)


def _people(store: Store, texts: list[str]) -> list[Contestant]:
    """Whom the words name, the base first. UsageError if they cannot answer side by side."""
    named = [_one(store, text) for text in texts if text != "base"]
    if "base" in texts:
        base = named[0].base if named else asking.base_model(store, asking.STARTER)
        named = [contestants.Contestant(base, None), *named]
    unfit = contestants.problems(named)
    if unfit:
        raise UsageError(" ".join(unfit))
    return named


def _one(store: Store, text: str) -> Contestant:
    name, at, strength = text.rpartition("@")
    if not at or not _is_number(strength):
        name, strength = text, "1"
    if not 0 <= float(strength) <= contestants.STRONGEST:
        raise UsageError(f"{text}: the strength is {strength}; it has to be from 0 to {contestants.STRONGEST:g}.")
    found = asking.adapter(store, name)
    return contestants.Contestant(found.base_model, found, float(strength))


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()


def _ask(store: Store, question: Question) -> Comparison:
    from jobs.ask import Answerer

    answerer = Answerer(store.files.log("answerer"))
    say(f"Loading the model and answering. {contestants.precision_note(question.adapters)}".strip())
    try:
        return comparing.ask(store, answerer, question)
    finally:
        answerer.close()


def _show(kept: Comparison, as_json: bool) -> None:
    heads = [_head(kept, one) for one in kept.answers]
    text = side_by_side(heads, [one.text for one in kept.answers])
    show(as_json, comparison_files.record(kept), f"{text}\n\nComparison {kept.id}")


def _head(kept: Comparison, one: Any) -> str:
    proof = f" tensors {one.weights[:7]}" if one.weights else ""
    moved = f" KL {one.divergence:.3f}" if one.divergence is not None else ""
    return f"{one.name}{proof}{moved} {one.tokens_per_second or 0:.1f} tokens/s"


# --- what was kept ------------------------------------------------------------------------------------------------


@comparisons.command("list")
def list_comparisons(
    search: Annotated[str, typer.Option(metavar="WORDS", help="Words in prompts, names or answers.")] = "",
    limit: Annotated[int, typer.Option(metavar="WHOLE", min=1, max=1000, help="How many, the newest first.")] = 50,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """List kept comparisons, the newest first. Blind ones that wait for their vote are left out."""
    with asking.opened(data_dir) as store:
        found = comparison_files.told(store.comparisons(search=search, limit=limit))
    rows = [(one.id, records.when(one.created_at), one.prompt, ", ".join(a.name for a in one.answers)) for one in found]
    text = table(("Comparison", "When", "Prompt", "Contestants"), rows) if rows else "No comparisons yet."
    show(as_json, [comparison_files.record(one) for one in found], text)


@comparisons.command("show")
def show_comparison(number: Number, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show a kept comparison."""
    with asking.opened(data_dir) as store:
        kept = _told(store, number)
    _show(kept, as_json)


@comparisons.command("export")
def export_comparisons(
    form: Annotated[str, typer.Option("--form", metavar="jsonl|csv|md", help="Which kind of file.")] = "jsonl",
    search: Annotated[str, typer.Option(metavar="WORDS", help="Words in prompts, names or answers.")] = "",
    data_dir: DataDir = None,
) -> None:
    """Print kept comparisons as JSONL, CSV or Markdown. Blind ones that wait for their vote are left out."""
    if form not in comparison_files.FORMS:
        raise UsageError(f"--form is {form}; it has to be one of {', '.join(comparison_files.FORMS)}.")
    with asking.opened(data_dir) as store:
        found = store.comparisons(search=search, limit=MOST_EXPORTED)
    print(comparison_files.FORMS[form](found), end="")


@comparisons.command("replay")
def replay_comparison(number: Number, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Ask a kept comparison again, exactly as it was. It says whether the answers are the same."""
    with asking.opened(data_dir) as store:
        before = _told(store, number)
        now = _ask(store, comparing.again(store, before))
    say(comparing.differences(before, now))
    _show(now, as_json)


def _told(store: Store, number: int) -> Comparison:
    kept = store.comparison(number)
    if kept.is_secret:
        raise UsageError(f"Comparison {number} is blind and waits for its vote on the page. Then its names are told.")
    return kept


# --- votes --------------------------------------------------------------------------------------------------------


@votes.command("list")
def list_votes(
    contestant: Annotated[
        list[str],
        typer.Option(
            "--contestant", metavar="base|NAME[@STRENGTH]", help="Whose votes to count. Given again for each."
        ),
    ],
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Say what blind votes tell. How often each contestant was chosen, and how sure that is."""
    with asking.opened(data_dir) as store:
        people = [scores.Standing(one.name, one.identity) for one in _people(store, contestant)]
        card = scores.card(store, people)
    rows = [(row["name"], row["words"]) for row in card["rows"]]
    told = [card["fact"], table(("Contestant", "Chosen (95 % interval)"), rows) if rows else ""]
    show(as_json, card, plain("\n".join(filter(None, [*told, *card["sentences"], card["note"]]))))


@votes.command("export")
def export_votes(data_dir: DataDir = None) -> None:
    """Print votes as preference pairs. JSONL with prompt, chosen, rejected; the best answer with each of the others."""
    with asking.opened(data_dir) as store:
        found = store.comparisons(limit=MOST_EXPORTED)
    print(comparison_files.pairs(found), end="")
