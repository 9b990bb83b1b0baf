"""Rows of prompts of different lengths in one batch: whoever else is there, each answers as it does alone."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from engine import adapter_files, models
from engine.adapter_files import AdapterOnDisk
from engine.generate import Asked, answers
from engine.methods import fit
from engine.sampling import Narrowing, Sampling
from engine.settings import RunSettings
from engine.under_way import UnderWay, can_mix
from tests.architectures import make_architecture
from tests.tiny import LENGTH, make_tiny_model
from tests.workshop import one_thread

WORDS = ("rain", "bread", "a horse", "music", "iron and the sea", "what is the moon, and why is it there at all?")
WINDOW = 16  # of the model with a sliding one: most prompts are longer


class Case(NamedTuple):
    base: models.LoadedBase
    asked: list[Asked]
    alone: list[list[int]]  # the tokens that each answers by itself


@pytest.fixture(scope="module", params=["llama", "gpt2", "Mistral", "MPT"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    with one_thread():
        folder = tmp_path_factory.mktemp("models") / "tiny"
        known = request.param in ("llama", "gpt2")
        base = models.load(
            make_tiny_model(folder, request.param) if known else make_architecture(folder, request.param)
        )
        two = [_random(base, rank, tmp_path_factory.mktemp("adapter")) for rank in (3, 8)]
        asked = _asked([None, *two])
        yield Case(base, asked, [_ids(base, [one])[0] for one in asked])


def _random(base: models.LoadedBase, rank: int, folder: Path) -> AdapterOnDisk:
    """An adapter that is felt: random where a new one is zero."""
    settings, draw = RunSettings(rank=rank, alpha=2 * rank), torch.Generator().manual_seed(rank)
    fitted = fit(base.model, settings)
    tensors = {
        name: 0.2 * torch.randn(tensor.shape, generator=draw) if "lora_B" in name else tensor
        for name, tensor in fitted.tensors().items()
    }
    fitted.remove()
    adapter_files.write(folder, tensors, base_name="tiny", settings=settings, model=base.model)
    return adapter_files.read(folder)


def _asked(people: list[AdapterOnDisk | None]) -> list[Asked]:
    """Ten rows: prompts of many lengths, some of them twice; greedy and drawn; short answers and long ones."""
    draw = random.Random(5)
    prompts = [[{"role": "user", "content": " ".join(draw.choices(WORDS, k=draw.randint(0, 5)))}] for _ in range(6)]
    prompts += prompts[:2] + prompts[:2]
    return [
        Asked(
            people[number % 3],
            prompt,
            Sampling(number, 0.9 * (number % 2), max_tokens=draw.randint(1, 25), narrowing=Narrowing(top_k=50)),
        )
        for number, prompt in enumerate(prompts)
    ]


def _ids(base: models.LoadedBase, asked: list[Asked], **given: Any) -> list[list[int]]:
    *_, last = answers(base, asked, **given)
    assert all(last.over)
    return last.ids


def test_the_ten_differ_in_length_and_in_what_they_say(case: Case) -> None:
    assert can_mix(case.base.model)
    assert len({len(ids) for ids in case.alone}) > 4
    assert len({tuple(ids) for ids in case.alone}) > 6


@pytest.mark.parametrize("at_once", [None, 2, 5])
def test_each_answers_as_alone_however_many_answer_at_once(case: Case, at_once: int | None) -> None:
    assert _ids(case.base, case.asked, at_once=at_once) == case.alone


def test_each_answers_as_alone_in_any_order(case: Case) -> None:
    draw = random.Random(9)
    for _ in range(3):
        order = draw.sample(range(10), k=10)
        assert _ids(case.base, [case.asked[at] for at in order], at_once=7) == [case.alone[at] for at in order]


def test_places_that_fall_free_are_taken_at_once_and_never_too_many_are_under_way(case: Case) -> None:
    sizes: list[tuple[int, int]] = []
    seen = case.base.model.register_forward_pre_hook(
        lambda _, __, given: sizes.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    _ids(case.base, case.asked, at_once=4)
    seen.remove()
    prompts, steps = [size for size in sizes if size[1] > 1], [rows for rows, tokens in sizes if tokens == 1]
    different = {one.messages[0]["content"] for one in case.asked}
    assert len(prompts) == len(different) < 10, "a prompt is read once for all that were asked it"
    assert max(steps) == 4
    assert sum(steps) < sum(map(len, case.alone)) + 10
    assert len(steps) < 0.6 * sum(steps)


def test_what_no_row_has_any_more_is_let_go(case: Case) -> None:
    model, long = case.base.model, list(range(3, 43))
    rows = UnderWay(model)
    with torch.inference_mode():
        rows.join(long, 1)
        rows.join(long[:5], 2)
        rows.step([7, 7, 7])
        rows.keep([1, 2])
        rows.step([8, 8])
        rows.keep([0])
        logits = rows.step([9])
        whole = model(input_ids=torch.tensor([[*long[:5], 7, 8, 9]])).logits[:, -1]
    torch.testing.assert_close(logits, whole, atol=1e-5, rtol=1e-5)
    assert all(layer.keys.shape[2] <= 8 for layer in rows._cache.layers)


def test_the_longest_prompt_is_as_long_as_the_model_takes_and_the_shortest_is_one_word(case: Case) -> None:
    texts = ["a" * (LENGTH - 40), "b"]
    asked = [Asked(None, [{"role": "user", "content": text}], Sampling(1, 1.0, max_tokens=12)) for text in texts]
    together, alone = _ids(case.base, asked), [_ids(case.base, [one])[0] for one in asked]
    assert together == alone
