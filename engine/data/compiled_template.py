"""A tokenizer's chat template, compiled once, without what transformers does around it for every row.

It is compiled as transformers does, in the same sandbox, and given the same names. Of what is left out nothing concerns
messages of a role and a text: copies, tools, documents, and other names for what was thought. Knows nothing about
what is learned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Write = Callable[[Sequence[dict[str, Any]]], str]


def compiled(tokenizer: Any) -> Write | None:
    """A function that writes a conversation, raising what the template raises; None where a tokenizer has its own way.

    Raises:
        TemplateError: it cannot be compiled.
    """
    from transformers import PreTrainedTokenizerBase
    from transformers.utils import chat_template_utils

    compiling = getattr(chat_template_utils, "_compile_jinja_template", None)
    usual = PreTrainedTokenizerBase.apply_chat_template
    if compiling is None or getattr(tokenizer.apply_chat_template, "__func__", None) is not usual:
        return None
    template = compiling(tokenizer.get_chat_template())
    told = {**tokenizer.special_tokens_map, "tools": None, "documents": None, "add_generation_prompt": False}

    def write(messages: Sequence[dict[str, Any]]) -> str:
        text: str = template.render(messages=messages, **told)
        return text

    return write
