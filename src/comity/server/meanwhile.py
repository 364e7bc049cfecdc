"""Work on many bytes is done in a thread, so that others are served meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

RUN_BYTES = 1 << 20
"""Up to so many a thread is not worth its while."""


async def meanwhile(size: int, call: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """Call something that is about `size` bytes."""
    if size <= RUN_BYTES:
        return call(*given, **named)
    return await asyncio.to_thread(call, *given, **named)
