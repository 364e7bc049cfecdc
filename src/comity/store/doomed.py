"""Parts that are to be dropped, in any number of threads: whoever is told that a part is there may count on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from threading import Condition


@dataclass(eq=False)
class Doomed:
    """Keys that nobody needs; a key is spared until its removal begins, and whoever spares it waits for one's end."""

    _keys: set[str] = field(default_factory=set)
    _going: set[str] = field(default_factory=set)
    _changed: Condition = field(default_factory=Condition)

    def add(self, keys: Iterable[str]) -> None:
        with self._changed:
            self._keys.update(keys)

    def spare(self, key: str) -> None:
        """The key is not one to be dropped any more. Whether it is there still must be looked up after this."""
        with self._changed:
            self._changed.wait_for(lambda: key not in self._going)
            self._keys.discard(key)

    def carry_out(self, remove: Callable[[str], None]) -> None:
        """Remove all that are doomed; what cannot be removed stays so, and its error is raised."""
        with self._changed:
            keys = sorted(self._keys)
        for key in keys:
            with self._changed:
                if key not in self._keys:
                    continue
                self._keys.discard(key)
                self._going.add(key)
            gone = False
            try:
                remove(key)
                gone = True
            finally:
                with self._changed:
                    self._going.discard(key)
                    if not gone:
                        self._keys.add(key)
                    self._changed.notify_all()
