"""Puts a script of ours into the page's HTML before Gradio's own, which its `head` is too late for.

Gradio writes `head` into the page by a script, once its modules have been read. What must be there before them has to
stand in the template of the page. It knows where that is and deliberately nothing about what the script does.
"""

from __future__ import annotations

from jinja2.ext import Extension

from studio.static_files import text

TEMPLATE = "frontend/index.html"
SCRIPT = "clock.js"


class FirstScript(Extension):
    """What Gradio's page begins with. An extension of Jinja, whose place for changing a template this is."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """The template as it is compiled: that of the page has our script at the start of its head."""
        return source.replace("<head>", f"<head><script>{text(SCRIPT)}</script>", 1) if name == TEMPLATE else source


def put_first() -> None:
    """Have every page that Gradio serves from now on begin with it. Called once more, it changes nothing."""
    from gradio.routes import templates

    templates.env.add_extension(FirstScript)
