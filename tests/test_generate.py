"""Answers: one batch for all contestants, the same seed for each, and an honest end."""

from itertools import islice
from pathlib import Path

import pytest
import torch

from engine import adapter_files, models
from engine.adapter_files import AdapterOnDisk
from engine.data.render import prompt_ids
from engine.generate import Asked, answers, compare, end_tokens, score
from engine.methods import fit
from engine.methods.inject import linear_layers
from engine.passes import validation_loss
from engine.sampling import Narrowing, Sampling
from engine.settings import RunSettings
from engine.train import prepare, train
from tests.tiny import make_tiny_model, tiny_rows

PROMPT = [{"role": "user", "content": "Question 3: what is rain?"}]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> models.LoadedBase:
    return models.load(make_tiny_model(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(scope="module")
def adapters(base: models.LoadedBase, tmp_path_factory: pytest.TempPathFactory) -> list[AdapterOnDisk]:
    """Two adapters of different rank, really trained."""
    made = []
    for rank in (4, 9):
        settings = RunSettings(rank=rank, alpha=2 * rank, learning_rate=1e-2, batch_size=8, epochs=4, seed=rank)
        fitted = fit(base.model, settings)
        for _ in train(base, fitted, prepare(base.tokenizer, tiny_rows(48), settings, 256), settings):
            pass
        folder = tmp_path_factory.mktemp("adapter")
        tensors = fitted.tensors()
        fitted.remove()
        adapter_files.write(folder, tensors, base_name="t", settings=settings, model=base.model)
        made.append(adapter_files.read(folder))
    return made


def _last(base: models.LoadedBase, who: list[AdapterOnDisk | None], **options: object) -> list[str]:
    *_, last = compare(base, who, PROMPT, **({"max_tokens": 12, "seed": 3} | options))  # type: ignore[arg-type]
    return last.texts


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_an_answer_does_not_depend_on_who_else_is_in_the_batch(
    base: models.LoadedBase, adapters: list[AdapterOnDisk], temperature: float
) -> None:
    one, two = adapters
    together = _last(base, [None, one, two], temperature=temperature)
    assert together == [_last(base, [who], temperature=temperature)[0] for who in (None, one, two)]
    assert len(set(together)) == 3


def test_whoever_has_finished_leaves_the_batch_and_the_others_answer_as_they_do_alone(
    base: models.LoadedBase, adapters: list[AdapterOnDisk]
) -> None:
    who, sizes = [adapters[0], None, adapters[1]], []
    seen = base.model.register_forward_pre_hook(
        lambda _, __, given: sizes.append(len(given["input_ids"])), with_kwargs=True
    )
    *_, together = compare(base, who, PROMPT, temperature=0, max_tokens=60)
    seen.remove()
    assert sizes[0] == 3
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 3, "nobody finished"
    assert len(sizes) == max(tokens + done for tokens, done in zip(together.tokens, together.finished, strict=True))
    alone = [list(compare(base, [one], PROMPT, temperature=0, max_tokens=60))[-1] for one in who]
    assert together.texts == [one.texts[0] for one in alone]
    assert together.tokens == [one.tokens[0] for one in alone]


def test_a_prompt_costs_the_logits_of_its_last_token_only(base: models.LoadedBase) -> None:
    widths = []
    seen = base.model.get_output_embeddings().register_forward_hook(lambda _, __, out: widths.append(out.shape[1]))
    list(compare(base, [None], PROMPT, max_tokens=3))
    seen.remove()
    assert widths == [1, 1, 1]


def test_a_snapshot_says_who_answered_together_and_in_which_numbers(
    base: models.LoadedBase, adapters: list[AdapterOnDisk], tmp_path: Path
) -> None:
    *_, last = compare(base, [_soft_prompt(base, 3, tmp_path), None, adapters[0]], PROMPT, max_tokens=2)
    assert last.batches == [[1, 2], [0]]
    assert (last.device, last.dtype, last.threads) == (base.device.kind, "float32", torch.get_num_threads())


def test_the_base_answers_as_transformers_does(base: models.LoadedBase, adapters: list[AdapterOnDisk]) -> None:
    text = _last(base, [adapters[0], None], temperature=0)[1]
    prompt = torch.tensor([prompt_ids(base.tokenizer, PROMPT)])
    out = base.model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=12)
    assert text == base.tokenizer.decode(out[0, prompt.shape[1] :], skip_special_tokens=True)


def test_the_same_contestant_twice_answers_the_same(base: models.LoadedBase, adapters: list[AdapterOnDisk]) -> None:
    texts = _last(base, [adapters[0], adapters[0]], temperature=1.0)
    assert texts[0] == texts[1]


def test_another_seed_answers_otherwise(base: models.LoadedBase) -> None:
    assert _last(base, [None], temperature=1.0, seed=1) != _last(base, [None], temperature=1.0, seed=2)


def test_the_model_is_left_as_it_was_even_when_an_answer_is_broken_off(
    base: models.LoadedBase, adapters: list[AdapterOnDisk]
) -> None:
    before = dict(linear_layers(base.model))
    answers = compare(base, [None, adapters[0]], PROMPT, max_tokens=50)
    list(islice(answers, 2))
    assert linear_layers(base.model) != before
    answers.close()
    assert linear_layers(base.model) == before


def test_asking_to_stop_ends_within_a_token(base: models.LoadedBase) -> None:
    asked = iter([False, False, False, True])
    snapshots = list(compare(base, [None], PROMPT, max_tokens=100, should_stop=lambda: next(asked)))
    assert snapshots[-1].tokens[0] <= 3


def test_an_answer_ends_at_the_end_mark_and_does_not_show_it(
    base: models.LoadedBase, adapters: list[AdapterOnDisk]
) -> None:
    *_, last = compare(base, [adapters[0]], PROMPT, temperature=0, max_tokens=200)
    assert last.finished == [True]
    assert last.tokens[0] < 100
    assert "<|" not in last.texts[0]
    assert base.tokenizer.eos_token_id in end_tokens(base)


def test_a_prompt_that_fills_the_model_is_refused_in_words(base: models.LoadedBase) -> None:
    with pytest.raises(ValueError, match=r"The prompt has \d+ tokens; this base model takes 256"):
        list(compare(base, [None], [{"role": "user", "content": "word " * 400}]))


def test_an_answer_stops_where_the_model_has_no_more_positions(base: models.LoadedBase) -> None:
    messages = [{"role": "user", "content": "a" * 150}]
    room = 256 - len(prompt_ids(base.tokenizer, messages))
    *_, last = compare(base, [None], messages, max_tokens=5000, temperature=1.5, top_p=1.0)
    assert last.tokens[0] <= room


def test_scores_are_the_validation_losses_of_each_contestant(
    base: models.LoadedBase, adapters: list[AdapterOnDisk]
) -> None:
    rows = tiny_rows(12)
    prepared = prepare(base.tokenizer, rows, RunSettings(validation_share=0), 256)
    untouched, one, _ = score(base, [None, *adapters], rows)
    assert untouched == pytest.approx(validation_loss(base, prepared.train, 4), rel=1e-5)
    assert one < 0.7 * untouched


def test_all_contestants_are_scored_on_rows_that_leave_room_for_the_longest_prompt_of_any(
    base: models.LoadedBase, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = [{"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "word " * 200}]}]
    asker = _soft_prompt(base, 40, tmp_path_factory.mktemp("prompt"))
    untouched, _ = score(base, [None, asker], rows)
    (cut,) = score(base, [None], rows, 256 - 40)
    assert untouched == cut
    assert untouched != score(base, [None], rows)[0]
    (alone,) = score(base, [asker], rows)
    assert alone == score(base, [None, asker], rows)[1]
    with pytest.raises(ValueError, match="leave no room for rows"):
        score(base, [None, _soft_prompt(base, 256, tmp_path_factory.mktemp("prompt"))], rows)


def _soft_prompt(base: models.LoadedBase, tokens: int, folder: Path) -> AdapterOnDisk:
    settings = RunSettings(method="prompt", prompt_tokens=tokens)
    fitted = fit(base.model, settings)
    tensors = fitted.tensors()
    fitted.remove()
    adapter_files.write(folder, tensors, base_name="t", settings=settings, model=base.model)
    return adapter_files.read(folder)


def test_columns_with_prompts_and_sampling_of_their_own_answer_as_they_do_alone_in_any_order(
    base: models.LoadedBase, adapters: list[AdapterOnDisk]
) -> None:
    other = [{"role": "system", "content": "Be short."}, *PROMPT]
    asked = [
        Asked(None, PROMPT, Sampling(1, 0.9, max_tokens=14)),
        Asked(adapters[0], other, Sampling(2, 0.0, max_tokens=20)),
        Asked(adapters[1], PROMPT, Sampling(3, 1.1, 0.8, 9, Narrowing(top_k=20))),
        Asked(adapters[0], PROMPT, Sampling(3, 0.9, max_tokens=14)),
    ]
    *_, together = answers(base, asked)
    assert together.batches == [[0, 1, 2, 3]]
    alone = [list(answers(base, [one]))[-1] for one in asked]
    assert together.texts == [one.texts[0] for one in alone]
    assert together.ids == [one.ids[0] for one in alone]
    ends = zip(together.finished, together.tokens, asked, strict=True)
    assert all(done or count == one.sampling.max_tokens for done, count, one in ends)
    *_, turned = answers(base, asked[::-1])
    assert turned.texts == together.texts[::-1]


def test_an_answer_ends_before_the_first_stop_word_and_goes_on_as_without_it_until_then(
    base: models.LoadedBase, adapters: list[AdapterOnDisk]
) -> None:
    *_, whole = compare(base, adapters, PROMPT, temperature=0, max_tokens=40)
    text = whole.texts[0]
    words = (text[9:12], text[4:7], "nowhere in it")
    *_, cut = compare(base, adapters, PROMPT, temperature=0, max_tokens=40, stop=words)
    first = min(text.index(word) for word in words[:2])
    assert (cut.texts[0], cut.finished[0]) == (text[:first], True)
    assert cut.ids[0] == whole.ids[0][: len(cut.ids[0])]
    assert cut.tokens[0] < whole.tokens[0]
