"""An event loop whose time passes at once: it never waits, and its clock jumps to the next thing that is due."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`time()` starts at 0 and moves only when nothing else can run."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        super().__init__(_Impatient(self))

    def time(self) -> float:
        return self.elapsed


class _Impatient(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout:
            self._loop.elapsed += timeout
        return ready


def run_virtually(coroutine: Coroutine[Any, Any, T]) -> T:
    """What `coroutine` returns, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(coroutine)


def elapsed() -> float:
    """Virtual seconds since the loop began."""
    return asyncio.get_running_loop().time()
