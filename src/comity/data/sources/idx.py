"""IDX, the format of MNIST and its relatives: a header of big-endian sizes, then the entries (LeCun 1998).

Two bytes are 0, one names the type of the entries, one the number of dimensions; then 4 bytes for each size.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np

from comity.core.errors import DataError
from comity.data.card import Card
from comity.data.checks import check_examples
from comity.data.dataset import Dataset
from comity.data.examples import Affine, Column, Examples
from comity.data.sources.files import find

_TYPES: Mapping[int, str] = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_MEND = "fetch the file again, or check that it is the right one"


def read_idx(path: str | Path) -> Column:
    """The array in an IDX file, plain (then memory-mapped) or gzipped. Raises `DataError` for a malformed file."""
    path = Path(path)
    if path.suffix == ".gz":
        try:
            data = gzip.decompress(path.read_bytes())
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"not a gzip file: {error}", where=str(path), mend=_MEND) from error
        shape, kind, start = _header(data[:1028], path)
        _check_size(len(data), start, shape, kind, path)
        return np.frombuffer(data, kind, offset=start).reshape(shape)
    with path.open("rb") as file:
        head = file.read(1028)
    shape, kind, start = _header(head, path)
    _check_size(path.stat().st_size, start, shape, kind, path)
    if not prod(shape):
        return np.empty(shape, kind)
    return np.asarray(np.memmap(path, kind, mode="r", offset=start, shape=shape))


def load_idx(
    card: Card, folder: str | Path | None, stem: str = "", transposed: bool = False, first: int = 0
) -> Dataset:
    """A data set of four IDX files, images `[N, 1, H, W]` as uint8, seen by a model as 0 … 1.

    `stem` precedes the files' names; `transposed` images (EMNIST) are turned upright; `first` is the smallest label in
    the files.
    """
    kinds = ("images-idx3", "labels-idx1")
    train = [_spellings(f"{stem}train", kind) for kind in kinds]
    test = [_spellings(f"{stem}{'test' if stem else 't10k'}", kind) for kind in kinds]
    paths = find(card, folder, [*train, *test], ("raw", "gzip"))
    parts = []
    for images, labels in (paths[:2], paths[2:]):
        x, y = read_idx(images), read_idx(labels)
        if x.ndim != 3 or y.ndim != 1:
            raise DataError(
                f"images of shape {x.shape}, labels of shape {y.shape}", where=str(images), mend="check the names"
            )
        if len(x) != len(y):
            raise DataError(f"{len(x)} images and {len(y)} labels", where=str(images), mend=_MEND)
        x = np.ascontiguousarray(x.transpose(0, 2, 1)) if transposed else x
        examples = Examples(x[:, None], y.astype(np.int64) - first, affine=Affine(1 / 255))
        check_examples(examples, card.classes, str(labels))
        parts.append(examples)
    return Dataset(card, parts[0], parts[1])


def _spellings(part: str, kind: str) -> list[str]:
    """The names under which a file goes round: gzipped or not, with a dash or a dot."""
    names = (kind, kind.replace("-", "."))
    return [f"{part}-{name}-ubyte{suffix}" for name in names for suffix in ("", ".gz")]


def _header(head: bytes, path: Path) -> tuple[tuple[int, ...], str, int]:
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES:
        raise DataError("not an IDX file: its first bytes are wrong", where=str(path), mend=_MEND)
    dimensions = head[3]
    start = 4 + 4 * dimensions
    if len(head) < start:
        raise DataError("the file ends within its header", where=str(path), mend=_MEND)
    return struct.unpack(f">{dimensions}I", head[4:start]), _TYPES[head[2]], start


def _check_size(actual: int, start: int, shape: tuple[int, ...], kind: str, path: Path) -> None:
    expected = start + prod(shape) * np.dtype(kind).itemsize
    if actual != expected:
        raise DataError(f"{actual:,} bytes, the header says {expected:,}", where=str(path), mend=_MEND)
