"""Who may answer side by side, and what the page is told about a choice that makes no sense."""

from pathlib import Path

import pytest

from adapters_store.store import Store
from adapters_store.tables import Adapter, BaseModel, DataSet, Owner
from studio import columns, contestants, seating
from studio.contestants import Contestant
from tests.furnish import add_adapter

Furnished = tuple[BaseModel, DataSet]


def base(store: Store, name: str) -> BaseModel:
    return store.add_base_model(
        name=name,
        source="folder",
        path=str(Path("/models") / name),
        folder=None,
        fingerprint=f"sha256:{name}",
        facts={},
    )


def adapter(store: Store, of: BaseModel, name: str, **settings: object) -> Adapter:
    return add_adapter(store, of, name=name, settings=settings)


def offered(store: Store) -> dict[str, str]:
    return {label: one.value for label, one in contestants.offered(store)}


def test_adapters_handed_over_come_with_their_base(store: Store) -> None:
    llama = base(store, "llama")
    one, two = adapter(store, llama, "one"), adapter(store, llama, "two")
    chosen = contestants.with_base(store, f"{one.id},{two.id}")
    assert [contestant.name for contestant in chosen] == ["base", "one", "two"]
    assert contestants.problems(chosen) == []


def test_with_nothing_handed_over_the_base_alone_is_chosen_and_an_adapter_is_asked_for(store: Store) -> None:
    assert contestants.with_base(store, "") == []
    base(store, "llama")
    chosen = contestants.with_base(store, "")
    assert [contestant.name for contestant in chosen] == ["base"]
    assert contestants.advice(chosen) == "Add an adapter to have something to compare."


def test_a_handover_counts_before_the_choice_follows_it(store: Store) -> None:
    llama = base(store, "llama")
    one, two = adapter(store, llama, "one"), adapter(store, llama, "two")

    def standing(handed: str, chosen: str) -> list[str]:
        return [contestant.value for contestant in contestants.standing(store, handed, chosen)]

    alone, first, second = f"base-{llama.id}", f"adapter-{one.id}", f"adapter-{two.id}"
    assert standing("", contestants.NOBODY_YET) == [alone]
    assert standing(f"{one.id}", contestants.NOBODY_YET) == [alone, first]
    assert standing(f"{two.id}", f"{alone},{first}") == [alone, second]
    assert standing(f"{two.id},{one.id}", f"{alone},{second}") == [alone, second, first]


def test_what_was_chosen_by_hand_stands(store: Store) -> None:
    llama, gpt = base(store, "llama"), base(store, "gpt")
    five = [adapter(store, llama, f"a{i}") for i in range(9)]
    ids = ",".join(str(one.id) for one in five[:8])  # as many as are handed over
    for handed, chosen in (
        ("", ""),
        ("", f"base-{gpt.id}"),
        (f"{five[0].id}", f"adapter-{five[0].id}"),
        (f"{five[0].id}", f"base-{gpt.id},adapter-{five[0].id}"),
        (ids, ",".join(f"adapter-{one.id}" for one in five)),
    ):
        found = contestants.standing(store, handed, chosen)
        assert ",".join(one.value for one in found) == chosen
    store.delete_adapter(five[0].id)
    assert contestants.standing(store, f"{five[0].id}", f"adapter-{five[0].id}") == []


def test_contestants_of_two_bases_sit_one_base_after_the_other_and_that_is_said(store: Store) -> None:
    llama, gpt = base(store, "llama"), base(store, "gpt")
    one, two = adapter(store, llama, "one"), adapter(store, gpt, "two", base_precision="nf4")
    people = [Contestant(llama, None), Contestant(gpt, None), Contestant(llama, one), Contestant(gpt, two)]
    assert contestants.problems(people) == []
    assert contestants.bases_note(people).startswith("2 models answer, and each is loaded in turn: llama, gpt.")
    assert contestants.bases_note([people[0], people[2]]) == ""
    first, second = seating.sittings(store, people)
    assert (first.places, second.places) == ([0, 2], [1, 3])
    assert (first.payload["base_path"], first.payload["precision"]) == ("/models/llama", "full")
    assert (second.payload["base_path"], second.payload["precision"]) == ("/models/gpt", "nf4")
    assert [seat["adapter"] for seat in first.payload["seats"]] == [None, str(store.adapter_path(one))]
    assert seating.notes(people) == ["Base in NF4, as the adapter was trained."]


