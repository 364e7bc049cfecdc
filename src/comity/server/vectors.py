"""Vectors in the blob store: safetensors files that are read and written piece by piece, and trusted in nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comity.core.arrays import StoredRow, empty, release
from comity.core.errors import ComityError
from comity.store.blobs import Blobs
from comity.wire.messages import Blob

_HEADER_BYTES = 1 << 20
_CHUNK_BYTES = 4 << 20
_DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "F16": np.dtype("<f2"),
    "U8": np.dtype("u1"),
}
_DTYPES |= {"I64": np.dtype("<i8"), "I32": np.dtype("<i4"), "BOOL": np.dtype("?")}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


class VectorError(ComityError):
    """A blob that is no safetensors file, or not the one that its digest promises."""


@dataclass(frozen=True)
class Span:
    """Where one array lies in a file: its dtype, its shape, and the bytes from `start` to `stop`."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class StoredVectors:
    """The arrays of one blob, none of which is read before it is asked for."""

    blobs: Blobs
    owner: str
    blob: Blob
    spans: Mapping[str, Span]

    @classmethod
    def open(cls, blobs: Blobs, owner: str, blob: Blob) -> StoredVectors:
        """Read the header. Raises `VectorError` unless it describes exactly the bytes that are there."""
        if blob.size < 8:
            raise VectorError("no safetensors file is that short", where="vectors")
        length = int.from_bytes(blobs.read(owner, blob, 0, 8), "little")
        if not 2 <= length <= min(_HEADER_BYTES, blob.size - 8):
            raise VectorError(f"a header of {length} bytes", where="vectors")
        return cls(blobs, owner, blob, _spans(blobs.read(owner, blob, 8, 8 + length), 8 + length, blob.size))

    def read(self, name: str) -> NDArray[Any]:
        """One whole array, in memory of its own, or in a mapped file where it is large."""
        span = self.spans[name]
        array = empty(prod(span.shape), span.dtype)
        step = _CHUNK_BYTES // span.dtype.itemsize
        for start in range(0, len(array), step):
            stop = min(start + step, len(array))
            array[start:stop] = self._run(span, start, stop)
            release(array)
        return array.reshape(span.shape)

    def row(self, name: str) -> StoredRow:
        """A vector as a row `[1, D]` that is read run by run."""
        span = self.spans[name]
        (size,) = span.shape
        ahead: list[tuple[int, NDArray[Any]]] = [(0, np.empty(0, span.dtype))]

        def read(start: int, stop: int) -> NDArray[Any]:
            """What was read last is kept: runs follow one another, and are shorter than what is worth a read."""
            first, run = ahead[0]
            if not first <= start <= stop <= first + len(run):
                reach = max(stop, min(size, start + _CHUNK_BYTES // span.dtype.itemsize))
                ahead[0] = first, run = start, self._run(span, start, reach)
            return run[start - first : stop - first]

        return StoredRow(size, span.dtype, read)

    def _run(self, span: Span, start: int, stop: int) -> NDArray[Any]:
        width = span.dtype.itemsize
        first, last = span.start + start * width, span.start + stop * width
        return np.frombuffer(self.blobs.read(self.owner, self.blob, first, last), dtype=span.dtype)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of them."""
        return {name: self.read(name) for name in self.spans}

    def check_digest(self) -> None:
        """Raise `VectorError` where the bytes are not those that the blob's digest names."""
        if self.blob.parts == (self.blob.digest,):
            # A part has been held against its digest when it came; whether this is all of it is still to be seen.
            if len(self.blobs.part(self.owner, self.blob.digest)) != self.blob.size:
                raise VectorError("the part is not as long as was announced", where="vectors")
            return
        hasher = sha256()
        for start in range(0, self.blob.size, _CHUNK_BYTES):
            hasher.update(self.blobs.read(self.owner, self.blob, start, min(start + _CHUNK_BYTES, self.blob.size)))
        if hasher.hexdigest() != self.blob.digest:
            raise VectorError("the parts do not make up the blob that was announced", where="vectors")


def written(arrays: Mapping[str, NDArray[Any]]) -> Iterator[bytes]:
    """The safetensors file of `arrays`, piece by piece; the same arrays give the same bytes."""
    header: dict[str, Any] = {}
    position = 0
    for name in sorted(arrays):
        array = arrays[name]
        header[name] = {
            "dtype": _NAMES[array.dtype.newbyteorder("<")],
            "shape": list(array.shape),
            "data_offsets": [position, position + array.nbytes],
        }
        position += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for name in sorted(arrays):
        flat = np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8)
        for start in range(0, len(flat), _CHUNK_BYTES):
            yield flat[start : start + _CHUNK_BYTES].tobytes()
            release(flat)


def _spans(header: bytes, begin: int, size: int) -> dict[str, Span]:
    try:
        described = json.loads(header)
        rows = sorted(
            (entry["data_offsets"], name, entry["dtype"], entry["shape"])
            for name, entry in described.items()
            if name != "__metadata__"
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise VectorError("the header cannot be read", where="vectors") from error
    spans, position = {}, 0
    for offsets, name, kind, shape in rows:
        dtype = _DTYPES.get(kind) if isinstance(kind, str) else None
        if dtype is None:
            raise VectorError(f"{name[:64]!r} has a dtype that is not known here", where="vectors")
        whole = isinstance(shape, list) and all(type(n) is int and 0 <= n <= size for n in shape)
        fits = whole and len(shape) <= 8 and offsets == [position, position + dtype.itemsize * prod(shape)]
        if not fits:
            raise VectorError(f"{name[:64]!r} does not lie where its shape says", where="vectors")
        spans[name] = Span(dtype, tuple(shape), begin + offsets[0], begin + offsets[1])
        position = offsets[1]
    if begin + position != size:
        raise VectorError("the arrays do not fill the file", where="vectors")
    return spans
