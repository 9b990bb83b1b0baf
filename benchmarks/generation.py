"""Answering beside transformers' generate with PEFT: several adapters at once, one, the base, switching, first token.

    python -m benchmarks.generation MODEL_FOLDER [--threads N] [--quick] [--contestants]

Four LoRA adapters of rank 16 on all linear layers, made by our own methods and written as files, are opened by both
sides. Answers are greedy, of a fixed length (nobody may end earlier), and compared word by word. Both sides take turns
in one process; figures are medians over the rounds. Last come 1, 2, 4 and 8 adapters in a batch and
one after the other; with --contestants these alone.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from benchmarks import processes
from benchmarks.adapters import RANK, made
from benchmarks.table import Options, Row, markdown
from engine import adapter_files, models
from engine.data.render import prompt_ids
from engine.generate import Contestant, compare
from engine.methods import one_token
from engine.methods.attach import attached
from engine.methods.inject import linear_layers
from jobs.answerer import Desk

ADAPTERS, CROWDS = 4, (1, 2, 4, 8)
PROMPT_TOKENS = 50
WORDS = ("Tell", "me", "a", "long", "story", "about", "a", "ship", "in", "the", "ice.")
TOGETHER, SWITCH, FIRST = 2.5, 0.050, 0.5  # the targets: times faster, seconds, seconds
TIED = 0.98  # of the other's speed still is not slower: rounds differ by as much

Work = Callable[[], Any]
Timed = tuple[float, Any]


def main() -> None:
    """Measure and print the table; as JSON for `rows`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="fewer rounds and shorter answers")
    parser.add_argument("--contestants", action="store_true", help="only: in one batch against one after the other")
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    options = Options(given.folder, given.quick, given.threads)
    if not given.json:
        print(markdown(_in_a_process(options, "--contestants") if given.contestants else rows(options)))
        return
    torch.set_num_threads(given.threads)
    print(json.dumps([asdict(row) for row in _measured(options, given.contestants)]))


def rows(options: Options) -> list[Row]:
    """All figures, measured in processes of their own."""
    return [*_in_a_process(options), *_in_a_process(options, "--contestants")]


def _in_a_process(options: Options, *more: str) -> list[Row]:
    given = [str(options.base), "--json", "--threads", str(options.threads), *more]
    given += ["--quick"] if options.quick else []
    return [Row(**row) for row in json.loads(processes.run("benchmarks.generation", given, options).splitlines()[-1])]


def _measured(options: Options, crowds: bool) -> list[Row]:
    with tempfile.TemporaryDirectory() as scratch:
        if crowds:
            field = Field(options, Path(scratch), adapters=max(CROWDS), peft=False)
            field.rounds, field.tokens = (2, 8) if options.quick else (3, 32)  # fifteen answers a round on one side
            return [field.crowd(count) for count in CROWDS]
        field = Field(options, Path(scratch))
        return [
            field.together(),
            field.in_one_batch(),
            field.one(),
            field.base_alone(),
            field.switch(),
            field.add(),
            field.first_token(),
            *(field.product(count) for count in (1, 2, 5)),
        ]


