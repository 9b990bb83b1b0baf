"""`python -m studio suites ...`: prompts that are kept to be asked again, their runs, and what changed since.

A part of the command line; the edge and the exit codes are in `cli.py`. Imports neither torch nor Gradio.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studio.compare_commands import WHO, WHOM, named_people
from studio.deferred import Deferred
from studio.edge import UsageError
from studio.options import PLAIN, AsJson, Commands, DataDir, Detach
from studio.terminal import plain, show, table

if TYPE_CHECKING:
    from adapters_store.store import Store
    from adapters_store.suite_tables import Suite
    from engine.data import check as rows_of
    from engine.suites import prompts as asked
    from engine.suites.prompts import Prompt
    from studio import asking, contestants, naming, records, suite_changes, suite_files, suite_results, suites
    from studio import suite_outcome as outcome
else:
    asking, records, suites = Deferred("studio.asking"), Deferred("studio.records"), Deferred("studio.suites")
    suite_changes, suite_files = Deferred("studio.suite_changes"), Deferred("studio.suite_files")
    suite_results, rows_of = Deferred("studio.suite_results"), Deferred("engine.data.check")
    asked, outcome = Deferred("engine.suites.prompts"), Deferred("studio.suite_outcome")
    naming, contestants = Deferred("studio.naming"), Deferred("studio.contestants")

commands = Commands(help="Prompts that are kept to be asked again.", **PLAIN)

SCORE_HELP = "exact, contains, json_valid, json_equal, regex, rouge_l, chrf or perplexity"
SHORT = 70  # characters of a prompt in a table
Judge = Annotated[
    str,
    typer.Option("--judge", metavar="base|NAME", help="Who reads the answers, both ways round."),
]
Against = Annotated[str, typer.Option("--against", metavar="NAME", help="Whom the judge holds the others against.")]
Which = Annotated[str, typer.Argument(metavar="NAME_OR_NUMBER", help="Its name or its number.", show_default=False)]
RunNumber = Annotated[int, typer.Argument(metavar="RUN", help="Its number.", show_default=False)]


@commands.command("list")
def list_suites(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List the suites, the newest first."""
    with asking.opened(data_dir) as store:
        found = [record(one) for one in store.suites()]
    rows = [(one["id"], one["name"], one["prompts"], ", ".join(one["scores"]), one["source"]) for one in found]
    show(as_json, found, table(("Suite", "Name", "Prompts", "Scores", "From"), rows) if rows else "No suites yet.")


@commands.command("add")
def add_suite(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.", show_default=False)],
    prompt: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="One prompt. Given again for each.", show_default=False)
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Rows as for training: the last answer of each is its reference."),
    ] = None,
    data: Annotated[str, typer.Option(metavar="DATA", help="All rows of a data set, by name or number.")] = "",
    held_out: Annotated[
        int | None, typer.Option("--held-out", metavar="JOB", help="The rows this run set aside to measure on.")
    ] = None,
    system: Annotated[str, typer.Option(metavar="TEXT", help="A system message before prompts without one.")] = "",
    score: Annotated[
        list[str] | None,
        typer.Option(metavar="SCORE", help=f"{SCORE_HELP}. Given again for each; by default what fits the references."),
    ] = None,
    pattern: Annotated[
        str,
        typer.Option(
            metavar="REGEX", help="For the score regex; the word reference in braces is the reference itself."
        ),
    ] = "",
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Keep prompts as a suite. They come typed, from a file, from a data set or from the held-out rows of a run."""
    with asking.opened(data_dir) as store:
        prompts, source = _prompts(store, prompt or [], file, data, held_out)
        made = suites.make(store, name, prompts, source=source, system=system, score=score, pattern=pattern)
    by = f", scored by {', '.join(made.scores)}" if made.scores else ""
    show(as_json, record(made), f"Suite {made.id}: {plain(made.name)}, {_prompts_in_words(made.prompt_count)}{by}.")


@commands.command("show")
def show_suite(which: Which, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show a suite. Its prompts and its runs."""
    with asking.opened(data_dir) as store:
        suite = find(store, which)
        prompts = store.suite_prompts(suite.id)
        runs = [suite_results.summary(store, run) for run in store.suite_runs(suite.id)]
    told = {
        **record(suite),
        "all_prompts": [{"messages": one.messages, "reference": one.reference} for one in prompts],
        "runs": runs,
    }
    facts = [f"{key:<9}{value}" for key, value in record(suite).items() if value not in (None, "", [])]
    rows = [(one.place + 1, _short(suite_changes.question(one)), _short(one.reference or "")) for one in prompts]
    parts = [plain("\n".join(facts)), table(("", "Prompt", "Reference"), rows)]
    ran = [(one["id"], one["at"], ", ".join(one["names"]), one["says"]) for one in runs]
    show(as_json, told, "\n\n".join([*parts, *([table(("Run", "When", "Contestants", ""), ran)] if ran else [])]))


