"""The array rule: arithmetic on vectors is written once, against the array API standard."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from array_api_compat import array_namespace, is_numpy_array
from numpy.typing import DTypeLike

Array: TypeAlias = Any
"""An array of any library that follows the array API standard: NumPy on the server, torch tensors on a device."""

__all__ = ["Array", "StoredRow", "column_chunks", "empty", "is_large", "namespace", "release", "to_numpy"]

_CHUNK_ENTRIES = 1 << 16
_LARGE_BYTES = 1 << 28


def namespace(*arrays: Array) -> Any:
    """The array API namespace that all of `arrays` belong to."""
    return array_namespace(*arrays)


def to_numpy(array: Array) -> np.ndarray[Any, Any]:
    """The same values as a NumPy array; free of copies where the array already lies in host memory."""
    if is_numpy_array(array):
        return array
    if hasattr(array, "detach"):
        array = array.detach().cpu()
    return np.asarray(array)


def column_chunks(size: int, entries: int = _CHUNK_ENTRIES) -> list[slice]:
    """Slices that cut `size` columns into runs which stay in the processor's cache."""
    return [slice(start, min(start + entries, size)) for start in range(0, size, entries)]


def empty(size: int, dtype: DTypeLike = np.float32, *, large: int = _LARGE_BYTES) -> np.ndarray[Any, Any]:
    """A new vector of `size` entries, not yet set to anything.

    Of `large` bytes or more it lies in a temporary file that is mapped into memory and vanishes with the vector, so
    that the system can move what is not in use out of memory.
    """
    if size * np.dtype(dtype).itemsize < large:
        return np.empty(size, dtype=dtype)
    with tempfile.TemporaryFile(prefix="comity-vector-") as file:
        return np.memmap(file, dtype=dtype, mode="w+", shape=(size,))


def is_large(array: Array, large: int = _LARGE_BYTES) -> bool:
    """Whether a vector on the host is so long that it should be gone through run by run."""
    return isinstance(array, np.ndarray) and array.nbytes >= large


def release(*arrays: Array) -> None:
    """Let go of the memory that mapped vectors fill; what they hold stays in their files and comes back when read."""
    for array in arrays:
        base = array
        while base is not None and not isinstance(base, mmap.mmap):
            base = getattr(base, "base", None)
        if base is not None and hasattr(mmap, "MADV_DONTNEED"):
            base.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True, eq=False)
class StoredRow:
    """One row `[1, D]` that lies in a store: it is read run by run, `rows[0, start:stop]`, and never whole."""

    size: int
    dtype: np.dtype[Any]
    read: Callable[[int, int], np.ndarray[Any, Any]]

    @property
    def shape(self) -> tuple[int, int]:
        return 1, self.size

    @property
    def ndim(self) -> int:
        return 2

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            assert place.indices(1) == (0, 1, 1), place
            return self
        row, run = place
        assert row == 0, row
        start, stop, _ = run.indices(self.size)
        return self.read(start, stop)

    def runs(self) -> Iterator[np.ndarray[Any, Any]]:
        """All of it, run after run."""
        for run in column_chunks(self.size):
            yield self[0, run]
