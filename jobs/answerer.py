"""The answerer: one warm base model behind a pipe, for whatever needs tensors or a tokenizer on behalf of the page.

    python -m jobs.answerer      (a child of jobs.ask; nobody calls it by hand)

Protocol, one JSON object a line. In: {"id", "kind", ...payload} and {"cancel": id}. Out: any number of {"id", "part"},
then one {"id", "result"} or {"id", "error": sentence, "problems": [sentence, ...]}.

What kinds of requests there are is in `requests.py`. A request is cancelled between two tokens. When its input ends,
its parent is gone and it leaves at once. It keeps no file, knows no database and never learns who asks.
"""

from __future__ import annotations

import dataclasses
import functools
import gc
import json
import logging
import os
import queue
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from jobs import checkpoint_seat, errors, room
from jobs.requests import KINDS, STREAMED, Cancelled, Payload, unless
from jobs.seats import Seat, messages_of, seats_of
from jobs.warm import WarmAdapters, stamp

if TYPE_CHECKING:
    from engine.data.row_file import RowFile
    from engine.data.tokens import TokenRows
    from engine.settings import RunSettings

log = logging.getLogger(__name__)

MOST_TOKENS = 8  # data sets that are kept as tokens


class Tokens(NamedTuple):
    """Rows as tokens, and what they were cut to."""

    kept: TokenRows
    limit: int


class Desk:
    """What is kept warm between requests: one base model, its tokenizer, adapters, and rows as tokens."""

    def __init__(self) -> None:
        self._base: Any = None
        self._threads = 0
        self._adapters = WarmAdapters()
        self._tokenizer = functools.lru_cache(maxsize=4)(_tokenizer)
        self.max_length = functools.lru_cache(maxsize=4)(_max_length)
        self._files = functools.lru_cache(maxsize=8)(_file)
        self._tokens: OrderedDict[tuple[Any, ...], Tokens] = OrderedDict()

    def seated(self, payload: Payload) -> tuple[Any, list[Any]]:
        """The base model, and who answers, as `seats.py` has it; None is the base itself.

        Raises:
            NoRoom: there is too little memory for it.
            ModelError, AdapterError, CheckpointError: something cannot be read, or does not fit.
        """
        taken = seats_of(payload)
        adapters = [self._adapters.adapter(Path(seat["adapter"])) for seat in taken if seat.get("adapter")]
        runs = [checkpoint_seat.settings_of(Path(seat["checkpoint"])) for seat in taken if seat.get("checkpoint")]
        # What a run has trained in fp32 would lose its small steps in the bf16 of a GPU.
        whole = any(adapter.whole for adapter in adapters) or any(run.changes_base for run in runs)
        base = self._loaded(payload, whole)
        return base, [self._contestant(base, seat) for seat in taken]

    def _contestant(self, base: Any, seat: Seat) -> Any:
        strength = float(seat.get("strength", 1))
        if folder := seat.get("checkpoint"):
            read = functools.partial(checkpoint_seat.as_adapter, base)
            return self._adapters.adapter(Path(folder), read).at(strength)
        return self._adapters.adapter(Path(seat["adapter"])).at(strength) if seat.get("adapter") else None

    def _loaded(self, payload: Payload, base_trained: bool) -> Any:
        """The base model of a request, loaded once. The one before it is let go first: two may not fit."""
        from engine import models

        path, precision = Path(payload["base_path"]), payload.get("precision", "full")
        device = models.choose_device(_hardware(payload), precision=precision, base_trained=base_trained)
        wanted = (path, stamp(path / "config.json"), precision, device)
        there = self._base is not None and self._base[0] == wanted
        if not there:
            self.let_go()
            models.check_folder(path)
        if "messages" in payload or "seats" in payload:
            answers = room.Answers(len(seats_of(payload)), _most_tokens(payload))
            run, spare = str(payload.get("run") or ""), int(payload.get("spare_bytes") or 0)
            room.check(path, precision, device, answers, there, run, spare)
        if not there:
            self._base = (wanted, models.load(path, device=device, precision=precision, base_trained=base_trained))
        return self._base[1]

    def let_go(self) -> None:
        """Give back the memory of the base model; the next request loads it again."""
        self._base = None
        gc.collect()
        if torch := sys.modules.get("torch"):
            torch.cuda.empty_cache()

    def use_threads(self, wanted: int | None) -> None:
        """Compute with `wanted` threads; None is as many as torch chose at first."""
        import torch

        self._threads = self._threads or torch.get_num_threads()
        torch.set_num_threads(wanted or self._threads)

    def tokenizer(self, base: str, settings: RunSettings) -> Any:
        """The tokenizer of a base model as a run of these settings has it. DataError as `known_templates.put`."""
        from engine.data import known_templates

        return known_templates.put(self._tokenizer(base, stamp(Path(base) / "config.json")), settings.chat_template)

    def tokens(self, base: str, rows: str, settings: RunSettings, should_stop: Callable[[], bool]) -> Tokens:
        """The rows of a file as tokens of a base model, cut as a run of these settings would. Made once for each.

        Raises:
            Cancelled: `should_stop`, asked between two rows, said so.
            DataError: as `engine.prepared.room` and `encode_all`.
        """
        from engine.data.check import each_row
        from engine.data.render import encode_all
        from engine.data.tokens import store
        from engine.prepared import room

        stamps = (stamp(Path(base) / "config.json"), stamp(Path(rows)))
        limit = room(settings, self.max_length(base, stamps[0]))
        key = (base, rows, stamps, limit, settings.loss_on, settings.chat_template)
        if key not in self._tokens:
            while len(self._tokens) >= MOST_TOKENS:
                self._tokens.popitem(last=False)
            asked = unless(should_stop, each_row(Path(rows)))
            encoded = encode_all(self.tokenizer(base, settings), asked, limit, settings.loss_on)
            self._tokens[key] = Tokens(store(encoded), limit)
        self._tokens.move_to_end(key)
        return self._tokens[key]

    def file(self, rows: str) -> RowFile:
        """The rows of a file, any of them at once."""
        return self._files(rows, stamp(Path(rows)))


