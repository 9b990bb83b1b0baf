"""Chat templates known by name: what they write, against renderings by hand; and that they go with what was trained."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from adapters_store.store import Store
from adapters_store.tables import Adapter
from engine import adapter_files, generate, likelihood, merge, models
from engine.data import known_templates
from engine.data.problems import DataError
from engine.data.render import IGNORED, encode
from engine.data.template import PLAIN
from engine.methods import fit
from engine.settings import parse, titles
from jobs.answerer import Desk
from jobs.ending import Ending
from jobs.requests import KINDS
from jobs.worker import do
from tests.tiny import tiny_tokenizer
from tests.workshop import QUICK, add_base, add_rows, shared_tiny_model

pytestmark = pytest.mark.usefixtures("one_thread_each", "no_runner")

TURNS = [("system", "S"), ("user", "q"), ("assistant", "a"), ("user", "r"), ("assistant", "b")]
MARKS = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<start_of_turn>", "<end_of_turn>"]
BY_HAND = {  # bos is <|endoftext|>, eos <|im_end|>; [] is learned
    "plain": "System: S\nUser: q\nAssistant:[ a<|im_end|>]\nUser: r\nAssistant:[ b<|im_end|>]\n",
    "chatml": "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n[a<|im_end|>]\n"
    "<|im_start|>user\nr<|im_end|>\n<|im_start|>assistant\n[b<|im_end|>]\n",
    "llama3": "<|endoftext|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user"
    "<|end_header_id|>\n\nq<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n[a<|eot_id|>]<|start_header_id|>"
    "user<|end_header_id|>\n\nr<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n[b<|eot_id|>]",
    "gemma": "<|endoftext|><start_of_turn>user\nS\n\nq<end_of_turn>\n<start_of_turn>model\n[a<end_of_turn>]\n"
    "<start_of_turn>user\nr<end_of_turn>\n<start_of_turn>model\n[b<end_of_turn>]\n",
    "mistral": "<|endoftext|>{INST} S\n\nq {/INST}[ a<|im_end|>]{INST} r {/INST}[ b<|im_end|>]",
    "alpaca": "<|endoftext|>S\n\n### Instruction:\nq\n\n### Response:\n[a<|im_end|>]\n\n"
    "### Instruction:\nr\n\n### Response:\n[b<|im_end|>]\n\n",
}


def test_each_is_a_choice_of_the_setting_and_written_out_by_hand_here() -> None:
    assert {*known_templates.KNOWN} == {*BY_HAND} == {*titles("chat_template")} - {known_templates.OWN}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_known_template_writes_and_marks_what_is_written_out_by_hand(name: str) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": MARKS})
    other = known_templates.put(tokenizer, name)
    example = encode(other, {"messages": [{"role": role, "content": text} for role, text in TURNS]}, 1000)
    by_hand = BY_HAND[name]
    text = by_hand.replace("[", "").replace("]", "").replace("{", "[").replace("}", "]")
    assert other.decode(example.ids) == text
    learned = [part.partition("]")[0] for part in by_hand.split("[")[1:]]
    assert other.decode([label for label in example.labels if label != IGNORED]) == "".join(learned)
    ends = known_templates.end_mark(other)
    assert other.convert_ids_to_tokens(ends) == learned[0].strip().removeprefix("a")
    assert known_templates.gap(other) == (" " if name in ("plain", "mistral") else "")
    assert tokenizer.chat_template != PLAIN, "the given tokenizer stays as it is"


@pytest.mark.parametrize("name", ["llama3", "gemma"])
def test_a_template_whose_marks_are_no_tokens_of_the_model_is_refused_in_words(name: str) -> None:
    with pytest.raises(DataError, match=f"no tokens .*, which the chat template {titles('chat_template')[name]} needs"):
        known_templates.put(tiny_tokenizer(), name)


def test_what_a_person_should_know_of_a_template_is_told() -> None:
    assert known_templates.told("own", has_own=True) == ""
    assert "in plain words" in known_templates.told("own", has_own=False)
    assert "written as Alpaca, as was chosen" in known_templates.told("alpaca", has_own=False)
    assert "has a chat template of its own" in known_templates.told("alpaca", has_own=True)


# --- what was chosen goes with what was trained -----------------------------------------------------------------------


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """The tiny model without a chat template."""
    folder = shutil.copytree(shared_tiny_model(), tmp_path / "bare")
    (folder / "chat_template.jinja").unlink()
    return folder


@pytest.fixture
def trained(store: Store, bare: Path) -> Callable[[str], Adapter]:
    def train(template: str) -> Adapter:
        values: dict[str, Any] = {**QUICK, "epochs": 1, "chat_template": template}
        base, data = add_base(store, bare), add_rows(store, 8)
        job = store.submit("train", template, values, base_model_id=base.id, data_set_id=data.id)
        do(store, job.id, Ending())
        assert store.job(job.id).state == "completed", store.job(job.id).why
        return store.adapters(limit=1)[0][0]

    return train


def test_the_template_travels_with_adapter_answer_reference_and_merged_model(
    store: Store, trained: Callable[[str], Adapter], bare: Path, tmp_path: Path
) -> None:
    folder = store.adapter_path(trained("alpaca"))
    assert (folder / "chat_template.jinja").read_text() == known_templates.KNOWN["alpaca"].text
    adapter, base = adapter_files.read(folder), models.load(bare)
    question = [{"role": "user", "content": "what is rain?"}]
    prompt = "<|endoftext|>### Instruction:\nwhat is rain?\n\n### Response:\n"
    ids = base.tokenizer(prompt, add_special_tokens=False)["input_ids"]
    *_, last = generate.compare(base, [None, adapter], question, seed=0, temperature=0, top_p=1.0, max_tokens=8)
    *_, alone = generate.compare(base, [adapter], question, seed=0, temperature=0, top_p=1.0, max_tokens=8)
    with merge.merged(base.model, adapter), torch.inference_mode():
        given = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids))}
        greedy = base.model.generate(**given, max_new_tokens=8, do_sample=False)
    said = greedy[0, len(ids) :].tolist()
    ends = [place for place, token in enumerate(said) if token == base.tokenizer.eos_token_id]
    assert last.ids[1] == alone.ids[0] == said[: min(ends, default=len(said))]
    (told,) = likelihood.reference_logprob(base, [adapter], question, "Water.")
    assert told.tokens == len(base.tokenizer("Water.<|im_end|>", add_special_tokens=False)["input_ids"])
    merge.save_merged(base, adapter, tmp_path / "merged")
    exported = AutoTokenizer.from_pretrained(tmp_path / "merged")
    assert exported.apply_chat_template(question, tokenize=False, add_generation_prompt=True) == prompt
    adapter_files.take_over(folder, _made(tmp_path / "taken"), base_name="x", model=base.model)
    assert adapter_files.read(tmp_path / "taken").template == adapter.template
    (folder / "chat_template.jinja").write_text("{{ 7 * 7 }}")
    assert adapter_files.read(folder).template is None, "one from elsewhere is not believed"


def test_the_template_of_a_zip_is_taken_over_with_its_adapter(store: Store, trained: Callable[[str], Adapter]) -> None:
    adapter = trained("chatml")
    archive = shutil.make_archive(str(store.files.root / "mine"), "zip", store.adapter_path(adapter))
    settings = {"path": archive, "name": "mine", "upload": False}
    job = store.submit("import", "mine", settings, base_model_id=adapter.base_model_id)
    do(store, job.id, Ending())
    assert store.job(job.id).state == "completed", store.job(job.id).why
    taken = next(one for one in store.adapters(limit=9)[0] if one.name == "mine")
    assert adapter_files.read(store.adapter_path(taken)).template == known_templates.KNOWN["chatml"].text


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_an_answer_ends_where_the_taught_template_ends_it(bare: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(bare)
    tokenizer.add_special_tokens({"additional_special_tokens": MARKS})
    tokenizer.save_pretrained(bare)
    model = AutoModelForCausalLM.from_pretrained(bare)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(bare)
    base = models.load(bare)
    chosen = parse({"rank": 2, "alpha": 4, "chat_template": "llama3"})
    fitted = fit(base.model, chosen)
    tensors = fitted.tensors()
    fitted.remove()
    template = known_templates.travelling("llama3", has_own=False)
    folder = _made(tmp_path / "adapter")
    adapter_files.write(folder, tensors, base_name="x", settings=chosen, model=base.model, template=template)
    adapter, eot = adapter_files.read(folder), tokenizer.convert_tokens_to_ids("<|eot_id|>")
    assert generate._ends(base, adapter) == generate.end_tokens(base) | {eot}
    assert generate._ends(base, None) == generate.end_tokens(base)
    merge.save_merged(base, adapter, tmp_path / "merged")
    ends = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").generation_config.eos_token_id
    assert ends == [base.tokenizer.eos_token_id, eot]


def test_tokens_lengths_and_plan_are_those_of_the_chosen_template(bare: Path, store: Store) -> None:
    data = add_rows(store, 3)
    payload = {"base_path": str(bare), "rows_path": str(store.rows_path(data)), "first": 0, "count": 1}
    desk, told = Desk(), {}
    for name in ("own", "plain", "chatml", "alpaca"):
        asked = {**payload, "settings": {"chat_template": name}}
        told[name] = [next(iter(KINDS[kind](desk, asked, lambda: False))) for kind in ("view", "lengths", "plan")]
    assert told["own"][0] == told["plain"][0]
    assert [told[name][1]["template"] for name in told] == [None, None, "ChatML", "Alpaca"]
    assert "in plain words" in told["own"][1]["warning"]
    assert "as Alpaca, as was chosen" in told["alpaca"][1]["warning"]
    first = "".join(piece["text"] for piece in told["alpaca"][0]["rows"][0]["pieces"])
    assert first.startswith("<|endoftext|>### Instruction:\nQuestion 0: what is the sea?\n\n### Response:\nArr,")
    assert told["alpaca"][2]["longest"] == told["alpaca"][1]["max"] != told["chatml"][2]["longest"]
    with pytest.raises(DataError, match="<start_of_turn>"):
        next(iter(KINDS["lengths"](desk, {**payload, "settings": {"chat_template": "gemma"}}, lambda: False)))
