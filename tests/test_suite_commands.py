"""`suites ...` in a terminal: from prompts to scores, and what changed since an earlier run."""

import json
from pathlib import Path

import pytest

from adapters_store.store import Store
from engine.models import load_tokenizer
from engine.prepared import prepare
from engine.settings import parse
from studio import suite_changes
from studio.word_diff import differences
from tests.furnish import add_adapter
from tests.terminal import Terminal
from tests.tiny import tiny_rows
from tests.workshop import add_base, shared_tiny_model, submit_run

pytestmark = pytest.mark.usefixtures("one_thread_each")

QUICK = ("--max-tokens", "5")


@pytest.fixture
def terminal(store: Store, sound: Path, data_dir: Path) -> Terminal:
    """A studio with the tiny model as its starter, and one adapter of it."""
    base = add_base(store, source="starter")
    adapter = add_adapter(store, base, name="sound")
    folder = store.adapter_path(adapter)
    for file in sound.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return Terminal(data_dir)


def test_a_suite_from_a_file_is_answered_scored_exported_and_compared_with_an_earlier_run(
    terminal: Terminal, tmp_path: Path
) -> None:
    file = tmp_path / "things.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in tiny_rows(6)))
    made = terminal.json("suites", "add", "things", "--file", str(file))
    assert (made["prompts"], made["scores"]) == (6, ["exact", "rouge_l", "chrf", "perplexity"])
    base = terminal.json("suites", "run", "things", "--contestant", "base", *QUICK)
    both = terminal.json("suites", "run", "things", "--contestant", "base", "--contestant", "sound", *QUICK)
    assert (base["state"], base["answers"]) == ("complete", 6)
    assert both["names"] == ["base", "sound"]
    scores = {one["key"]: one for one in both["scores"]}
    assert scores["exact"]["means"][0]["value"] == 0
    assert scores["perplexity"]["means"][0]["prompts"] == 6
    (pair,) = scores["perplexity"]["differences"]
    assert pair["higher"] + pair["lower"] == 6
    same = terminal.json("suites", "changed", str(both["id"]), "--against", str(base["id"]))
    assert (same["rows"], same["same"]) == ([], 6)
    words = ("--temperature", "0", "--contestant", "sound", *QUICK)
    other = terminal.json("compare", "--suite", "things", *words)
    changed = terminal.json("suites", "changed", str(other["id"]), "--against", str(base["id"]))
    assert changed["pairs"] == [{"place": 0, "name": "sound", "before": "base"}]
    assert len(changed["rows"]) + changed["same"] == 6
    assert changed["rows"]
    for row in changed["rows"]:
        assert row["diff"] == [list(one) for one in differences(row["before"], row["now"])]
    judged = terminal.json("suites", "judge", str(both["id"]), "--judge", "base", "--against", "sound")
    (row,) = judged["judge"]["rows"]
    assert (judged["judge"]["against"], row["name"]) == ("sound", "base")
    assert row["won"] + row["lost"] + row["undecided"] + row["left_out"] == 6
    nobody = terminal.run("suites", "judge", str(both["id"]), "--judge", "base", "--against", "nobody")
    assert nobody.stderr == "--against is nobody; it has to be one of base, sound.\n"
    lines = terminal.run("suites", "export", str(both["id"])).stdout.splitlines()
    assert [json.loads(line)["contestant"] for line in lines] == ["base", "sound"] * 6
    for form in ("csv", "md"):
        assert (
            "Question 0: what is the sea?" in terminal.run("suites", "export", str(both["id"]), "--form", form).stdout
        )
    shown = terminal.json("suites", "show", "things")
    assert [one["id"] for one in shown["runs"]] == [other["id"], both["id"], base["id"]]


def test_the_rows_that_a_run_set_aside_become_a_suite(terminal: Terminal, store: Store) -> None:
    job = submit_run(store, store.base_models()[0], validation_share=0.25)
    made = terminal.json("suites", "add", "aside", "--held-out", str(job.id))
    tokenizer = load_tokenizer(shared_tiny_model())
    aside = prepare(tokenizer, tiny_rows(24), parse(job.settings), 256).validation
    assert (made["prompts"], made["source"]) == (len(aside), "held-out rows of tiny-run")
    texts = [tokenizer.decode(row.ids) for row in aside]
    for one in store.suite_prompts(made["id"]):
        assert (
            sum(f"{suite_changes.question(one)}<|im_end|>" in text and str(one.reference) in text for text in texts)
            == 1
        )


def test_what_cannot_be_is_said_at_once(terminal: Terminal) -> None:
    told = terminal.run("suites", "add", "x", "--prompt", "Rain?", "--score", "exact", "--score", "bleu")
    assert told.returncode == 2
    assert told.stderr.splitlines() == [
        "bleu is not a score. Choose among exact, contains, json_valid, json_equal, regex, rouge_l, chrf, perplexity.",
        "Nothing to score by exact match: no prompt of this suite has a reference.",
    ]
    assert terminal.run("suites", "add", "x").stderr.startswith("Give the prompts in one way:")
    both = terminal.run("compare", "--suite", "x", "--prompt", "Rain?", "--contestant", "base")
    assert both.stderr == "Say what to answer: --prompt TEXT or --suite NAME.\n"
    assert terminal.run("suites", "show", "x").stderr.startswith("There is no suite x.")
    made = terminal.json("suites", "add", "rain", "--prompt", "Rain?", "--score", "regex", "--pattern", "^R")
    assert made["scores"] == ["regex"]
    assert terminal.run("suites", "add", "Rain", "--prompt", "Rain?").returncode == 2
    assert terminal.run("suites", "delete", "rain").stdout == "Deleted rain.\n"
