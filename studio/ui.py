"""The page, as a table of contents: the top bar, five tabs, and what connects them."""

from __future__ import annotations

import gradio as gr

from studio import compare_tab, data_tab, library_tab, runs_tab, suites_card, train_tab, upkeep
from studio.page import Studio
from studio.shell import FIELDS, Shell, connect, hidden, top_bar


def build_page(studio: Studio) -> gr.Blocks:
    """The whole page for one data folder. Build it once; any number of browser tabs may open it."""
    page = gr.Blocks(title="LoRA Studio", fill_width=True, analytics_enabled=False)
    with page:
        pulse = top_bar(studio)
        fields = {name: hidden(name) for name in FIELDS}
        with gr.Tabs(selected="train", elem_id="tabs") as tabs:
            shell = Shell(page, tabs, pulse, **fields)
            with gr.Tab("Train", id="train", elem_id="tab-train"):
                train_tab.build(studio, shell)
            with gr.Tab("Runs", id="runs", elem_id="tab-runs"):
                runs_tab.build(studio, shell)
            with gr.Tab("Library", id="library", elem_id="tab-library"):
                library_tab.build(studio, shell)
            with gr.Tab("Compare", id="compare", elem_id="tab-compare"):
                compare_tab.build(studio, shell)
                suites_card.build(studio)
            with gr.Tab("Data", id="data", elem_id="tab-data"):
                data_tab.build(studio, shell)
        upkeep.build(studio)
        connect(shell)
    _spare_progress(page)
    return page


def _spare_progress(page: gr.Blocks) -> None:
    """Name no piece on which the progress of an event would be shown; those of this page are all shown nowhere.

    Otherwise Gradio tells every output that any event ever had, and what stands in it, of every change of an event,
    and copies all their properties each time: with a whole tab among the outputs that is a third of loading a page.
    """
    for event in page.fns.values():
        event.show_progress_on = []
