"""Long polling: whoever waits for something is woken when it changes, and nobody looks again and again."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass, field


@dataclass(eq=False)
class Bell:
    """Rings for a key wake those that wait for it."""

    _waiting: dict[Hashable, set[asyncio.Event]] = field(default_factory=lambda: defaultdict(set))

    def ring(self, *keys: Hashable) -> None:
        for key in keys:
            for event in self._waiting.get(key, ()):
                event.set()

    def ring_all(self) -> None:
        """Wake everybody: the server is about to end, and whoever asks again finds the next one."""
        self.ring(*self._waiting)

    async def wait(self, key: Hashable, timeout: float) -> bool:
        """Whether it rang for `key` within `timeout` seconds from now."""
        event = asyncio.Event()
        self._waiting[key].add(event)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await event.wait()
                    return True
            return False
        finally:
            self._waiting[key].discard(event)
            if not self._waiting[key]:
                del self._waiting[key]
