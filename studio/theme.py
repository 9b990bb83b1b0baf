"""Points Gradio's theme at the studio's own colours and lists what the page loads in its head.

Every colour lives in static/theme.css as a variable with a light and a dark value; nothing here names a colour, and so
nothing of Gradio's own dark palette can shine through.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.static_files import modules, static_url, text

STYLES = ("theme.css", "views.css", "data.css", "suites.css")
SCRIPTS = ("stream.js", "shell.js", "lora_figure.js")
FONT = ("Inter", "system-ui", "sans-serif")

_COLOURS = {
    "bg": "body_background_fill block_info_background_fill",
    "surface": "background_fill_primary panel_background_fill button_secondary_background_fill"
    " table_even_background_fill table_odd_background_fill checkbox_label_background_fill",
    "inset": "background_fill_secondary button_secondary_background_fill_hover button_cancel_background_fill_hover"
    " table_row_focus checkbox_label_background_fill_hover stat_background_fill code_background_fill",
    "field": "input_background_fill input_background_fill_focus input_background_fill_hover checkbox_background_color"
    " checkbox_background_color_hover checkbox_background_color_focus",
    "line": "border_color_primary table_border_color block_border_color panel_border_color",
    "line-2": "input_border_color input_border_color_hover checkbox_border_color checkbox_border_color_hover"
    " button_secondary_border_color button_secondary_border_color_hover button_cancel_border_color"
    " button_cancel_border_color_hover checkbox_label_border_color checkbox_label_border_color_hover",
    "ink": "body_text_color block_title_text_color button_secondary_text_color button_secondary_text_color_hover"
    " accordion_text_color table_text_color checkbox_label_text_color",
    "ink-2": "block_label_text_color",
    "ink-3": "body_text_color_subdued block_info_text_color input_placeholder_color",
    "accent": "color_accent border_color_accent input_border_color_focus slider_color loader_color link_text_color"
    " link_text_color_hover link_text_color_active link_text_color_visited checkbox_background_color_selected"
    " checkbox_border_color_selected checkbox_border_color_focus checkbox_label_text_color_selected"
    " checkbox_label_border_color_selected",
    "accent-soft": "color_accent_soft border_color_accent_subdued checkbox_label_background_fill_selected",
    "fill": "button_primary_background_fill button_primary_border_color",
    "fill-hover": "button_primary_background_fill_hover button_primary_border_color_hover",
    "on-fill": "button_primary_text_color button_primary_text_color_hover",
    "bad": "error_border_color error_text_color error_icon_color button_cancel_text_color"
    " button_cancel_text_color_hover",
}

_SHAPES = {
    "transparent": "block_background_fill block_title_background_fill block_label_background_fill"
    " error_background_fill button_cancel_background_fill",
    "0px": "block_border_width block_title_border_width block_label_border_width panel_border_width block_padding"
    " block_title_padding block_label_padding form_gap_width block_radius container_radius embed_radius",
    "none": "block_shadow block_label_shadow shadow_drop shadow_drop_lg shadow_inset input_shadow input_shadow_focus"
    " checkbox_shadow checkbox_label_shadow checkbox_label_shadow_hover checkbox_label_shadow_active"
    " button_primary_shadow button_primary_shadow_hover button_primary_shadow_active button_secondary_shadow"
    " button_secondary_shadow_hover button_secondary_shadow_active button_cancel_shadow button_cancel_shadow_hover"
    " button_cancel_shadow_active button_transform_hover button_transform_active",
    "1px": "input_border_width button_border_width checkbox_border_width checkbox_label_border_width",
    "6px": "input_radius button_large_radius button_medium_radius button_small_radius",
    "3px": "checkbox_border_radius",
    "12px": "layout_gap",
    "14px": "body_text_size block_title_text_size input_text_size checkbox_label_text_size button_large_text_size"
    " prose_text_size section_header_text_size",
    "13px": "block_info_text_size block_label_text_size button_medium_text_size button_small_text_size",
    "400": "body_text_weight input_text_weight block_info_text_weight",
    "500": "block_title_text_weight button_small_text_weight button_medium_text_weight section_header_text_weight",
    "600": "button_large_text_weight",
    "6px 10px": "input_padding",
    "4px 11px": "button_small_padding",
    "6px 14px": "button_medium_padding",
    "9px 16px": "button_large_padding",
    "background-color 120ms": "button_transition",
}

_SIZES = {"xxs": "11px", "xs": "12px", "sm": "13px", "md": "14px", "lg": "16px", "xl": "20px", "xxl": "28px"}


def _settings(theme: gr.themes.Base) -> dict[str, str]:
    """What to set, with each dark twin set to the same text: the variables do the switching."""
    chosen: dict[str, str] = {}
    for colour, names in _COLOURS.items():
        chosen |= dict.fromkeys(names.split(), f"var(--{colour})")
    for value, names in _SHAPES.items():
        chosen |= dict.fromkeys(names.split(), value)
    known = {name: value for name, value in chosen.items() if hasattr(theme, name)}
    twins = {f"{name}_dark": value for name, value in known.items() if hasattr(theme, f"{name}_dark")}
    return known | twins


def build_theme() -> Any:
    """Gradio's base theme with every colour and edge replaced by the studio's."""
    size = gr.themes.Size(name="s", **_SIZES)
    theme = gr.themes.Base(text_size=size, font=FONT, font_mono=("ui-monospace", "Consolas", "monospace"))
    return theme.set(**_settings(theme))


def page_head() -> str:
    """What stands in the page's head: an icon, the stylesheets, the modules to fetch ahead, and our plain scripts.

    Gradio puts the head into the page before it draws a widget. The scripts stand there as text and not as addresses,
    so they have run by then, however slow the network is: no press and no event can come before them.
    """
    links = [f'<link rel="icon" type="image/svg+xml" href="{static_url("favicon.svg")}">']
    links += [f'<link rel="stylesheet" href="{static_url(name)}">' for name in STYLES]
    links += [f'<link rel="modulepreload" href="{address}">' for address in modules()]
    return "\n".join([*links, *(f"<script>{text(name)}</script>" for name in SCRIPTS)])
