"""Memory that worker processes share with their parent: a broadcast area, and blocks in which answers are left."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comity.core.vectors import Vectors


class Arena:
    """One shared mapping of float32 entries.

    The mapping is anonymous where workers are forked (it needs no space on any file system), and a temporary file
    where they are started afresh. Block b holds the vectors of up to `rows` parties, each `[rows, D]`, under the
    names in `block`.
    """

    def __init__(
        self, broadcast: Mapping[str, int], block: Mapping[str, int], *, rows: int, blocks: int, forked: bool
    ) -> None:
        self.broadcast = dict(broadcast)
        self.block = dict(block)
        self.rows = rows
        self.blocks = blocks
        self._file: Any = None if forked else tempfile.NamedTemporaryFile(prefix="comity-arena-")  # noqa: SIM115  # lives as long as the arena
        entries = sum(self.broadcast.values()) + blocks * rows * sum(self.block.values())
        if self._file is not None:
            self._file.truncate(4 * max(entries, 1))
        self._map(entries)

    def _map(self, entries: int) -> None:
        handle = -1 if self._file is None else self._file.fileno()
        self._entries = entries
        self._memory: NDArray[np.float32] = np.frombuffer(mmap.mmap(handle, 4 * max(entries, 1)), dtype=np.float32)

    def write_broadcast(self, sent: Vectors) -> None:
        start = 0
        for name, size in self.broadcast.items():
            self._memory[start : start + size] = sent[name]
            start += size

    def read_broadcast(self) -> Vectors:
        """Views of what was broadcast last."""
        views, start = {}, 0
        for name, size in self.broadcast.items():
            views[name] = self._memory[start : start + size]
            start += size
        return Vectors(**views)

    def views(self, index: int, count: int) -> dict[str, NDArray[np.float32]]:
        """The first `count` rows of block `index`: `[count, D]` under each name."""
        start = sum(self.broadcast.values()) + index * self.rows * sum(self.block.values())
        views = {}
        for name, size in self.block.items():
            views[name] = self._memory[start : start + count * size].reshape(count, size)
            start += self.rows * size
        return views

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_memory"]
        state["_file"] = None if self._file is None else self._file.name
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        name = state.pop("_file")
        self.__dict__.update(state)
        self._file = open(name, "r+b")  # noqa: SIM115
        self._map(self._entries)