class Field:
    """Both sides, ready to answer. Each method measures one row of the table."""

    def __init__(self, options: Options, scratch: Path, adapters: int = ADAPTERS, peft: bool = True) -> None:
        self.rounds, self.tokens = (3, 16) if options.quick else (7, 48)
        self.folder, self.scratch = options.base, scratch
        self.base = _endless(models.load(options.base))
        self.folders = [made(self.base, scratch / str(number), number) for number in range(adapters)]
        self.adapters = [adapter_files.read(folder) for folder in self.folders]
        self.messages = _prompt(self.base.tokenizer)
        self.ids = torch.tensor([prompt_ids(self.base.tokenizer, self.messages)])
        self.peft: Any = self._in_peft() if peft else None

    def _in_peft(self) -> Any:
        from peft import PeftModel

        model = _endless(models.load(self.folder)).model
        wrapped = PeftModel.from_pretrained(model, self.folders[0], adapter_name="0")
        for number, folder in enumerate(self.folders[1:], 1):
            wrapped.load_adapter(folder, adapter_name=str(number))
        return wrapped.eval()

    # --- the rows of the table ---

    def together(self) -> Row:
        """Four adapters in one batch, and one after the other with PEFT."""
        ours, theirs = self._turns(
            lambda: self._ours(self.adapters), lambda: [self._one_of_peft(n) for n in range(ADAPTERS)]
        )
        return self._speed(f"{ADAPTERS} adapters, {self._size()}", ours, theirs, "PEFT, set_adapter in turn", TOGETHER)

    def in_one_batch(self) -> Row:
        """Four adapters in one batch, and in one batch of PEFT's, which knows that way too."""
        names = [str(number) for number in range(ADAPTERS)]
        ours, theirs = self._turns(
            lambda: self._ours(self.adapters),
            lambda: self._texts(self._generate(self.peft, self.ids.repeat(ADAPTERS, 1), adapter_names=names)),
        )
        return self._speed(f"{ADAPTERS} adapters, {self._size()}", ours, theirs, "PEFT, adapter_names in a batch", None)

    def crowd(self, count: int) -> Row:
        """So many adapters in one batch, and one after the other."""
        who = self.adapters[:count]
        ours, theirs = self._turns(lambda: self._ours(who), lambda: [self._ours([one])[0] for one in who])
        return self._speed(f"{count} in one batch, {self._size()}", ours, theirs, "one after the other", None)

    def one(self) -> Row:
        """One adapter."""
        ours, theirs = self._turns(lambda: self._ours(self.adapters[:1]), lambda: [self._one_of_peft(0)])
        return self._speed(f"1 adapter, {self._size()}", ours, theirs, "PEFT, generate", 1.0)

    def base_alone(self) -> Row:
        """The base without any adapter."""
        ours, theirs = self._turns(
            lambda: self._ours([None]), lambda: self._texts(self._generate(self.base.model, self.ids))
        )
        return self._speed(f"the base alone, {self._size()}", ours, theirs, "transformers, generate", 1.0)

    def switch(self) -> Row:
        """From one adapter that has answered before to another, until the model could compute."""
        desk, turn = Desk(), itertools.cycle(range(ADAPTERS))
        for folder in self.folders:
            self._seat(desk, folder)
        ours, theirs = self._turns(
            lambda: self._seat(desk, self.folders[next(turn)]), lambda: self.peft.set_adapter(str(next(turn)))
        )
        return _time(f"switching to a warm adapter of rank {RANK}", ours, theirs, "PEFT, set_adapter", SWITCH)

    def add(self) -> Row:
        """An adapter that was never here, its file in the page cache, until the model could compute."""
        desk, numbers = Desk(), itertools.count()
        self._seat(desk, self.folders[0])
        new = [Path(shutil.copytree(self.folders[0], self.scratch / f"new-{n}")) for n in range(2 * self.rounds + 2)]
        ours, theirs = self._turns(
            lambda: self._seat(desk, new[next(numbers)]),
            lambda: self.peft.load_adapter(new[number := next(numbers)], adapter_name=f"new-{number}"),
        )
        return _time(f"adding an adapter of rank {RANK}, file warm", ours, theirs, "PEFT, load_adapter", SWITCH)

    def first_token(self) -> Row:
        """From the question to the first token, on a warm base."""
        ours, theirs = self._turns(
            lambda: self._ours([None], 1), lambda: self._texts(self._generate(self.base.model, self.ids, tokens=1))
        )
        what = f"first token of the base, prompt of {self.ids.shape[1]} tokens"
        return _time(what, ours, theirs, "transformers, generate", FIRST)

    def product(self, count: int) -> Row:
        """The linear layers of all blocks with one token of `count` rows, ours and torch's."""
        layers = list(linear_layers(self.base.model).values())
        inputs = {layer.in_features: torch.randn(count, 1, layer.in_features) for layer in layers}

        def through(product: Callable[[Any, torch.Tensor], torch.Tensor]) -> Work:
            return torch.inference_mode()(lambda: [product(one, inputs[one.in_features]) for one in layers][:0])

        plain = through(lambda layer, x: functional.linear(x, layer.weight))
        ours, theirs = self._turns(through(one_token.linear), plain)
        a, b = _median(ours), _median(theirs)
        what = f"all linear layers of the blocks, one token of {count} row{'s' if count > 1 else ''}"
        return Row(what, f"{1000 * a:.1f} ms", f"{1000 * b:.1f} ms (torch, linear)", f"{b / a:.2f} x")

    # --- both sides ---

    def _turns(self, ours: Work, theirs: Work) -> tuple[list[Timed], list[Timed]]:
        """Both in turns, as often as there are rounds; once before, which does not count."""
        turns = [(_timed(ours), _timed(theirs)) for _ in range(self.rounds + 1)][1:]
        return [turn[0] for turn in turns], [turn[1] for turn in turns]

    def _ours(self, who: Sequence[Contestant], tokens: int | None = None) -> list[str]:
        *_, last = compare(self.base, who, self.messages, temperature=0, max_tokens=tokens or self.tokens)
        return last.texts

    def _one_of_peft(self, number: int) -> str:
        self.peft.set_adapter(str(number))
        return self._texts(self._generate(self.peft, self.ids))[0]

    @torch.inference_mode()
    def _generate(self, model: Any, ids: torch.Tensor, tokens: int | None = None, **more: Any) -> Any:
        options = {"do_sample": False, "max_new_tokens": tokens or self.tokens, "pad_token_id": 0}
        return model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options, **more)

    def _texts(self, generated: Any) -> list[str]:
        said = generated[:, self.ids.shape[1] :]
        return [self.base.tokenizer.decode(one, skip_special_tokens=True) for one in said]

    def _seat(self, desk: Desk, folder: Path) -> None:
        """All that the answerer does between a request and its first product of matrices."""
        base, who = desk.seated({"base_path": str(self.folder), "adapters": [str(folder)], "include_base": False})
        adapter_files.check_fits(who[0], base.model)
        with attached(base.model, who):
            pass

    def _size(self) -> str:
        return f"{self.ids.shape[1]} tokens in, {self.tokens} out"

    def _speed(
        self, what: str, ours: Sequence[Timed], theirs: Sequence[Timed], other: str, target: float | None
    ) -> Row:
        a, b = _median(ours), _median(theirs)
        same = sum(x == y for x, y in zip(ours[0][1], theirs[0][1], strict=True))
        total = len(ours[0][1]) * self.tokens
        met = None if target is None else b / a >= target * (TIED if target == 1 else 1)
        aimed = "" if target is None else "not slower" if target == 1 else f">= {target} x"
        return Row(
            f"{what}; equal answers: {same} of {len(ours[0][1])}",
            f"{total / a:.1f} tokens/s",
            f"{total / b:.1f} tokens/s ({other})",
            f"{b / a:.2f} x",
            aimed,
            met,
        )


