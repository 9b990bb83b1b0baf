"""What the Suites card of the page may ask: nothing is believed, and a suite goes from made to deleted."""

from typing import Any

import pytest

from adapters_store.errors import StoreError
from adapters_store.store import Store
from engine.suites.prompts import SuiteError
from jobs.ask import Answerer
from studio.page import Studio
from studio.suites_card import questions
from tests.furnish import add_adapter, furnish

pytestmark = pytest.mark.usefixtures("no_runner")


@pytest.fixture
def ask(store: Store) -> dict[str, Any]:
    """The questions by their names."""
    studio = Studio(store, Answerer(store.files.log("answerer")), store.files.root)
    return {one.__name__: one for one in questions(studio)}


def test_a_suite_is_made_run_stopped_gone_on_with_deleted_and_brought_back(store: Store, ask: dict[str, Any]) -> None:
    base, _ = furnish(store)
    made = ask["suites_make"](
        {"name": "rain", "way": "typed", "text": "Rain?\n\nSea?", "score": [], "system": "Short."}
    )
    state = ask["suites_state"]({"suite": made["id"]})
    assert (state["rows"][0]["fact"], state["open"]["system"]) == ("2 prompts, typed", "Short.")
    assert (state["rows"][0]["scores"], state["open"]["scored"]) == ("not scored", False)
    people = f"base-{base.id}"
    assert ask["suites_people"]({"people": people}) == {"names": ["base"], "problems": []}
    run = ask["suites_run"]({"suite": made["id"], "people": people, "temperature": 0, "max_tokens": 20})
    told = ask["suites_result"]({"run": run["id"], "first": 0})
    assert (told["result"]["live"], told["result"]["total"]) == (True, 2)
    assert [one["prompt"] for one in told["answers"]] == ["Rain?", "Sea?"]
    ask["suites_stop"]({"run": run["id"]})
    assert ask["suites_result"]({"run": run["id"], "first": 1})["result"]["state"] == "cancelled"
    ask["suites_go_on"]({"run": run["id"]})
    assert len(store.jobs(kinds=["suite"])) == 2
    with pytest.raises(SuiteError, match="is under way"):
        ask["suites_go_on"]({"run": run["id"]})
    other = ask["suites_run"]({"suite": made["id"], "people": people, "temperature": 1, "max_tokens": 20})
    changed = ask["suites_changed"]({"run": other["id"], "against": run["id"]})
    assert (changed["rows"], changed["says"]) == ([], "Nothing was answered in both runs yet.")
    ask["suites_delete"]({"suite": made["id"]})
    assert ask["suites_state"]({"suite": made["id"]}) == {"rows": [], "open": None}
    ask["suites_undo"]({"suite": made["id"]})
    assert len(ask["suites_state"]({})["rows"]) == 1


def test_a_run_of_two_is_handed_to_a_judge_and_a_run_of_one_is_not(store: Store, ask: dict[str, Any]) -> None:
    base, _ = furnish(store)
    adapter = add_adapter(store, base, name="sound")
    made = ask["suites_make"]({"name": "rain", "way": "typed", "text": "Rain?", "score": []})
    (judges,) = ask["suites_judges"]({}).values()
    assert {"value": f"base-{base.id}", "name": "base"} in judges
    people = [f"base-{base.id}", f"adapter-{adapter.id}"]
    runs = [
        ask["suites_run"]({"suite": made["id"], "people": ",".join(some), "temperature": 0, "max_tokens": 9})["id"]
        for some in (people, people[:1])
    ]
    handed = {"run": runs[0], "judge": people[0], "against": 1}
    with pytest.raises(SuiteError, match="Have it judged when it has ended"):
        ask["suites_judge"](handed)
    for run in runs:
        ask["suites_stop"]({"run": run})
    ask["suites_judge"](handed)
    judge = ask["suites_result"]({"run": runs[0], "first": 0})["result"]["judge"]
    assert (judge["name"], judge["against"], judge["rows"][0]["name"]) == ("base", adapter.name, "base")
    assert judge["rows"][0]["words"] == "–"
    with pytest.raises(SuiteError, match="two contestants or more"):
        ask["suites_judge"]({**handed, "run": runs[1], "against": 0})
    with pytest.raises(StoreError, match="no longer in the library"):
        ask["suites_judge"]({**handed, "judge": "adapter-999"})


def test_a_data_set_becomes_a_suite_and_nonsense_becomes_none(store: Store, ask: dict[str, Any]) -> None:
    _, data = furnish(store)
    choices = ask["suites_choices"]({})
    assert data.id in [one["id"] for one in choices["data"]]
    made = ask["suites_make"]({"name": "all", "way": "data", "data": data.id, "score": ["chrf"]})
    assert store.suite(made["id"]).prompt_count == data.rows
    typed = {"name": "typed", "way": "typed", "text": "Rain?\n\nSea?", "references": "Wet.\n\n"}
    kept = store.suite_prompts(ask["suites_make"](typed)["id"])
    assert [(one.messages[0]["content"], one.reference) for one in kept] == [("Rain?", "Wet."), ("Sea?", None)]
    with pytest.raises(SuiteError, match="without a prompt, in line 2"):
        ask["suites_make"]({**typed, "name": "stray", "references": "Wet.\nNothing."})
    for given in (None, {"way": "data", "data": "1"}, {"way": "magic"}, {"way": "typed", "text": 7}):
        with pytest.raises(ValueError):  # noqa: PT011  SuiteError is one
            ask["suites_make"](given)
    with pytest.raises(SuiteError, match="from 0 to 2"):
        ask["suites_run"]({"suite": made["id"], "people": "", "temperature": "hot", "max_tokens": 20})
    with pytest.raises(SuiteError, match="Choose at least one contestant"):
        ask["suites_run"]({"suite": made["id"], "people": "", "temperature": 0, "max_tokens": 20})
