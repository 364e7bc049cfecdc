"""Layouts: how a model's named arrays lie in one flat vector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any, Literal, TypeAlias

import numpy as np

from comity.core.arrays import empty
from comity.core.errors import LearnerError

Part: TypeAlias = Literal["shared", "buffer", "local", "fixed"]
"""What becomes of an array.

- `shared`: trained at the party, travels, is averaged.
- `buffer`: a floating-point buffer (batch-norm statistics) that travels and is averaged.
- `local`: stays at the party between rounds (a personal head, batch-norm buffers under the policy `local`).
- `fixed`: never changes in training and never travels (frozen layers, integer buffers).
"""

TRAVELS: tuple[Part, ...] = ("shared", "buffer")

_WIDTHS: Mapping[str, int] = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Entry:
    """One named array: its shape, its dtype on the wire, its part, and where it starts in the vector of its part."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    part: Part
    offset: int

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def span(self) -> slice:
        return slice(self.offset, self.offset + self.size)


@dataclass(frozen=True)
class Layout:
    """The order of a model's arrays in its flat vectors.

    The *travelling vector* holds the parts `shared` and then `buffer`, back to back, `size` entries in all; `local`
    arrays lie in a second vector of `local_size` entries; `fixed` arrays lie in neither. Inside the library both
    vectors are float32 (float64 where a model asks for it); an entry's `dtype` is its precision on the wire. `ties`
    maps a second name of an array to its first.
    """

    entries: tuple[Entry, ...]
    ties: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def build(
        cls, arrays: Iterable[tuple[str, tuple[int, ...], str, Part]], ties: Mapping[str, str] | None = None
    ) -> Layout:
        """The layout of `(name, shape, dtype, part)` rows; offsets follow from the order, `shared` before `buffer`."""
        rows = sorted(arrays, key=lambda row: ("shared", "buffer", "local", "fixed").index(row[3]))
        names = [row[0] for row in rows]
        if len(set(names)) != len(names):
            raise LearnerError(
                "two arrays of a layout have one name",
                where=f"layout of {sorted(names)}",
                mend="name a tied array once and list the other name in `ties`",
            )
        offsets = {"travels": 0, "local": 0, "fixed": 0}
        entries = []
        for name, shape, dtype, part in rows:
            run = "travels" if part in TRAVELS else part
            entry = Entry(name, tuple(shape), dtype, part, offsets[run])
            offsets[run] += entry.size
            entries.append(entry)
        return cls(tuple(entries), dict(ties or {}))

    @cached_property
    def size(self) -> int:
        """Entries of the travelling vector."""
        return sum(entry.size for entry in self.entries if entry.part in TRAVELS)

    @cached_property
    def shared_size(self) -> int:
        """Entries of the travelling vector that training moves; the buffers come after them."""
        return sum(entry.size for entry in self.entries if entry.part == "shared")

    @cached_property
    def local_size(self) -> int:
        """Entries of the vector that stays at the party."""
        return sum(entry.size for entry in self.entries if entry.part == "local")

    @cached_property
    def wire_bytes(self) -> int:
        """Bytes of the travelling vector at each entry's own precision."""
        return sum(entry.size * _WIDTHS[entry.dtype] for entry in self.entries if entry.part in TRAVELS)

    def pack(
        self, arrays: Mapping[str, Any], part: Literal["travels", "local"] = "travels", dtype: Any = np.float32
    ) -> np.ndarray[Any, Any]:
        """Lay named arrays into one new vector. Raises `LearnerError` for a missing name or a wrong shape."""
        wanted = TRAVELS if part == "travels" else ("local",)
        vector = empty(self.size if part == "travels" else self.local_size, dtype)
        for entry in self.entries:
            if entry.part not in wanted:
                continue
            if entry.name not in arrays:
                raise LearnerError(
                    "an array is missing",
                    where=f"layout entry {entry.name!r}",
                    mend=f"give an array of shape {entry.shape}",
                )
            array = np.asarray(arrays[entry.name])
            if array.shape != entry.shape:
                raise LearnerError(f"shape {array.shape}, expected {entry.shape}", where=f"layout entry {entry.name!r}")
            vector[entry.span] = array.reshape(-1)
        return vector

    def unpack(self, vector: Any, part: Literal["travels", "local"] = "travels") -> dict[str, Any]:
        """Named views into `vector` (`[D]`), the tied names included."""
        expected = self.size if part == "travels" else self.local_size
        if tuple(vector.shape) != (expected,):
            raise LearnerError(f"a vector of shape {tuple(vector.shape)}, expected ({expected},)", where="layout")
        wanted = TRAVELS if part == "travels" else ("local",)
        views = {entry.name: vector[entry.span].reshape(entry.shape) for entry in self.entries if entry.part in wanted}
        return views | {second: views[first] for second, first in self.ties.items() if first in views}

    def without_buffers(self, vector: Any) -> Any:
        """`vector` (`[..., D]`) with the entries of buffers set to zero: what training moved, and nothing else."""
        if self.shared_size == self.size:
            return vector
        trained = vector * 1
        trained[..., self.shared_size :] = 0
        return trained
