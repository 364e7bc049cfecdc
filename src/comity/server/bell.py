"""Long polling: whoever waits for something is woken when it changes, and nobody looks again and again."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass, field


@dataclass(eq=False)
class Bell:
    """Rings for a key wake those that wait for it."""

    _waiting: dict[Hashable, dict[asyncio.Event, None]] = field(default_factory=lambda: defaultdict(dict))
    """By key, and in the order in which they came."""

    def ring(self, *keys: Hashable) -> None:
        for key in keys:
            for event in self._waiting.get(key, ()):
                event.set()

    def ring_all(self) -> None:
        """Wake everybody: the server is about to end, and whoever asks again finds the next one."""
        self.ring(*self._waiting)

    def waiting(self) -> Counter[Hashable]:
        """How many wait, by the first part of their key, or by the key where it has no parts."""
        found: Counter[Hashable] = Counter()
        for key, events in self._waiting.items():
            found[key[0] if isinstance(key, tuple) else key] += len(events)
        return found

    async def wait(self, key: Hashable, timeout: float) -> bool:
        """Whether it rang for `key` within `timeout` seconds from now."""
        event = asyncio.Event()
        self._waiting[key][event] = None
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await event.wait()
                    return True
            return False
        finally:
            del self._waiting[key][event]
            if not self._waiting[key]:
                del self._waiting[key]
