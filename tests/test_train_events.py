"""What happens on the Train tab, called as Gradio calls it, with an answerer that answers from a list."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from adapters_store.store import Store
from engine.settings import RATES, RunSettings, usable
from engine.sizing import count
from jobs.ask import AnswererError
from studio import actions, line, train_facts, train_methods
from studio.train_settings import ORDER
from tests.train_bench import FACTS, PLAN, ListedAnswerer, add, defaults, make, shown, with_value

pytestmark = pytest.mark.usefixtures("no_runner")


@pytest.fixture
def base_path(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    folder.mkdir()
    return folder


def test_an_empty_page_chooses_the_first_base_and_sample(store: Store, data_dir: Path, base_path: Path) -> None:
    base_id, data_id = add(store, base_path)
    events = make(store, data_dir)
    updates = events.show(None, None, "", {}, *defaults())
    assert shown(events, updates, "base") == base_id
    assert shown(events, updates, "data") == data_id
    assert "frozen" in shown(events, updates, "base_help")
    assert 'class="learned"' in shown(events, updates, "rows")


def test_what_was_chosen_stays_chosen(store: Store, data_dir: Path, base_path: Path) -> None:
    base_id, _ = add(store, base_path)
    other = store.data_sets()[1]
    events = make(store, data_dir)
    assert shown(events, events.show(base_id, other.id, "", {}, *defaults()), "data") == other.id


@pytest.mark.parametrize("nonsense", ["1", -1, 10**40, [1], {"id": 1}, None])
def test_nonsense_for_an_id_starts_nothing(store: Store, data_dir: Path, base_path: Path, nonsense: Any) -> None:
    add(store, base_path)
    events = make(store, data_dir)
    updates = events.start(nonsense, nonsense, *defaults(), "", "0" * 32)
    assert "Choose a base model." in shown(events, updates, "problems")
    assert "Choose a data set" in shown(events, updates, "problems")
    assert store.jobs() == []


def test_the_length_follows_the_base_until_it_is_typed(store: Store, data_dir: Path, base_path: Path) -> None:
    base_id, data_id = add(store, base_path)
    events = make(store, data_dir)
    length = events.ui.settings["length"]
    untouched = events.show(base_id, data_id, "", {}, *with_value("length", 1024))
    typed = events.show(base_id, data_id, "", {}, *with_value("length", 100))
    assert untouched[length]["value"] == 256
    assert "value" not in typed[length]


def test_a_method_brings_its_fields_and_its_learning_rate(store: Store, data_dir: Path, base_path: Path) -> None:
    chosen = add(store, base_path)
    events = make(store, data_dir)
    updates = events.show(*chosen, "", {}, *with_value("method", "prompt"))
    fields = {name: updates[field] for name, field in events.ui.settings.items()}
    assert (fields["prompt_tokens"]["visible"], fields["rank"]["visible"]) == (True, "hidden")
    assert fields["learning_rate"]["value"] == RATES["prompt"]
    assert updates[events.ui.presets_row]["visible"] is False
    typed = events.show(*chosen, "", {}, *(7e-3 if n == "learning_rate" else v for n, v in _with_method("prompt")))
    assert "value" not in typed[events.ui.settings["learning_rate"]]


def _with_method(method: str) -> list[tuple[str, Any]]:
    return list(zip(ORDER, with_value("method", method), strict=True))


def test_values_that_are_wrong_do_not_stop_the_count_of_the_others() -> None:
    settings = usable({"method": "dora", "rank": "many", "epochs": None, "bias": "all", "no": "setting"})
    assert settings == RunSettings(method="dora", bias="all")


def test_the_drawing_gets_numbers_that_the_sizing_agrees_with(store: Store, data_dir: Path, base_path: Path) -> None:
    add(store, base_path)
    for targets in (None, ["q_proj"]):
        settings = RunSettings(target_modules=targets, rank=16)
        counted, shape = count(FACTS, settings), train_methods.shape_of(store.base_models()[0], settings)
        assert shape["layer"] == "Block 0, q_proj"
        assert shape["fixed"] + 16 * shape["per"] == counted.trained
        assert shape["bytesFixed"] + 16 * shape["bytesPer"] == counted.tensor_bytes


def test_the_experts_of_a_mixture_are_said_to_stay_as_they_are(store: Store, base_path: Path) -> None:
    add(store, base_path)
    base = store.base_models()[0]
    assert "experts" not in train_facts.base_help(base)
    base.facts = {**FACTS, "frozen_experts": 45_097_156_608}
    assert "45.1 B of them are in experts, which get no adapter." in train_facts.base_help(base)


def test_a_double_click_is_one_run(store: Store, data_dir: Path, base_path: Path) -> None:
    chosen = add(store, base_path)
    events = make(store, data_dir)
    first = events.start(*chosen, *defaults(), "", "a" * 32)
    second = events.start(*chosen, *defaults(), "", "a" * 32)
    third = events.start(*chosen, *defaults(), "", "b" * 32)
    assert shown(events, first, "queued") == shown(events, second, "queued") != shown(events, third, "queued")
    assert len(store.jobs(kinds=["train"])) == 2
    assert "Queued as" in shown(events, first, "line")


def test_the_line_under_start_tells_who_waits_for_whom(store: Store, data_dir: Path, base_path: Path) -> None:
    chosen = add(store, base_path)
    events = make(store, data_dir)
    assert shown(events, events.tell(""), "line") == "Starts at once."
    job = store.job(int(shown(events, events.start(*chosen, *defaults(), "", "a" * 32), "queued")))
    assert shown(events, events.tell(""), "line") == "Waits for 1 run."
    store.submit("suite", "questions", {"suite_run": 1})
    assert shown(events, events.tell(""), "line") == "Waits for 2 runs."
    line.pause_queue(store, True)
    assert shown(events, events.tell(""), "line") == train_facts.PAUSED
    store.request_stop(job.id, "cancel", "test")
    assert "was cancelled" in shown(events, events.tell(str(job.id)), "line")


def test_counting_shows_the_plan(store: Store, data_dir: Path, base_path: Path) -> None:
    chosen = add(store, base_path)
    events = make(store, data_dir, PLAN)
    *_, last = events.count(*chosen, {}, *defaults())
    assert "90, 30 an epoch" in shown(events, last, "figures")
    assert "41,280, 12,384 learned" in shown(events, last, "figures")


def test_while_a_count_takes_long_the_old_figures_stay(store: Store, data_dir: Path, base_path: Path) -> None:
    chosen = add(store, base_path)
    events = make(store, data_dir, PLAN)
    answerer = cast(ListedAnswerer, events.studio.answerer)
    answerer.hold.clear()
    counting: Iterator[Any] = events.count(*chosen, {}, *defaults())
    first = next(counting)
    assert "counting" in shown(events, first, "head")
    assert first[events.ui.figures]["elem_classes"] == "stale-figures"
    answerer.hold.set()
    assert "counted" in shown(events, next(counting), "head")


def test_a_count_that_fails_says_why(store: Store, data_dir: Path, base_path: Path) -> None:
    chosen = add(store, base_path)
    events = make(store, data_dir, AnswererError("The tokenizer of small cannot be read."))
    *_, last = events.count(*chosen, {}, *defaults())
    assert "The tokenizer of small cannot be read." in shown(events, last, "figures")


def test_values_that_cannot_be_used_are_not_counted(store: Store, data_dir: Path, base_path: Path) -> None:
    chosen = add(store, base_path)
    events = make(store, data_dir)
    (only,) = events.count(*chosen, {}, *with_value("epochs", 0))
    assert "cannot be used" in shown(events, only, "head")


def test_a_dropped_file_is_chosen_and_its_upload_forgotten(store: Store, data_dir: Path, tmp_path: Path) -> None:
    events = make(store, data_dir)
    file = tmp_path / "mine.jsonl"
    file.write_text('{"text": "one"}\n{"text": "two"}\n')
    updates = events.take_file(str(file))
    assert store.data_set(shown(events, updates, "data")).rows == 2
    assert not file.exists()


def test_a_bad_file_leaves_the_choice_alone(store: Store, data_dir: Path, tmp_path: Path) -> None:
    events = make(store, data_dir)
    file = tmp_path / "bad.jsonl"
    file.write_text('{"prompt": "a", "completion": ""}\n')
    updates = events.take_file(str(file))
    assert events.ui.data not in updates
    assert "Line 1" in shown(events, updates, "drop_problems")
    assert "The Data tab lets you" in shown(events, updates, "drop_problems")


def test_a_failed_fetch_offers_to_retry_and_a_folder(store: Store, data_dir: Path) -> None:
    from jobs.process import identify

    job = store.claim(store.submit("fetch", "starter", {"source": "starter"}).id, identify())
    assert job is not None
    events = make(store, data_dir)
    assert "on its way" in shown(events, events.look(""), "arrival")
    store.move(job.id, "failed", why="No <connection>.", who="test", token=job.token)
    updates = events.look("")
    assert "No &lt;connection&gt;." in shown(events, updates, "arrival")
    assert updates[events.ui.retry]["visible"] is True
    assert updates[events.ui.rescue]["visible"] is True


def test_a_folder_that_is_no_model_is_refused_in_words(store: Store, data_dir: Path, tmp_path: Path) -> None:
    events = make(store, data_dir)
    with pytest.raises(actions.ActionError, match="not a model folder"):
        events.add_model(str(tmp_path))
    with pytest.raises(actions.ActionError, match="Give a folder"):
        events.add_model("  ")


def test_a_model_on_this_disk_is_offered_put_into_the_field_and_added(
    store: Store, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "models--org--near" / "snapshots" / "0123456789"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text('{"model_type": "llama"}')
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    events = make(store, data_dir)
    opened = events.open_rescue()[events.ui.found]
    assert opened["visible"] is True
    ((label, path),) = opened["choices"]
    assert label == "org/near (1 kB). It has no .safetensors file."
    assert events.take_found(path)[events.ui.path] == str(snapshot)
    looked_at = shown(events, events.add_model(path), "looked_at")
    assert store.job(int(looked_at)).settings["path"] == str(snapshot)


def test_a_model_on_its_way_from_a_hub_is_shown_with_its_bytes_and_chosen_when_it_is_here(
    store: Store, data_dir: Path, base_path: Path
) -> None:
    from jobs.process import identify

    base_id, data_id = add(store, base_path)
    events = make(store, data_dir)
    updates = events.add_model("org/far@v1")
    job = store.claim(int(shown(events, updates, "looked_at")), identify())
    assert job is not None
    assert job.settings == {"source": "hub", "id": "org/far", "revision": "v1", "name": "far"}
    store.move(job.id, "running", who="test", token=job.token)
    store.report(job.id, job.token, progress={"stage": "Downloading", "done_bytes": 41e6, "total_bytes": 92e6})
    line = shown(events, events.look(str(job.id)), "added")
    assert f'data-job="{job.id}"' in line
    assert "far is on its way: 41 of 92 MB." in line
    store.report(job.id, job.token, progress={"base_model": base_id})
    store.move(job.id, "finishing", who="test", token=job.token)
    store.move(job.id, "completed", who="test", token=job.token)
    updates = events.show(None, data_id, str(job.id), {}, *defaults())
    assert shown(events, updates, "base") == base_id
    assert shown(events, updates, "added") == '<p class="status" role="status">far is here.</p>'


def test_texts_of_people_are_escaped_everywhere() -> None:
    hurt = "<img src=x onerror=alert(1)>"
    rows = train_facts.rows_shown([{"text": hurt}, {"messages": [{"role": "user", "content": hurt}]}], 2)
    assert "<img" not in rows
    assert "<img" not in train_facts.card_head(hurt, hurt)


@pytest.mark.parametrize(("cut", "lost", "warned"), [(20, 20, 0), (21, 0, 1), (0, 21, 1), (30, 30, 2)])
def test_more_than_a_fifth_of_the_rows_cut_or_with_nothing_to_learn_is_warned_of_before_the_start(
    cut: int, lost: int, warned: int
) -> None:
    shown = train_facts.figures({**PLAN, "rows": 100, "rows_cut": cut, "rows_unusable": lost, "length": 64})
    assert shown.count("much is lost") == warned
    if cut == 30:
        assert "30 of 100 rows (30\N{NO-BREAK SPACE}%) are longer than 64 tokens" in shown
