"""The Compare tab as a person meets it: the base and what was trained answer one prompt side by side.

Real: two short runs train the tiny model first, and the answerer loads it once. What it says makes no sense; that it
says it, and under whose name, does.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Response, expect

from adapters_store.store import Store
from adapters_store.tables import Adapter
from studio.comparing import order
from tests.browser.conftest import Late, OpenPage, Served, blocking_faults
from tests.furnish import add_adapter
from tests.tiny import make_tiny_model
from tests.workshop import QUICK, add_base, add_rows, wait_for

FETCH = "address => fetch(address).then(answer => answer.text())"
SLOW = 90_000  # milliseconds; the answerer has to load torch


@pytest.fixture(scope="module")
def adapters(studio: Served) -> tuple[Adapter, Adapter]:
    """Two adapters that a real worker trained."""
    store = studio.store
    base, rows = store.base_models()[0], add_rows(store)
    for rank in (4, 8):
        values = {**QUICK, "rank": rank, "alpha": 2 * rank}
        store.submit("train", f"manner-r{rank}", values, base_model_id=base.id, data_set_id=rows.id)
    wait_for(lambda: store.adapters()[1] == 2, 180, "two runs to finish")
    one, two = (store.adapters(search=f"manner-r{rank}")[0][0] for rank in (4, 8))
    return one, two


@pytest.fixture
def talker(studio: Served, adapters: tuple[Adapter, Adapter], tmp_path: Path) -> Adapter:
    """An adapter of a base model that says the end of an answer to nothing, so that somebody has to stop it.

    Its end-of-text token has the score 0, always, and of hundreds of random scores one is higher.
    """
    import torch
    from transformers import AutoModelForCausalLM

    folder = make_tiny_model(tmp_path / "endless")
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.get_input_embeddings().weight[model.config.eos_token_id] = 0
    model.config.max_position_embeddings = 8192
    model.save_pretrained(folder)
    store = studio.store
    base, rows = add_base(store, folder, name="endless"), add_rows(store)
    store.submit("train", "talker", QUICK, base_model_id=base.id, data_set_id=rows.id)
    wait_for(lambda: store.adapters(search="talker")[1] == 1, 180, "the run to finish")
    return store.adapters(search="talker")[0][0]


def columns(page: Page) -> Locator:
    return page.locator(".answer")


def ask(page: Page, prompt: str) -> None:
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.get_by_role("button", name="Answer").click()


def texts(page: Page) -> list[str]:
    return page.locator(".answer-text .said").all_inner_texts()


def test_a_finished_run_goes_to_compare_in_one_click_and_both_answer(
    open_page: OpenPage, studio: Served, adapters: tuple[Adapter, Adapter]
) -> None:
    one, _ = adapters
    page = open_page(f"tab=runs&job={one.job_id}")
    page.get_by_role("button", name="Compare with the base").click()
    expect(page.locator("#compare-who .token")).to_have_text([re.compile("base"), re.compile(one.name)])
    expect(page.get_by_label("Prompt", exact=True)).to_be_focused()
    ask(page, "Question 3: what is rain?")
    expect(page.get_by_role("status").get_by_text("2 answers ready.")).to_be_visible(timeout=SLOW)
    expect(columns(page).get_by_role("heading")).to_have_text(["base", one.name])
    base, trained = columns(page).nth(0), columns(page).nth(1)
    expect(base).to_contain_text("Base model tiny")
    expect(trained).to_contain_text(f"Adapter {one.sha256.rpartition(':')[2][:7]}")
    for column in (base, trained):
        expect(column).to_contain_text(re.compile(r"Seed 7, temperature 0\.7, [\d.]+ tokens/s"))
    assert len(set(texts(page))) == 2
    expect(page.locator(".answers")).to_have_attribute("aria-busy", "false")
    expect(page.get_by_role("button", name="Answer")).to_be_visible()


def test_the_same_seed_gives_the_same_answers_and_another_seed_others(
    open_page: OpenPage, adapters: tuple[Adapter, Adapter]
) -> None:
    one, two = adapters
    page = open_page(f"tab=compare&contestants={one.id},{two.id}")
    expect(page.locator("#compare-who .token")).to_have_count(3)
    answers = []
    for seed in ("7", "8", "7"):
        page.get_by_label("Seed", exact=True).fill(seed)
        ask(page, "Question 5: what is bread?")
        expect(page.get_by_text(f"Seed {seed}, ").first).to_be_visible(timeout=SLOW)
        expect(page.get_by_role("status").get_by_text("3 answers ready.")).to_be_visible(timeout=SLOW)
        answers.append(texts(page))
    assert answers[0] == answers[2]
    assert answers[1] != answers[0]


def test_stop_ends_the_answers_and_keeps_what_was_said(open_page: OpenPage, talker: Adapter) -> None:
    page = open_page(f"tab=compare&contestants={talker.id}")
    page.get_by_role("button", name="Sampling").click()
    page.get_by_role("spinbutton", name="Most tokens").fill("1024")
    page.get_by_role("spinbutton", name="Temperature").fill("0")
    ask(page, "Question 1: what is the sea?")
    expect(page.locator(".answer-text .said").first).to_have_text(re.compile("."), timeout=SLOW)
    stop = page.get_by_role("button", name="Stop")
    stop.click()
    expect(page.get_by_role("status").get_by_text("Stopped.")).to_be_visible()
    expect(stop).to_be_hidden()
    expect(page.locator(".answer-text .said").first).to_have_text(re.compile("."))
    page.get_by_role("spinbutton", name="Most tokens").fill("16")
    ask(page, "And now?")
    expect(page.get_by_role("status").get_by_text("2 answers ready.")).to_be_visible(timeout=SLOW)


def test_what_is_missing_or_wrong_is_said_in_words(open_page: OpenPage, adapters: tuple[Adapter, Adapter]) -> None:
    page = open_page("tab=compare")
    expect(page.get_by_role("heading", name="Ask all of them the same thing")).to_be_visible()
    expect(page.get_by_text("Add an adapter to have something to compare.")).to_be_visible()
    page.get_by_role("button", name="Answer").click()
    expect(page.get_by_role("alert")).to_contain_text("Type a prompt first")


def test_the_example_fills_the_prompt(open_page: OpenPage, adapters: tuple[Adapter, Adapter]) -> None:
    page = open_page(f"tab=compare&contestants={adapters[0].id}")
    example = page.get_by_role("button", name=re.compile("For example: "))
    words = example.inner_text().removeprefix("For example: ")
    example.click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value(words)


def test_columns_differ_go_on_with_their_own_answers_and_say_that_bases_come_in_turn(
    open_page: OpenPage, studio: Served, adapters: tuple[Adapter, Adapter]
) -> None:
    one, _ = adapters
    stranger = _adapter_of_another_base(studio.store)
    page = open_page(f"tab=compare&contestants={one.id},{stranger.id}")
    expect(page.locator("#compare-note")).to_contain_text("each is loaded in turn: tiny, other")
    page.get_by_role("button", name=f"Take out {stranger.name}").click()
    studio.store.delete_adapter(stranger.id)
    page.get_by_role("spinbutton", name=f"Strength of {one.name}").fill("0.5")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Sampling").click()
    page.get_by_role("spinbutton", name="Most tokens").fill("8")
    page.get_by_role("spinbutton", name="Samples each").fill("2")
    page.get_by_role("button", name="Per column").click()
    page.get_by_role("spinbutton", name=f"Temperature of {one.name}").fill("0")
    ask(page, "Question 8: what is iron?")
    expect(page.get_by_role("status").get_by_text("4 answers ready.")).to_be_visible(timeout=SLOW)
    own = f"{one.name}@0.5 #%d, temperature 0"
    expect(columns(page).get_by_role("heading")).to_have_text(["base #1", "base #2", own % 1, own % 2])
    expect(columns(page).nth(1)).to_contain_text("Seed 8, temperature 0.7")
    before = texts(page)
    assert before[2] == before[3]
    page.get_by_label("Next question to all columns").fill("And rust?")
    page.keyboard.press("Enter")
    expect(columns(page).nth(1).locator(".turns")).to_contain_text("And rust?", timeout=SLOW)
    expect(page.get_by_role("status").get_by_text("4 answers ready.")).to_be_visible(timeout=SLOW)
    (first, second) = studio.store.comparisons(limit=2)[::-1]
    assert (second.follows_id, second.prompt) == (first.id, "And rust?")
    expect(columns(page).nth(0).locator(".was-said").first).to_have_text(first.answers[0].text)


def test_contestants_are_chosen_by_hand_and_a_reload_keeps_the_whole_question(
    open_page: OpenPage, adapters: tuple[Adapter, Adapter]
) -> None:
    one, two = adapters
    page = open_page("tab=compare")
    expect(page.locator("#compare-who .token")).to_have_count(1)
    page.get_by_role("combobox", name="Contestants").click()
    page.get_by_role("option", name=re.compile(rf"^{one.name}( \(tiny\))?$")).click()
    page.get_by_role("option", name=re.compile(rf"^{two.name}( \(tiny\))?$")).click()
    expect(page).to_have_url(re.compile(f"contestants={one.id},{two.id}"))
    page.get_by_role("button", name=f"Take out {one.name}").click()
    expect(page).to_have_url(re.compile(f"contestants={two.id}(&|$)"))
    page.keyboard.press("Escape")
    page.get_by_role("spinbutton", name=f"Strength of {two.name}").fill("0.5")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Sampling").click()
    page.get_by_role("button", name="Per column").click()
    page.get_by_role("button", name="Add once more").first.click()
    expect(page).to_have_url(re.compile(f"contestants={two.id}%400.5(&|$)"))
    numbers = {"Most tokens": "8", "Samples each": "2", "Seed": "11", f"Temperature of {two.name}": "0"}
    words = {"Prompt": "What is rain?", "Stop words": "END", "System prompt": "Be kind."}
    filled = {
        **numbers,
        **words,
        re.compile("^System prompt of base"): "Be",
    }  # its base is named where there are several
    for name, said in filled.items():
        page.get_by_label(name, exact=True).first.fill(said)
    page.get_by_role("radio", name="Blind").check()
    page.reload()
    expect(page.locator("#compare-who .token")).to_have_text(
        [re.compile("base"), re.compile("base"), re.compile(two.name)]
    )
    expect(page.get_by_role("spinbutton", name=f"Strength of {two.name}")).to_have_value("0.5")
    for name, said in filled.items():
        expect(page.get_by_label(name, exact=True).first).to_have_value(said)
    expect(page.get_by_role("radio", name="Blind")).to_be_checked()
    page.get_by_role("radio", name="Open").check()
    page.get_by_role("button", name="Answer").click()
    expect(page.get_by_role("status").get_by_text("6 answers ready.")).to_be_visible(timeout=SLOW)
    expect(columns(page).nth(5)).to_contain_text("Seed 12, temperature 0")


def test_answer_does_not_wait_until_the_contestants_of_the_address_are_shown(
    open_page: OpenPage, adapters: tuple[Adapter, Adapter]
) -> None:
    late = Late(but='"Question ')
    page = open_page(f"tab=compare&contestants={adapters[0].id}", prepare=late.hold)
    ask(page, "Question 4: what is a hill?")
    expect(page.get_by_role("status").get_by_text("2 answers ready.")).to_be_visible(timeout=SLOW)
    assert late.held
    late.release()
    expect(page.locator("#compare-who .token")).to_have_text([re.compile("base"), re.compile(adapters[0].name)])
    expect(page.get_by_role("status").get_by_text("2 answers ready.")).to_be_visible()


def test_answer_does_not_wait_until_a_handover_is_shown(
    open_page: OpenPage, studio: Served, adapters: tuple[Adapter, Adapter]
) -> None:
    late, (one, two) = Late(but='"Question '), adapters
    page = open_page(f"tab=compare&contestants={one.id}")
    expect(page.locator("#compare-who .token")).to_have_text([re.compile("base"), re.compile(one.name)])
    page.get_by_role("tab", name="Library").click()
    page.get_by_role("cell", name=two.name, exact=True).click()
    expect(page.locator(".detail").get_by_role("heading", name=two.name, exact=True)).to_be_visible()
    late.hold(page)
    page.locator(".detail").get_by_role("button", name="Compare with the base").click()
    ask(page, "Question 4: what is a hill?")
    expect(page.get_by_role("status").get_by_text("2 answers ready.")).to_be_visible(timeout=SLOW)
    expect(columns(page).get_by_role("heading")).to_have_text(["base", two.name])
    studio.store.rename_adapter(one.id, one.name)  # the library has changed, which asks for the choices once more
    wait_for(lambda: page.evaluate("true") and len(late.held) > 1, 60, "the page to ask for the choices")
    late.release(backwards=True)
    expect(page.locator("#compare-who .token")).to_have_text([re.compile("base"), re.compile(two.name)])


def test_a_blind_vote_is_blind_in_all_that_reaches_the_browser(
    open_page: OpenPage, studio: Served, adapters: tuple[Adapter, Adapter]
) -> None:
    one, two = adapters
    page = open_page(f"tab=compare&contestants={one.id},{two.id}")
    expect(page.locator("#compare-who .token")).to_have_count(3)
    page.get_by_role("radio", name="Blind").check()
    heard: list[Response] = []
    page.on("response", lambda answer: heard.append(answer))  # a built-in function would not be taken
    ask(page, "Question 6: what is salt?")
    expect(page.get_by_role("button", name="B is best 2")).to_be_enabled(timeout=SLOW)
    (kept,) = studio.store.comparisons(search="salt")
    wait_for(lambda: page.evaluate("true") and studio.store.comparison(kept.id).answers[0].weights, 60, "the proof")
    seen = [answer.text() for answer in heard if re.search("queue/data|component_server", answer.url)]
    seen = [re.sub(rf'{{"key":(?!{kept.id},)[^}}]*}}', "", text) for text in seen]  # what was kept before may be told
    seen.append(page.locator("#compare-answers .answers").evaluate("node => node.outerHTML"))
    kept = studio.store.comparison(kept.id)
    people = [one.name, two.name, "tokens/s", "Seed 7", "KL ", "base model", f'"sides": {kept.sides}']
    hashes = [answer.weights for answer in kept.answers] + [answer.identity for answer in kept.answers]
    for secret in [*people, *(str(hashed).rpartition(":")[2][:7] for hashed in hashes)]:
        assert [text for text in seen if secret.lower() in text.lower()] == [], secret
    assert any("is best" in text for text in seen)
    assert page.evaluate(FETCH, f"/download/comparisons.md?id={kept.id}") == ""
    assert any(kept.answers[0].text in text for text in texts(page))
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("2")
    chosen = kept.answers[order(3, kept.sides)[1]]
    expect(page.get_by_text(f"You chose B: {chosen.name}.")).to_be_visible()
    expect(columns(page).get_by_role("heading")).to_have_text([kept.answers[i].name for i in order(3, kept.sides)])
    expect(columns(page).nth(1)).to_contain_text("Your choice")
    proof = re.compile(r"KL \d\.\d{3} from base.*tensors \w{7}")
    expect(columns(page).nth(order(3, kept.sides).index(1))).to_contain_text(proof)
    assert f"### {chosen.name} (chosen)" in page.evaluate(FETCH, f"/download/comparisons.md?id={kept.id}")
    assert '"chosen"' in page.evaluate(FETCH, "/download/preference-pairs.jsonl")
    expect(page.locator(".scores")).to_contain_text("1 blind vote on 1 prompt")
    expect(page).to_have_url(re.compile(f"[?&]id={kept.id}(&|$)"))
    page.reload()
    expect(page.get_by_text(f"You chose B: {chosen.name}.")).to_be_visible()
    page.get_by_role("button", name="Ask again exactly").click()
    expect(page.get_by_role("status").get_by_text("all 3 answers exactly as before")).to_be_visible(timeout=SLOW)


def test_axe_finds_nothing_serious(open_page: OpenPage, adapters: tuple[Adapter, Adapter]) -> None:
    page = open_page(f"tab=compare&contestants={adapters[0].id}&__theme=light")
    ask(page, "Question 2: what is iron?")
    expect(page.get_by_role("status").get_by_text("2 answers ready.")).to_be_visible(timeout=SLOW)
    page.get_by_role("button", name="Sampling").click()
    assert blocking_faults(page) == []


def _adapter_of_another_base(store: Store) -> Adapter:
    other = next((base for base in store.base_models() if base.name == "other"), None) or store.add_base_model(
        name="other", source="folder", path="/models/other", folder=None, fingerprint="sha256:other", facts={}
    )
    return add_adapter(store, other, name="stranger")