@commands.command("run")
def run_suite(
    which: Which,
    contestant: Annotated[list[str], typer.Option("--contestant", metavar=WHO, help=WHOM)],
    temperature: Annotated[
        float, typer.Option(metavar="NUMBER", min=0, max=2, help="How freely words are drawn; 0 is greedy.")
    ] = 0.0,
    max_tokens: Annotated[int, typer.Option(metavar="WHOLE", min=1, max=4096, help="The longest answer.")] = 200,
    seed: Annotated[
        int, typer.Option(metavar="WHOLE", min=0, max=2**31 - 1, help="The same seed draws the same answer.")
    ] = 0,
    judge: Judge = "",
    against: Against = "",
    detach: Detach = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Have contestants answer a suite. They are scored, also by a judge where one is named; the answers are kept."""
    sampling = {"seed": seed, "temperature": temperature, "top_p": 0.95, "max_tokens": max_tokens}
    with asking.opened(data_dir) as store:
        if not judge:
            answer(store, which, contestant, sampling, detach, as_json)
            return
        people = named_people(store, contestant)
        chosen = (_judge(people[0], store, judge), _place(against, [one.name for one in people]))
        outcome.see_through(store, suites.start(store, find(store, which), people, sampling, *chosen), detach, as_json)


@commands.command("judge")
def judge_run(
    number: RunNumber,
    judge: Judge,
    against: Against = "",
    detach: Detach = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Have a model of the library judge a run's answers. Each beside that of one contestant, the first by default."""
    with asking.opened(data_dir) as store:
        run = store.suite_run(number)
        place = _place(against, [person["name"] for person in run.people])
        base = contestants.Contestant(store.base_model(run.people[0]["base_model_id"]), None)
        outcome.see_through(store, suites.have_judged(store, run, _judge(base, store, judge), place), detach, as_json)


@commands.command("continue")
def continue_run(
    number: RunNumber,
    detach: Detach = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Go on with a run that was broken off. What was answered stays."""
    with asking.opened(data_dir) as store:
        outcome.see_through(store, suites.go_on(store, store.suite_run(number)), detach, as_json)


@commands.command("results")
def show_results(number: RunNumber, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show what a run tells. Scores with intervals, and who is better."""
    with asking.opened(data_dir) as store:
        outcome.show_result(store, store.suite_run(number), as_json)


@commands.command("changed")
def show_changed(
    number: RunNumber,
    against: Annotated[int, typer.Option(metavar="RUN", help="The earlier run over the same suite.")],
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Show the answers that differ from an earlier run. Words in [-...-] are gone, those in braces with + are new."""
    with asking.opened(data_dir) as store:
        told = suite_changes.changes(store, store.suite_run(number), store.suite_run(against))
    names = {pair["place"]: pair["name"] for pair in told["pairs"]}
    parts = [
        f"Prompt {one['number']}, {names[one['place']]}: {one['prompt']}\n{''.join(map(_marked, one['diff']))}\n"
        for one in told["rows"]
    ]
    show(as_json, told, plain("\n".join([*parts, told["says"]])))


@commands.command("export")
def export_run(
    number: RunNumber,
    form: Annotated[str, typer.Option("--form", metavar="jsonl|csv|md", help="Which kind of file.")] = "jsonl",
    data_dir: DataDir = None,
) -> None:
    """Print a run's answers as JSONL, CSV or Markdown."""
    if form not in suite_files.FORMS:
        raise UsageError(f"--form is {form}; it has to be one of {', '.join(suite_files.FORMS)}.")
    with asking.opened(data_dir) as store:
        print(suite_files.FORMS[form](store, store.suite_run(number)), end="")


@commands.command("delete")
def delete_suite(which: Which, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Delete a suite. Its runs can still be read by their numbers."""
    with asking.opened(data_dir) as store:
        gone = store.delete_suite(find(store, which).id)
    show(as_json, record(gone), f"Deleted {plain(gone.name)}.")


# --- also for `compare --suite` -----------------------------------------------------------------------------------


def answer(store: Store, which: str, names: list[str], sampling: dict[str, Any], detach: bool, as_json: bool) -> None:
    """Have those named answer a suite, and show what came of it."""
    outcome.see_through(
        store, suites.start(store, find(store, which), named_people(store, names), sampling), detach, as_json
    )


def find(store: Store, text: str) -> Suite:
    """The suite with this name or number. UsageError if there is none."""
    known = store.suites()
    found = [one for one in known if one.name.lower() == text.lower()] or [one for one in known if str(one.id) == text]
    if not found:
        raise UsageError(f"There is no suite {text}. See: python -m studio suites list")
    return found[0]


def record(suite: Suite) -> dict[str, Any]:
    """A suite without its prompts."""
    kept = ("id", "name", "source", "system", "scores", "pattern")
    named = {name: getattr(suite, name) for name in kept}
    return {**named, "prompts": suite.prompt_count, "made": records.when(suite.created_at)}


def _judge(beside: contestants.Contestant, store: Store, text: str) -> contestants.Contestant:
    """Who is named as judge; the base is that of the contestants."""
    return contestants.Contestant(beside.base, None) if text == "base" else naming.one(store, text)


def _place(name: str, names: list[str]) -> int:
    """The place of whom the others are held against; the first if none is named. UsageError if nobody is called so."""
    if name and name not in names:
        raise UsageError(f"--against is {name}; it has to be one of {', '.join(names)}.")
    return names.index(name) if name else 0


def _prompts(
    store: Store, typed: list[str], file: Path | None, data: str, held_out: int | None
) -> tuple[list[Prompt], str]:
    """The prompts, and where they come from in words. UsageError unless they come from one place."""
    given = [bool(typed), file is not None, bool(data), held_out is not None]
    if sum(given) != 1:
        raise UsageError("Give the prompts in one way: --prompt, --file, --data or --held-out.")
    if file is not None:
        return asked.of_rows(rows_of.read(file).rows), f"the file {file.name}"
    if held_out is not None:
        return _held_out(store, held_out)
    if data:
        found = asking.known_data(store, data)
        return suites.of_data(store, found), f"the data set {found.name}"
    return asked.typed(typed), "typed"


def _held_out(store: Store, number: int) -> tuple[list[Prompt], str]:
    from jobs.ask import Answerer

    job, answerer = store.job(number), Answerer(store.files.log("answerer"))
    try:
        return suites.held_out(store, answerer, job), f"held-out rows of {job.name}"
    finally:
        answerer.close()


def _marked(stretch: list[str]) -> str:
    kind, text = stretch
    return {"gone": f"[-{text}-]", "new": f"{{+{text}+}}"}.get(kind, text)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHORT else f"{line[: SHORT - 1]}…"


def _prompts_in_words(count: int) -> str:
    return f"{count:,} prompt{'' if count == 1 else 's'}"
