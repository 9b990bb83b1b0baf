"""`python -m studio data ...`: what is said of a file, and how it becomes a data set and ceases to be one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from adapters_store.store import Store
from adapters_store.tables import Job
from jobs import adding_data
from jobs.answerer import Desk
from jobs.ending import Ending
from jobs.requests import KINDS
from jobs.worker import do
from studio import asking, data_report
from studio.cli import main
from tests.furnish import add_adapter, furnish
from tests.tiny import LENGTH
from tests.workshop import add_base, shared_tiny_model

Said = Callable[..., tuple[int, str, str]]

GOOD = '{"frage": "Wo?", "antwort": "Dort."}\n'
MAPPED = ["--map", "prompt=frage", "--map", "answer=antwort"]


@pytest.fixture
def said(store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Said:
    """Exit code, stdout and stderr of a command, in this process."""
    monkeypatch.setenv("LORA_STUDIO_DATA", str(store.files.root))

    def run(*words: object) -> tuple[int, str, str]:
        code = main(["data", *map(str, words)])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "fragen.jsonl"
    path.write_text(GOOD + '{"frage": "Wer?"}\n' + GOOD + '{"frage"\n' + GOOD.replace("Wo", "Wann"), "utf-8")
    return path


def test_check_prints_what_is_understood_counted_and_wrong_and_keeps_nothing(
    said: Said, store: Store, file: Path
) -> None:
    code, out, err = said("check", file, *MAPPED, "--json")
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert (told["format"], told["mapping"]) == ("prompt", {"prompt": "frage", "answer": "antwort"})
    assert (told["rows"], told["usable_rows"], told["duplicates"], told["error_total"]) == (5, 3, 1, 2)
    assert [(error["line"], error["reason"]) for error in told["errors"]] == [
        (2, "the column antwort is missing."),
        (4, "this is not valid JSON (Expecting ':' delimiter)."),
    ]
    assert {told[key] for key in ("tokens", "answer_tokens", "max_length", "p95_length", "truncated_rows")} == {None}
    assert store.data_sets() == []
    assert not any(store.files.temporary.iterdir())


def test_check_says_the_same_to_a_person(said: Said, file: Path) -> None:
    code, out, _ = said("check", file, *MAPPED)
    assert code == 0
    assert "Read as you mapped it: prompt from frage, answer from antwort." in out
    assert "usable         3" in out
    assert "Line 2: the column antwort is missing." in out


class Beside:
    """The answerer's work without its process."""

    def __init__(self, log: Path) -> None:
        self._desk = Desk()

    def request(self, kind: str, *, deadline: float, **payload: object) -> dict[str, Any]:
        (answer,) = KINDS[kind](self._desk, payload, lambda: False)
        return answer

    def close(self) -> None:
        pass


@pytest.mark.usefixtures("one_thread_each")
def test_check_counts_tokens_with_the_models_own_tokenizer(
    said: Said, store: Store, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_report, "Answerer", Beside)
    base = add_base(store)
    told = json.loads(said("check", file, *MAPPED, "--model", base.name, "--json")[1])
    tokenizer = AutoTokenizer.from_pretrained(store.base_path(base))
    asked = [("Wo?", "Dort."), ("Wo?", "Dort."), ("Wann?", "Dort.")]
    chats = [[{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in asked]
    lengths = [len(tokenizer(tokenizer.apply_chat_template(chat, tokenize=False))["input_ids"]) for chat in chats]
    assert (told["tokens"], told["max_length"], told["p95_length"]) == (sum(lengths), max(lengths), max(lengths))
    assert 0 < told["answer_tokens"] < told["tokens"]
    assert (told["truncated_rows"], told["masked_rows"]) == (0, 0)


@pytest.mark.usefixtures("one_thread_each")
def test_check_names_rows_that_a_model_cuts_or_cannot_learn_from_by_line(
    said: Said, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_report, "Answerer", Beside)
    base, folder = add_base(store), tmp_path / "rows"
    folder.mkdir()
    long = "rain " * LENGTH
    rows = [("q", "a"), ("q", long), (long, "a"), ("q", ""), (long, "b")]
    for name in ("a.jsonl", "b.jsonl"):
        lines = [json.dumps({"prompt": prompt, "completion": answer}) for prompt, answer in rows]
        (folder / name).write_text("\n".join(["", *lines, ""]))
    code, out, _ = said("check", folder / "a.jsonl", "--model", base.name, "--json")
    told = json.loads(out)
    assert (code, told["rows"], told["usable_rows"], told["error_total"]) == (0, 5, 2, 3)
    assert [error["line"] for error in told["errors"]] == [5, 4, 6]
    assert told["errors"][1]["reason"] == f"nothing to learn is left of it within {LENGTH} tokens."
    assert (told["truncated_rows"], told["masked_rows"]) == (3, 2)
    assert [one["line"] for one in told["truncated"]] == [3, 4, 6]
    assert told["truncated"][0]["reason"].endswith(f"tokens, and is cut to {LENGTH}.")
    assert [warning.partition(" are ")[0] for warning in told["warnings"]] == [
        "3 of 4 rows (75\N{NO-BREAK SPACE}%)",
        "2 of 4 rows (50\N{NO-BREAK SPACE}%)",
    ]
    said_of_both = said("check", folder, "--model", base.name)[1]
    assert f"a.jsonl, line 4: nothing to learn is left of it within {LENGTH} tokens." in said_of_both
    assert "b.jsonl, line 3: it has " in said_of_both
    (folder / "a.jsonl").write_text(json.dumps({"prompt": long, "completion": "a"}))
    code, out, _ = said("check", folder / "a.jsonl", "--model", base.name, "--json")
    assert (code, json.loads(out)["usable_rows"]) == (1, 0), "nothing of it can be learned"


@pytest.mark.usefixtures("one_thread_each")
def test_check_names_rows_that_the_chat_template_refuses_by_line(
    said: Said, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_report, "Answerer", Beside)
    base = add_base(store, shutil.copytree(shared_tiny_model(), tmp_path / "strict"))
    (tmp_path / "strict" / "chat_template.jinja").write_text(
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{{ m['content'] }}{% endfor %}"
    )
    file = tmp_path / "rows.jsonl"
    file.write_text('{"q": 1}\n{"system": "s", "prompt": "q", "completion": "a"}\n{"prompt": "q", "completion": "a"}\n')
    told = json.loads(said("check", file, "--model", base.name, "--json")[1])
    assert (told["rows"], told["usable_rows"], told["error_total"], told["tokens"]) == (3, 1, 2, None)
    assert told["errors"][1]["line"] == 2
    assert told["errors"][1]["says"] == "Line 2: The base model's chat template refused a row: no system"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"frage": "Wo?", "antwort": ""}\n', "the column antwort is empty."),
        ("%PDF-1.7", "This is a PDF."),
        ('{"x": 1}\n', "There is no column frage."),
    ],
)
def test_check_exits_1_when_nothing_is_usable_and_still_prints_its_json(
    said: Said, tmp_path: Path, content: str, told: str
) -> None:
    (tmp_path / "rows").write_text(content)
    code, out, _ = said("check", tmp_path / "rows", *MAPPED, "--json")
    assert code == 1
    assert json.loads(out)["usable_rows"] == 0
    assert json.loads(out)["errors"][0]["reason"].startswith(told)


