"""Building pieces of the page in a test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def in_a_loop(build: Callable[[], T]) -> T:
    """Build something of Gradio's inside a running event loop.

    Outside of one, Gradio makes an event loop for each page and never closes it, which is an error here.
    """

    async def built() -> T:
        return build()

    return asyncio.run(built())