def test_at_most_eight_columns_answer(store: Store) -> None:
    llama = base(store, "llama")
    nine = [Contestant(llama, adapter(store, llama, f"a{i}")) for i in range(9)]
    (problem,) = contestants.problems(nine)
    assert problem.startswith("9 contestants are chosen; at most 8")
    assert contestants.problems(nine[:8]) == []


def test_a_kept_checkpoint_of_a_run_can_answer_until_it_is_gone(store: Store, furnished: Furnished) -> None:
    tiny, data = furnished
    job = store.submit("train", "long", {"rank": 4, "alpha": 8}, base_model_id=tiny.id, data_set_id=data.id)
    with store.files.draft("checkpoints") as draft:
        (draft.path / "checkpoint.json").write_text("{}")
        folder = draft.publish()
    token = store.claim(job.id, Owner(1, 2.0, "boot")).token
    row = store.add_checkpoint(job.id, token, step=40, folder=folder)
    value = f"checkpoint-{row.id}"
    assert offered(store)["long at step 40 (checkpoint)"] == value
    (found,) = contestants.read(store, value)
    assert (found.name, found.base.id, found.trained_on) == ("long at step 40", tiny.id, "full")
    assert found.identity == store.files.digest("checkpoints", folder)
    (sitting,) = seating.sittings(store, [Contestant(tiny, None), found])
    assert [seat["checkpoint"] for seat in sitting.payload["seats"]] == [None, str(store.checkpoint_path(row))]
    (half,) = contestants.read(store, f"{value}@0.5")
    assert (half.name, contestants.problems([half])) == ("long at step 40@0.5", [])
    store.rewind(job.id, token, None)
    assert contestants.read(store, value) == []


def test_a_merged_model_is_a_sitting_of_its_own_while_its_folder_is_there(
    store: Store, furnished: Furnished, tmp_path: Path
) -> None:
    tiny, _ = furnished
    merged = tmp_path / "merged"
    job = store.submit("export", "one, merged", {"adapter_id": 1, "folder": str(merged)}, base_model_id=tiny.id)
    token = store.claim(job.id, Owner(1, 2.0, "boot")).token
    store.move(job.id, "running", who="worker", token=token)
    store.move(job.id, "finishing", who="worker", token=token)
    store.move(job.id, "completed", who="worker", token=token)
    assert contestants.read(store, f"merged-{job.id}") == []
    merged.mkdir()
    (merged / "config.json").write_text("{}")
    (found,) = contestants.read(store, f"merged-{job.id}")
    assert offered(store)["one, merged (whole model)"] == f"merged-{job.id}"
    base_alone, whole = seating.sittings(store, [Contestant(tiny, None), found])
    assert (base_alone.places, whole.places, whole.payload["base_path"]) == ([0], [1], str(merged))
    assert "one, merged" in contestants.bases_note([Contestant(tiny, None), found])
    (merged / "config.json").write_text("{ }")
    (changed,) = contestants.read(store, f"merged-{job.id}")
    assert changed.identity != found.identity
    (problem,) = contestants.problems(contestants.read(store, f"merged-{job.id}@0.5"))
    assert "another strength" in problem


def test_the_same_weights_twice_are_pointed_out(store: Store) -> None:
    llama = base(store, "llama")
    twins = [Contestant(llama, add_adapter(store, llama, name=name, sha256="abc")) for name in ("one", "two")]
    assert contestants.advice(twins) == "two has the same weights as one."


def test_a_deleted_adapter_is_no_longer_chosen(store: Store) -> None:
    llama = base(store, "llama")
    one = adapter(store, llama, "one")
    store.delete_adapter(one.id)
    chosen = contestants.read(store, f"base-{llama.id},adapter-{one.id}")
    assert [contestant.name for contestant in chosen] == ["base"]


@pytest.mark.parametrize("text", [None, "", ",,", "adapter-", "adapter-x", "base-99", "../1", "adapter-1e9", "1" * 400])
def test_a_choice_that_names_nobody_is_empty(store: Store, text: str | None) -> None:
    assert contestants.read(store, text) == []


def test_an_adapter_answers_at_other_strengths_where_its_update_can_be_multiplied(store: Store) -> None:
    llama = base(store, "llama")
    dora = add_adapter(store, llama, name="turned", method="dora")
    one = adapter(store, llama, "one")
    assert list(offered(store))[1:] == ["one", "turned"]
    half, whole = contestants.read(store, f"adapter-{one.id}@0.5,adapter-{one.id}")
    assert (half.can_be_scaled, contestants.read(store, f"adapter-{dora.id}")[0].can_be_scaled) == (True, False)
    assert (half.name, half.strength, half.value, whole.name) == ("one@0.5", 0.5, f"adapter-{one.id}@0.5", "one")
    assert half.identity == f"{one.sha256}@0.5" != whole.identity
    assert contestants.advice([half, whole]) == ""
    standing = contestants.standing(store, f"{one.id}@0.5", f"base-{llama.id},adapter-{one.id}")
    assert [who.name for who in standing] == ["base", "one@0.5"]
    (problem,) = contestants.problems(contestants.read(store, f"adapter-{dora.id}@0.5"))
    assert problem.startswith("turned@0.5: only low-rank adapters")
    assert contestants.read(store, f"adapter-{one.id}@3") == []


