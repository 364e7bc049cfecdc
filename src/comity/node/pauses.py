"""Pauses between tries: longer each time, and jittered, so that nodes do not come back all at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(eq=False)
class Pauses:
    """Pauses that double from `first` to `most` seconds, of each a half or more; `token(n)` are n random bytes."""

    token: Callable[[int], bytes]
    first: float = 1.0
    most: float = 60.0
    _count: int = 0

    def next(self) -> float:
        whole = min(self.most, self.first * 2.0 ** min(self._count, 30))
        self._count += 1
        return whole * (0.5 + 0.5 * int.from_bytes(self.token(2)) / 65535)

    def reset(self) -> None:
        self._count = 0