def _hardware(payload: Payload) -> Any:
    """What the request may be computed on: the CPU alone where it says so, else None, whatever there is."""
    from engine import models

    if payload.get("device") != "cpu":
        return None
    return dataclasses.replace(models.find_hardware(), cuda_name="", mps=False)


def _most_tokens(payload: Payload) -> int:
    """About how many tokens the longest seat takes: of a prompt, one for every three characters."""
    asked = zip(seats_of(payload), messages_of(payload), strict=True)
    return max(_most(seat.get("sampling") or payload, messages) for seat, messages in asked)


def _most(sampling: Payload, messages: list[dict[str, str]]) -> int:
    return int(sampling.get("max_tokens") or 0) + sum(len(message["content"]) for message in messages) // 3


def _tokenizer(path: str, _stamp: int) -> Any:
    from engine import models

    return models.load_tokenizer(Path(path))


def _file(path: str, _stamp: int) -> RowFile:
    from engine.data.row_file import RowFile

    return RowFile(Path(path))


def _max_length(path: str, _stamp: int) -> int:
    # Not models.describe: that imports and builds the whole architecture, seconds for one number.
    from engine import base_config, models

    return models.max_length(base_config.read(Path(path)))


# --- the line -----------------------------------------------------------------------------------------------------


class Line:
    """The two ends of the pipe. A thread reads, so that a cancel is seen while the model works."""

    def __init__(self, calls: TextIO, replies: TextIO, at_end: Callable[[], object]) -> None:
        self._calls = calls
        self._replies = replies
        self._at_end = at_end
        self._cancelled: set[int] = set()
        self.inbox: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._listen, name="line", daemon=True).start()

    def _listen(self) -> None:
        for text in self._calls:
            message = json.loads(text)
            if "cancel" in message:
                self._cancelled.add(message["cancel"])
            else:
                self.inbox.put(message)
        self._at_end()

    def cancelled(self, number: int) -> bool:
        """Whether the one who asked has taken request `number` back."""
        return number in self._cancelled

    def say(self, number: int, **content: object) -> None:
        """Send one message about request `number`."""
        self._replies.write(json.dumps({"id": number, **content}) + "\n")
        self._replies.flush()


def answer(desk: Desk, line: Line, message: dict[str, Any]) -> None:
    """Do one request and say how it went. This is an edge: whatever goes wrong is logged and said in a sentence."""
    number, kind = message["id"], message["kind"]
    try:
        result = _work(desk, line, number, kind, message)
    except Cancelled:
        line.say(number, result={"cancelled": True})
    except Exception as error:
        log.exception("request %s (%s) failed", number, kind)
        said = _in_words(error)
        line.say(number, error=said, problems=getattr(error, "problems", [said]), about=getattr(error, "about", {}))
    else:
        line.say(number, result=result)


def _work(desk: Desk, line: Line, number: int, kind: str, message: dict[str, Any]) -> dict[str, Any]:
    def should_stop() -> bool:
        return line.cancelled(number)

    if should_stop():
        raise Cancelled
    result: dict[str, Any] = {}
    keep = not message.get("run")
    try:
        # Closed in any case, so that the base model is whole again before the next request.
        with closing(KINDS[kind](desk, message, should_stop)) as items:
            for item in items:
                if should_stop():
                    raise Cancelled
                if kind in STREAMED:
                    line.say(number, part=item)
                else:
                    result = item
        keep = keep or bool(message.get("keep_base"))
    finally:
        if not keep:  # a run trains meanwhile: what answering took is given back at once
            desk.let_go()
    return result


def _in_words(error: Exception) -> str:
    if errors.is_memory(error):
        return "There is not enough memory for this. Compare fewer adapters, ask for fewer tokens, or end a run first."
    unforeseen = f"The model could not answer: {errors.first_line(error)}. The answerer's log has the details."
    return errors.own_sentence(error) or unforeseen


def take_over_output() -> TextIO:
    """The real stdout, for the protocol alone. Whatever a library prints goes to the log from here on."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return replies


def main() -> int:
    """Answer until the input ends."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    replies = take_over_output()
    # At once, and from the reading thread: the main one may be deep in a forward pass.
    line = Line(sys.stdin, replies, at_end=lambda: os._exit(0))
    desk = Desk()
    while True:
        answer(desk, line, line.inbox.get())


if __name__ == "__main__":
    raise SystemExit(main())
