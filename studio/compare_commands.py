"""`python -m studio compare`, `comparisons ...` and `votes ...`: ask several contestants, and what was kept of it.

A part of the command line; the edge and the exit codes are in `cli.py`. Imports neither torch nor Gradio.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studio import closer_commands
from studio.deferred import Deferred
from studio.edge import UsageError
from studio.options import PLAIN, AsJson, Commands, DataDir
from studio.terminal import plain, say, show, side_by_side, table

if TYPE_CHECKING:
    from adapters_store.comparison_tables import Comparison
    from adapters_store.store import Store
    from studio import (
        asked,
        asking,
        comparing,
        comparison_files,
        contestants,
        hearing,
        kept_grid,
        naming,
        own_settings,
        records,
        references,
        room_beside,
        scores,
        seating,
        suite_commands,
    )
    from studio.asked import Question
    from studio.contestants import Contestant
else:
    suite_commands = Deferred("studio.suite_commands")
    asking, comparing, records = Deferred("studio.asking"), Deferred("studio.comparing"), Deferred("studio.records")
    comparison_files, contestants = Deferred("studio.comparison_files"), Deferred("studio.contestants")
    scores, hearing, seating = Deferred("studio.scores"), Deferred("studio.hearing"), Deferred("studio.seating")
    asked, naming, own_settings = Deferred("studio.asked"), Deferred("studio.naming"), Deferred("studio.own_settings")
    kept_grid = Deferred("studio.kept_grid")
    room_beside, references = Deferred("studio.room_beside"), Deferred("studio.references")

WHO = "base|NAME[@STRENGTH]"
WHOM = (
    "The base; an adapter by name or number, at 0 to 2 times its strength; a checkpoint as RUN:STEP; a merged model "
    "as merged:JOB. Given again for each."
)
comparisons = Commands(help="Kept comparisons: questions and answers.", **PLAIN)
votes = Commands(help="Blind votes, and pairs to learn from.", **PLAIN)

Number = Annotated[int, typer.Argument(metavar="COMPARISON", help="Its number.", show_default=False)]


def compare(
    contestant: Annotated[list[str], typer.Option("--contestant", metavar=WHO, help=WHOM)],
    prompt: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="What all answer. Given again: the next turn of the conversation."),
    ] = None,
    suite: Annotated[
        str, typer.Option(metavar="NAME", help="In place of a prompt: all prompts of a suite. See: suites run.")
    ] = "",
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="NUMBER:SETTING=VALUE",
            help="What one contestant, by its number from 1 on, has otherwise, such as 2:temperature=0 or "
            "'1:system=Be short.'. Given again for each.",
        ),
    ] = None,
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
    stop: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="An answer ends before it. Given again for each.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(metavar="WHOLE", min=1, max=4096, help="The longest answer.")] = 200,
    samples: Annotated[
        int, typer.Option(metavar="WHOLE", min=1, max=32, help="Answers of each; each has a seed one higher.")
    ] = 1,
    seed: Annotated[
        int, typer.Option(metavar="WHOLE", min=0, max=2**31 - 1, help="The same seed draws the same answer.")
    ] = 0,
    reference: Annotated[
        str, typer.Option(metavar="TEXT", help="An answer of yours: how likely is each contestant to give it?")
    ] = "",
    device: Annotated[str, typer.Option(metavar="auto|cpu", help="cpu leaves a GPU to whoever uses it.")] = "auto",
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Have contestants answer, side by side. Models are loaded one after the other, and the comparison is kept."""
    sampling: dict[str, Any] = {"seed": seed, "temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}
    sampling |= {"top_k": top_k, "min_p": min_p, "repetition_penalty": repetition_penalty}
    sampling |= {"stop": stop} if stop else {}
    if device not in ("auto", "cpu"):
        raise UsageError(f"--device is {device}; it has to be auto or cpu.")
    if bool(prompt) == bool(suite):
        raise UsageError("Say what to answer: --prompt TEXT or --suite NAME.")
    if suite and (column or system or samples > 1):
        raise UsageError("--column, --system and --samples go with --prompt; a suite has its own system message.")
    with asking.opened(data_dir) as store:
        if suite or not prompt:
            suite_commands.answer(store, suite, contestant, sampling, False, as_json)
            return
        people = named_people(store, contestant)
        own = own_settings.read(column or [], len(people))
        question = asked.Question(people, prompt[0], sampling, system, own=own)
        question = room_beside.beside_runs(store, asked.with_samples(question, samples))
        question = replace(question, device=None if device == "auto" else device)
        kept = _ask_all(store, question, prompt[1:], reference)
    _show_all(kept, as_json)


def named_people(store: Store, texts: list[str]) -> list[Contestant]:
    """Whom the words name, the base first. UsageError if they cannot answer side by side."""
    named = [naming.one(store, text) for text in texts if text != "base"]
    if "base" in texts:
        base = named[0].base if named else asking.base_model(store, asking.STARTER)
        named = [contestants.Contestant(base, None), *named]
    unfit = contestants.problems(named)
    if unfit:
        raise UsageError(" ".join(unfit))
    return named


def _ask_all(store: Store, question: Question, more: list[str], reference: str = "") -> list[Comparison]:
    """The turns of a conversation, one after the other; the last one with how likely a reference answer is."""
    from jobs.ask import Answerer

    answerer = Answerer(store.files.log("answerer"))
    said = [contestants.bases_note(question.people), *seating.notes(question.people)]
    say(" ".join(["Loading the model and answering.", *filter(None, said)]))
    try:
        kept = [hearing.ask(store, answerer, question)]
        for prompt in more:
            turn = room_beside.beside_runs(store, comparing.onwards(store, kept[-1], prompt))
            kept.append(hearing.ask(store, answerer, replace(turn, device=question.device)))
        return [*kept[:-1], references.measure(store, answerer, kept[-1], reference) if reference else kept[-1]]
    finally:
        answerer.close()


def _show_all(turns: list[Comparison], as_json: bool) -> None:
    if len(turns) == 1:
        _show(turns[0], as_json)
        return
    text = "\n\n".join(f"{plain(kept.prompt)}\n\n{_told_text(kept)}" for kept in turns)
    show(as_json, [comparison_files.record(kept) for kept in turns], text)


def _show(kept: Comparison, as_json: bool) -> None:
    show(as_json, comparison_files.record(kept), _told_text(kept))


def _told_text(kept: Comparison) -> str:
    heads = [_head(kept, one) for one in kept.answers]
    answers = side_by_side(heads, [one.text for one in kept.answers])
    return f"{answers}\n{closer_commands.reference_text(kept)}\nComparison {kept.id}"


def _head(kept: Comparison, one: Any) -> str:
    proof = f" tensors {one.weights[:7]}" if one.weights else ""
    moved = f" KL {one.divergence:.3f}" if one.divergence is not None else ""
    flag = kept_grid.flag(kept, one)
    return f"{one.name}{proof}{moved} {one.tokens_per_second or 0:.1f} tokens/s{f' ({flag})' if flag else ''}"


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
def show_comparison(
    number: Number,
    diff: Annotated[bool, typer.Option("--diff", help="What differs between two answers, word by word.")] = False,
    between: Annotated[str, typer.Option(metavar="ONE,OTHER", help="Which two, with --diff, counted from 1.")] = "1,2",
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Show a kept comparison."""
    with asking.opened(data_dir) as store:
        kept = _told(store, number)
    if diff:
        told, text = closer_commands.difference(kept, between)
        show(as_json, {**comparison_files.record(kept), **told}, f"{text}\n\nComparison {kept.id}")
    else:
        _show(kept, as_json)


comparisons.command("judge")(closer_commands.judge_comparisons)


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
        print(comparison_files.FORMS[form](store.every_comparison(search)), end="")


@comparisons.command("replay")
def replay_comparison(number: Number, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Ask a kept comparison again, exactly as it was. It says whether the answers are the same."""
    with asking.opened(data_dir) as store:
        before = _told(store, number)
        (now,) = _ask_all(store, room_beside.beside_runs(store, comparing.again(store, before)), [])
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
        typer.Option("--contestant", metavar=WHO, help="Whose votes to count. Given again for each."),
    ],
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Say what blind votes tell. How often each contestant was chosen, and how sure that is."""
    with asking.opened(data_dir) as store:
        people = [scores.Standing(one.name, one.identity) for one in named_people(store, contestant)]
        card = scores.card(store, people)
    rows = [(row["name"], row["words"]) for row in card["rows"]]
    told = [card["fact"], table(("Contestant", "Chosen (95 % interval)"), rows) if rows else ""]
    show(as_json, card, plain("\n".join(filter(None, [*told, *card["sentences"], card["note"]]))))


@votes.command("export")
def export_votes(data_dir: DataDir = None) -> None:
    """Print votes as preference pairs. JSONL with prompt, chosen, rejected; the best answer with each of the others."""
    with asking.opened(data_dir) as store:
        print(comparison_files.pairs(store, store.every_comparison()), end="")
