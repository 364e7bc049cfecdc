"""An event loop whose time passes at once: it never waits, and its clock jumps to the next thing that is due."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Stuck(AssertionError):
    """Nobody does anything any more, and nobody waits for a time."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`time()` starts at 0 and moves only when nothing else can run; where nothing ever will, `Stuck` is raised.

    What is given to a thread is done at once, in this one, so that a test has one order of events.
    """

    def __init__(self) -> None:
        self.elapsed = 0.0
        super().__init__(_Impatient(self))
        # Timers of the same moment fire together, those of different moments do not.
        self._clock_resolution = 1e-9  # type: ignore[attr-defined]  # the loop's own

    def time(self) -> float:
        return self.elapsed

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        done: asyncio.Future[Any] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done


class _Impatient(selectors.DefaultSelector):
    """Looks at files without waiting; instead of waiting, time passes."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise Stuck("everybody waits for somebody else")
        self._loop.elapsed += max(timeout, 0.0)
        return ready


def run_virtually(coroutine: Coroutine[Any, Any, T]) -> T:
    """What `coroutine` returns, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(coroutine)


def elapsed() -> float:
    """Virtual seconds since the loop began."""
    return asyncio.get_running_loop().time()
