"""A computer that fails: what runs on it can be killed at any operation on its disk, and its disk can be full.

Everything that is started on a machine runs in a context of its own, by which it is known wherever it comes to the
disk. Files are watched by an audit hook of the interpreter, databases and blobs by `watched`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from collections.abc import Coroutine
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_EVENTS = frozenset(("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"))
_FREEING = frozenset(("os.remove", "os.rmdir"))
EPOCH = 1_700_000_000.0


class Killed(BaseException):
    """What happens to a process whose machine has lost its power: it does nothing more, not even clean up."""


@dataclass(eq=False)
class Machine:
    """A clock that is off by `offset` seconds, a disk below `folder`, and whatever has been started since `boot`.

    `fuse` is the number of operations on the disk that are left until the power fails.
    """

    name: str
    folder: Path
    offset: float = 0.0
    full: bool = False
    fuse: int | None = None
    boots: int = 0
    operations: int = 0
    died: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    def now(self) -> float:
        return EPOCH + asyncio.get_running_loop().time() + self.offset

    def boot(self) -> None:
        self.boots += 1
        self.died.clear()

    def start(self, what: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something on this machine for as long as it is up."""
        context = copy_context()
        context.run(_HERE.set, (self, self.boots))
        return asyncio.get_running_loop().create_task(what, context=context)

    def kill(self) -> None:
        """Everything ends where it is. What it would still do on its way out comes to nothing."""
        self.boots += 1
        self.fuse = None
        self.died.set()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()

    def operate(self, boot: int, *, writes: bool) -> None:
        """One operation on the disk."""
        if boot != self.boots:
            raise Killed
        self.operations += 1
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse <= 0:
                self.kill()
                raise Killed
        if writes and self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def owns(self, path: Any) -> bool:
        return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(str(self.folder))

    def remember(self, task: asyncio.Task[Any]) -> None:
        self._tasks = [other for other in self._tasks if not other.done()]
        self._tasks.append(task)


_HERE: ContextVar[tuple[Machine, int] | None] = ContextVar("_HERE", default=None)


def here() -> None:
    """Raises `Killed` where this runs on a machine that is down."""
    place = _HERE.get()
    if place is not None and place[1] != place[0].boots:
        raise Killed


def operate(*, writes: bool = True) -> None:
    """An operation on the disk of the machine that this runs on."""
    place = _HERE.get()
    if place is not None:
        place[0].operate(place[1], writes=writes)


def factory(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
    """Tasks that belong to the machine on which they are made."""
    task = asyncio.Task(coroutine, loop=loop, **options)
    place = (options.get("context") or copy_context()).get(_HERE)
    if place is not None:
        machine, boot = place
        if boot == machine.boots:
            machine.remember(task)
        else:
            task.cancel()
    return task


def _audit(event: str, given: tuple[Any, ...]) -> None:
    if event not in _EVENTS:
        return
    place = _HERE.get()
    if place is not None and place[0].owns(given[0]):
        reading = event in _FREEING or (event == "open" and not given[2] & _WRITES)
        place[0].operate(place[1], writes=not reading)


sys.addaudithook(_audit)
