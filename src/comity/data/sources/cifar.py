"""CIFAR-10 and CIFAR-100 in their binary version: records of label bytes and 3 × 32 × 32 pixels (Krizhevsky 2009)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from comity.core.errors import DataError
from comity.data.card import Card
from comity.data.checks import check_examples
from comity.data.dataset import Dataset
from comity.data.examples import Affine, Examples
from comity.data.sources.files import find

_PIXELS = 3 * 32 * 32


def load_cifar10(card: Card, folder: str | Path | None) -> Dataset:
    """Images `[N, 3, 32, 32]` as uint8, seen by a model as 0 … 1, and one of 10 labels."""
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    paths = find(card, folder, [[name] for name in names], ["cifar-10-batches-bin"])
    return Dataset(card, read_records(paths[:-1], 1, card), read_records(paths[-1:], 1, card))


def load_cifar100(card: Card, folder: str | Path | None) -> Dataset:
    """Images `[N, 3, 32, 32]` as uint8, seen by a model as 0 … 1, and one of 100 fine labels."""
    train, test = find(card, folder, [["train.bin"], ["test.bin"]], ["cifar-100-binary"])
    return Dataset(card, read_records([train], 2, card), read_records([test], 2, card))


def read_records(paths: list[Path], label_bytes: int, card: Card) -> Examples:
    """The records of several files as one column; the last of the label bytes is the label."""
    size = label_bytes + _PIXELS
    for path in paths:
        if path.stat().st_size % size or not path.stat().st_size:
            raise DataError(
                f"{path.stat().st_size:,} bytes are not whole records of {size:,}",
                where=str(path),
                mend="use the binary version of the data set, not the Python or Matlab one",
            )
    counts = [path.stat().st_size // size for path in paths]
    x = np.empty((sum(counts), 3, 32, 32), np.uint8)
    y = np.empty(sum(counts), np.int64)
    start = 0
    for path, count in zip(paths, counts, strict=True):
        records = np.fromfile(path, np.uint8).reshape(count, size)
        x[start : start + count] = records[:, label_bytes:].reshape(count, 3, 32, 32)
        y[start : start + count] = records[:, label_bytes - 1]
        start += count
    examples = Examples(x, y, affine=Affine(1 / 255))
    check_examples(examples, card.classes, str(paths[0].parent))
    return examples