def test_names_are_told_apart_by_their_base_when_there_are_several(store: Store) -> None:
    llama = base(store, "llama")
    adapter(store, llama, "one")
    assert list(offered(store))[:2] == ["base", "one"]
    base(store, "gpt")
    assert list(offered(store))[:3] == ["base: llama", "base: gpt", "one (llama)"]


def test_adapters_answer_on_what_all_of_them_were_trained_on_else_on_the_full_base(store: Store) -> None:
    llama = base(store, "llama")
    four, also = (adapter(store, llama, name, base_precision="nf4") for name in ("four", "also"))
    eight = adapter(store, llama, "eight", base_precision="int8")
    full, old = adapter(store, llama, "full", base_precision="full"), adapter(store, llama, "old")
    said = {
        (): ("full", ""),
        (full, old): ("full", ""),
        (four,): ("nf4", "Base in NF4, as the adapter was trained."),
        (four, also): ("nf4", "Base in NF4, as the adapters were trained."),
        (four, eight, old): (
            "full",
            "Base in full precision, as the adapters were trained on different ones: "
            "four on NF4, eight on int8, old on the full base.",
        ),
    }
    for adapters, expected in said.items():
        people = [Contestant(llama, one) for one in (None, *adapters)]
        assert (contestants.precision(adapters), contestants.precision_note(people)) == expected
        assert contestants.precision_of(people) == expected[0]


def test_who_cannot_share_a_pass_is_named_before_anyone_answers(store: Store) -> None:
    llama = base(store, "llama")
    low, biased = adapter(store, llama, "low", rank=8), adapter(store, llama, "biased", bias="all")
    soft = add_adapter(store, llama, name="soft", method="Soft prompt", settings={"method": "prompt"})
    people = [Contestant(llama, one) for one in (None, low, biased, soft)]
    assert contestants.passes_note(people[:2]) == ""
    assert contestants.passes_note(people[2:3]) == ""
    assert contestants.passes_note(people[:3]) == (
        "biased is not low-rank alone, so it answers after the others, in a pass of its own."
    )
    assert contestants.passes_note(people).startswith("biased, soft are not low-rank alone, so each answers")


def test_whoever_stands_twice_is_told_apart_by_number_and_nobody_is_told_off_for_it(store: Store) -> None:
    llama = base(store, "llama")
    one = adapter(store, llama, "one")
    text = f"base-{llama.id},base-{llama.id}#2,adapter-{one.id}@0.5,adapter-{one.id}@0.5#3"
    found = contestants.read(store, text)
    assert [who.value for who in found] == text.split(",")
    assert (contestants.problems(found), contestants.advice(found)) == ([], "")
    assert found[2].identity == found[3].identity


def test_line_ups_are_offered_at_one_press_the_best_of_a_grid_first(store: Store, furnished: Furnished) -> None:
    tiny, data = furnished
    assert columns.presets(store) == []
    ids = []
    for number, loss in enumerate((2.0, 1.0, 3.0)):
        job = store.submit("train", f"g{number}", {}, base_model_id=tiny.id, data_set_id=data.id, grid="aa")
        ids.append(add_adapter(store, tiny, name=f"g{number}", job_id=job.id, validation_loss=loss).id)
    alone = add_adapter(store, tiny, name="alone")
    newest, grid = columns.presets(store)
    assert (newest["label"], newest["values"]) == ("Base against newest", [f"base-{tiny.id}", f"adapter-{alone.id}"])
    assert grid["label"] == "All of this grid"
    assert grid["values"] == [f"base-{tiny.id}", *(f"adapter-{ids[at]}" for at in (1, 0, 2))]
    shown = columns.facts(store, contestants.read(store, f"base-{tiny.id},adapter-{alone.id}@0.5"))
    assert shown["columns"][1] == {
        "value": f"adapter-{alone.id}@0.5",
        "name": "alone",
        "label": "alone@0.5",
        "base": "tiny",
        "scalable": True,
    }
