"""What the Library's buttons do, called as Gradio calls them: handed on, or refused in words at the same place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import gradio as gr
import pytest

from adapters_store.store import Store
from jobs.ask import Answerer
from studio.library_tab import Library
from studio.page import Studio
from studio.shell import FIELDS, Shell, hidden, html
from tests.furnish import add_adapter, furnish
from tests.pages import in_a_loop

Handlers = dict[str, Callable[..., Any]]


@pytest.fixture
def made(store: Store) -> tuple[Library, Handlers]:
    def build() -> tuple[Library, Handlers]:
        with gr.Blocks() as page:
            pulse = html()
            for event in ("adapters_changed", "jobs_changed", "models_changed"):
                setattr(pulse, event, pulse.change)
            fields = map(hidden, FIELDS)
            library = Library(
                Studio(store, cast(Answerer, None), store.files.root), Shell(page, gr.Tabs(), pulse, *fields)
            )
            library.connect()
            return library, {str(getattr(fn.fn, "__name__", "")): cast(Any, fn.fn) for fn in page.fns.values()}

    return in_a_loop(build)


def pressed(**data: object) -> gr.EventData:
    return gr.EventData(None, data)


@pytest.mark.parametrize("nonsense", [None, "1", -1, True, 10**40])
def test_a_press_that_names_no_adapter_is_refused_in_words(made: tuple[Library, Handlers], nonsense: object) -> None:
    library, handlers = made
    for name, given in (("open", ()), ("train_on", ()), ("compare", ("",))):
        updates = handlers[name](*given, pressed(id=nonsense))
        assert set(updates) == {library.notice}
        assert "An adapter has a number" in updates[library.notice]


def test_a_press_hands_the_adapter_on(store: Store, made: tuple[Library, Handlers]) -> None:
    library, handlers = made
    adapter = add_adapter(store, furnish(store)[0])
    event, shell = pressed(id=adapter.id), library.shell
    assert handlers["open"](event) == {shell.adapter: str(adapter.id)}
    assert handlers["train_on"](event)[shell.start].split(" ")[0] == str(adapter.id)
    assert handlers["compare"]("", event)[shell.contestants] == str(adapter.id)
    assert handlers["compare"](f"{adapter.id},99", pressed())[shell.contestants] == str(adapter.id)