def _time(what: str, ours: Sequence[Timed], theirs: Sequence[Timed], other: str, target: float) -> Row:
    a, b = _median(ours), _median(theirs)
    return Row(
        what,
        f"{1000 * a:.0f} ms",
        f"{1000 * b:.0f} ms ({other})",
        f"{b / a:.2f} x",
        f"<= {1000 * target:.0f} ms",
        a <= target,
    )


def _timed(work: Work) -> Timed:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def _median(turns: Sequence[Timed]) -> float:
    return statistics.median(seconds for seconds, _ in turns)


def _endless(base: models.LoadedBase) -> models.LoadedBase:
    """The same base with no mark that ends an answer, so that every answer has its full length."""
    base.model.generation_config.eos_token_id = None
    base.tokenizer.eos_token = None
    return base


def _prompt(tokenizer: Any) -> list[dict[str, str]]:
    """A question that takes PROMPT_TOKENS tokens with the template round it, or the fewest above."""
    for words in itertools.count(1):
        asked = " ".join(itertools.islice(itertools.cycle(WORDS), words))
        messages = [{"role": "user", "content": asked}]
        if len(prompt_ids(tokenizer, messages)) >= PROMPT_TOKENS:
            return messages
    raise AssertionError


if __name__ == "__main__":
    main()
