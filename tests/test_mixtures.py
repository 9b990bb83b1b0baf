"""Several data sets in one run: from what a person typed to what is queued, learned, shown and kept from deletion."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters_store.errors import StoreError
from adapters_store.store import Store
from adapters_store.tables import BaseModel, DataSet, Job, Weighted
from engine.data.check import read_rows
from engine.data.render import encode_all
from engine.data.split import aside
from engine.data.tokens import store as tokenised
from engine.models import load_tokenizer
from engine.prepared import Portion, held_out
from engine.settings import SMALL_SET, RunSettings, SettingsError
from jobs import adding_data, examining, snapshot
from jobs.ending import Ending
from jobs.start_adapter import SPLIT, split_kept
from jobs.worker import do
from studio import actions, again, asking, grid, library_view, mixtures, records, run_facts
from studio.edge import UsageError
from tests.furnish import add_adapter
from tests.terminal import Terminal
from tests.workshop import QUICK, add_base, add_rows, shared_tiny_model, submit_run

Furnished = tuple[BaseModel, DataSet]

pytestmark = pytest.mark.usefixtures("no_runner", "one_thread_each")


def two(store: Store, *weights: float) -> list[tuple[int, float]]:
    """The first sample data sets, with these weights."""
    return [(data.id, weight) for data, weight in zip(store.data_sets(), weights, strict=False)]


def started(store: Store, furnished: Furnished, *weights: float, **more: object) -> Job:
    base, _ = furnished
    mixture = two(store, *weights)
    values = {"base_model_id": base.id, "data_set_id": mixture[0][0], "mixture": mixture, **more}
    return actions.start_run(store, values={}, **values)  # type: ignore[arg-type]


def test_a_mixture_is_queued_named_and_shown_with_its_weights(store: Store, furnished: Furnished) -> None:
    first, second, *_ = store.data_sets()
    job = started(store, furnished, 1.0, 0.5)
    assert job.data_set_id == first.id
    assert [(data.id, weight) for data, weight in job.mixture] == [(first.id, 1.0), (second.id, 0.5)]
    assert job.name == f"{first.name}-{second.name}-r16"
    told = f"{first.name}, {second.name} (weight 0.5)"
    record = records.job_record(job)
    assert (record["data"], record["mixture"][1]["weight"]) == (told, 0.5)
    assert record["mixture"][1]["sha256"] == second.content_hash
    assert told in run_facts.about(job)


def test_one_data_set_of_weight_one_is_a_run_as_ever(store: Store, furnished: Furnished) -> None:
    job = started(store, furnished, 1.0)
    assert (job.portions, len(job.mixture)) == ([], 1)
    assert [weight for _, weight in started(store, furnished, 0.25).mixture] == [0.25]


def test_settings_that_follow_from_the_rows_follow_from_those_of_an_epoch(store: Store, furnished: Furnished) -> None:
    rows = store.data_sets()[0].rows
    assert rows < SMALL_SET
    alone, often = started(store, furnished, 1.0), started(store, furnished, SMALL_SET / rows + 1)
    assert (alone.settings["batch_size"], often.settings["batch_size"]) == (8, 16)


def test_all_that_is_wrong_with_a_mixture_is_told_together(store: Store, furnished: Furnished) -> None:
    first, second, *_ = store.data_sets()
    base, _ = furnished
    wrong = [(first.id, 0.0), (second.id, float("nan")), (first.id, 1.0)]
    with pytest.raises(SettingsError) as told:
        actions.start_run(store, base_model_id=base.id, data_set_id=first.id, values={"rank": 0}, mixture=wrong)
    assert f"The weight of {first.name} is 0. Give 0.001 to 100." in str(told.value)
    assert f"The weight of {second.name} is no number." in str(told.value)
    assert f"{first.name} is in the mixture 2 times." in str(told.value)
    assert "Rank (r) is 0" in str(told.value)
    many = [Weighted(first, 1.0)] * 21
    assert mixtures.problems(many)[0].startswith("21 data sets are mixed; 20 are the most.")
    assert store.jobs(kinds=["train"]) == []


def test_every_set_of_a_mixture_is_kept_while_a_run_or_an_adapter_needs_it(store: Store, furnished: Furnished) -> None:
    job = started(store, furnished, 1.0, 2.0)
    _, second, third = store.data_sets()
    with pytest.raises(StoreError, match=f"yet to read it: {job.name}"):
        store.delete_data_set(second.id)
    store.request_stop(job.id, "cancel")
    adapter = add_adapter(store, furnished[0], store.data_sets()[0], "mixed-r4", job_id=job.id)
    with pytest.raises(StoreError, match=r"made with it: mixed-r4\."):
        store.delete_data_set(second.id)
    assert store.data_set_users(second.id, 5).adapters[0].id == adapter.id
    assert store.data_set_users(third.id, 5).job_total == 0
    assert [one.id for one in store.adapters(search=second.name)[0]] == [adapter.id]
    facts = library_view.card(adapter, [])
    assert f"{second.name}, {second.rows} rows, weight 2" in facts
    store.delete_adapter(adapter.id)
    store.delete_data_set(second.id)


def test_train_again_takes_the_same_mixture(store: Store, furnished: Furnished) -> None:
    job = started(store, furnished, 0.5, 3.0)
    same = again.from_the_beginning(store, job)
    assert [(data.id, weight) for data, weight in same.mixture] == two(store, 0.5, 3.0)


def test_a_grid_is_of_the_mixture(store: Store, furnished: Furnished) -> None:
    base, _ = furnished
    first, second, *_ = store.data_sets()
    mixture = [Weighted(first, 1.0), Weighted(second, 2.0)]
    runs = grid.plan(base, first, {"batch_size": 8, "epochs": 1}, {"rank": ["4", "8"]}, mixture=mixture)
    learned = first.rows - aside(first.rows, 0.1) + 2 * (second.rows - aside(second.rows, 0.1))
    assert runs[0].steps == -(-learned // 8)
    jobs = grid.queue(store, base, first, runs, mixture=mixture)
    assert [weight for job in jobs for _, weight in job.mixture] == [1.0, 2.0] * 2


def test_what_is_typed_is_a_set_or_a_file_and_behind_the_last_sign_a_weight(
    store: Store, furnished: Furnished, tmp_path: Path
) -> None:
    name = store.data_sets()[0].name
    file = tmp_path / "a=2"
    file.write_text('{"prompt": "a", "completion": "b"}\n')
    assert asking.weighted(store, name).weight == 1.0
    assert asking.weighted(store, f"{name}=0.5").weight == 0.5
    assert asking.weighted(store, str(file)).weight == 1.0
    assert asking.weighted(store, f"{file}=3").weight == 3.0
    for wrong in (f"{name}=half", "=2"):
        with pytest.raises(UsageError, match="is neither a data set nor a file"):
            asking.weighted(store, wrong)


def test_going_on_from_an_adapter_with_another_set_mixed_in_keeps_its_rows_aside(
    store: Store, furnished: Furnished
) -> None:
    first, second, third = store.data_sets()
    adapter = add_adapter(store, furnished[0], first, job_id=started(store, furnished, 1.0, 0.5).id)
    assert split_kept(adapter, [second.id]) == split_kept(adapter, [third.id, first.id]) == SPLIT
    assert split_kept(adapter, [third.id]) == ()


def test_a_changed_set_anywhere_in_the_mixture_is_refused(store: Store) -> None:
    first, second = add_rows(store, 24), add_rows(store, 12)
    job = submit_run(store, add_base(store), [(first.id, 1.0), (second.id, 1.0)])
    store.rows_path(second).write_text("{}\n")
    do(store, job.id, Ending())
    assert store.job(job.id).state == "failed"
    assert "The rows of the data set rows-12 were changed on disk." in store.job(job.id).why


def test_the_command_trains_on_a_mixture_and_says_what_it_learned_from(store: Store, data_dir: Path) -> None:
    add_base(store, source="starter")
    data = [add_rows(store, 24), add_rows(store, 12)]
    values = [word for name, value in QUICK.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    terminal = Terminal(data_dir)
    told = terminal.json("train", "--data", "rows-24=0.5", "--data", "rows-12", *values)
    assert told["job"]["data"] == told["adapter"]["data"] == "rows-24 (weight 0.5), rows-12"
    assert [one["sha256"] for one in told["adapter"]["mixture"]] == [one.content_hash for one in data]
    learned = round(0.5 * (24 - aside(24, 0.1)) + 0.01) + 12 - aside(12, 0.1)
    assert told["job"]["progress"]["steps"] == -(-learned // QUICK["batch_size"]) * QUICK["epochs"]
    for command in (("adapters", "show", told["adapter"]["name"]), ("jobs", "show", str(told["job"]["id"]))):
        assert "rows-24 (weight 0.5), rows-12" in terminal.run(*command).stdout
    assert len(list((data_dir / "cache" / "tokens").iterdir())) == 2, "the tokens of each set by themselves"


# --- the files of a folder --------------------------------------------------------------------------------------------


def two_files(folder: Path) -> Path:
    """A folder with 31 rows, one of them bad, and one with 20 rows, two of them the same."""
    folder.mkdir()
    rows = [f'{{"prompt": "Question {n} of {n * n}?", "completion": "It is {n * 7919}."}}\n' for n in range(50)]
    (folder / "a.jsonl").write_text("".join(rows[:30]) + '{"prompt": 3}\n')
    (folder / "b.jsonl").write_text("".join([*rows[30:49], rows[48]]))
    return folder


def test_each_file_of_a_folder_gives_its_share_of_the_rows_that_are_measured_on(store: Store, tmp_path: Path) -> None:
    data = adding_data.add_now(store, two_files(tmp_path / "files"), "files", skip_bad=True)
    assert snapshot.sources(data) == (30, 20)
    tokenizer = load_tokenizer(shared_tiny_model())
    tokens = tokenised(encode_all(tokenizer, read_rows(store.rows_path(data)), 256))
    numbers = held_out([Portion(tokens, 1.0, snapshot.sources(data))], RunSettings(validation_share=0.1))
    assert [number < 30 for number in numbers] == [True] * 3 + [False] * 2


def test_a_cleaned_copy_of_a_folder_knows_its_files(store: Store, tmp_path: Path) -> None:
    data = adding_data.add_now(store, two_files(tmp_path / "files"), "files", skip_bad=True)
    job = examining.clean(store, data, ["exact"], "clean")
    do(store, job.id, Ending())
    cleaned = store.data_set(store.job(job.id).progress["data_set"])
    assert (cleaned.rows, snapshot.sources(cleaned)) == (49, (30, 19))
    assert snapshot.sources_without(data, range(30)) == [20], "a file without rows is none any more"
    assert snapshot.sources(add_rows(store, 5)) == ()


def test_a_run_on_rows_that_are_all_alike_says_that_its_loss_flatters(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "alike.jsonl"
    row = '{"prompt": "What does the brown fox jump over?", "completion": "It jumps over the lazy dog by day %s."}'
    file.write_text("\n".join(row % number for number in range(9)))
    data = adding_data.add_now(store, file, "alike")
    job = submit_run(store, add_base(store), [(data.id, 2.0)], epochs=1)
    do(store, job.id, Ending())
    ended = store.job(job.id)
    assert ended.state == "completed", ended.why
    assert records.job_record(ended)["says"].endswith("measured on rows like learned ones: this loss flatters.")