def test_a_data_set_is_added_listed_shown_and_deleted(said: Said, store: Store, file: Path) -> None:
    code, _, err = said("add", file, *MAPPED)
    assert code == 2
    assert "Line 2: the column antwort is missing." in err
    code, out, _ = said("add", file, *MAPPED, "--skip-bad", "--name", "Fragen", "--json")
    made = json.loads(out)
    assert (code, made["name"], made["rows"], made["bad_rows"]) == (0, "Fragen", 3, 2)
    assert json.loads(said("add", file, "--skip-bad", "--json")[1])["id"] == made["id"], "the mapping is remembered"

    assert "Fragen" in [one["name"] for one in json.loads(said("list", "--json")[1])]
    assert "Fragen" in said("list")[1]
    shown = json.loads(said("show", "Fragen", "--json")[1])
    assert shown["first_rows"][0]["messages"][1]["content"] == "Dort."
    assert "1  Wo? | Dort." in said("show", made["id"])[1]
    assert said("delete", "Fragen")[:2] == (0, "Deleted Fragen.\n")
    code, _, err = said("show", "Fragen")
    assert code == 2
    assert "There is no data set Fragen." in err


def test_one_in_use_is_not_deleted_and_its_users_are_named(said: Said, store: Store) -> None:
    base, data = furnish(store)
    add_adapter(store, base, data, "tiny-pirate")
    code, _, err = said("delete", data.name)
    assert code == 1
    assert "tiny-pirate" in err
    assert store.data_set(data.id).deleted_at is None


@pytest.fixture
def worked_off(no_runner: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for a job does it."""

    def wait(store: Store, job: Job) -> Job:
        do(store, job.id, Ending())
        return store.job(job.id)

    monkeypatch.setattr(asking, "wait", wait)


@pytest.mark.usefixtures("worked_off")
def test_a_large_file_is_waited_for(said: Said, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding_data, "LARGE", 0)
    assert json.loads(said("add", file, *MAPPED, "--skip-bad", "--json")[1])["rows"] == 3
    code, _, err = said("add", file, *MAPPED)
    assert code == 1
    assert "The data set was not added. Line 2: the column antwort is missing." in err


@pytest.mark.usefixtures("worked_off")
def test_a_cleaned_copy_is_made_and_the_data_set_stays(said: Said, file: Path) -> None:
    said("add", file, *MAPPED, "--skip-bad", "--name", "Fragen")
    code, out, err = said("clean", "Fragen", "--fix", "exact", "--json")
    assert (code, err) == (0, "")
    assert (json.loads(out)["name"], json.loads(out)["rows"]) == ("Fragen-clean", 2)
    assert "2 rows of 3" in said("clean", "Fragen", "--fix", "exact", "--name", "again")[1]
    assert json.loads(said("show", "Fragen", "--json")[1])["rows"] == 3
    code, _, err = said("clean", "Fragen", "--fix", "spelling")
    assert code == 2
    assert "spelling is not one of what can be mended. Choose among exact, near" in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["check", "/nowhere/rows.jsonl"], "There is no /nowhere/rows.jsonl on this machine."),
        (["check", ".", "--map", "answer"], "answer maps nothing. Write --map ROLE=COLUMN"),
        (["show", "nothing"], "There is no data set nothing."),
    ],
)
def test_what_names_nothing_is_refused_with_what_would(said: Said, words: list[str], told: str) -> None:
    code, _, err = said(*words)
    assert code == 2
    assert told in err
