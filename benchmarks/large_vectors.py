"""Vectors too large for memory that follow from a seed: written, and computed with, chunk by chunk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from comity.core.seeds import Seed

CHUNK = 1 << 22
"""Entries."""


@dataclass(frozen=True)
class Drawn:
    """A vector of `size` float32 in [-1/2, 1/2), of which every chunk has a stream of random numbers of its own."""

    seed: Seed
    size: int

    @property
    def chunks(self) -> int:
        return -(-self.size // CHUNK)

    def chunk(self, number: int) -> NDArray[np.float32]:
        length = min(CHUNK, self.size - number * CHUNK)
        drawn: NDArray[np.float32] = self.seed.child("chunk", number=number).rng().random(length, dtype=np.float32)
        return drawn - np.float32(0.5)


def header(size: int) -> bytes:
    """The beginning of a safetensors file with one vector `weights`."""
    entry = {"dtype": "F32", "shape": [size], "data_offsets": [0, 4 * size]}
    text = json.dumps({"weights": entry}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def stored_chunk(file: Path, size: int, number: int) -> NDArray[np.float32]:
    """A chunk of the vector in such a file. Raises `ValueError` where the file is another."""
    begin = header(size)
    with file.open("rb") as source:
        if source.read(len(begin)) != begin:
            raise ValueError(f"{file.name} holds no vector `weights` of {size} entries alone")
        source.seek(4 * CHUNK * number, 1)
        return np.frombuffer(source.read(4 * min(CHUNK, size - number * CHUNK)), dtype="<f4")


def moved(
    start: NDArray[np.float32], changes: Sequence[NDArray[np.float32]], weights: Sequence[float]
) -> NDArray[np.float32]:
    """`start` plus the weighted mean of `changes`, added in this order and rounded to float32 after each step."""
    total = np.zeros_like(start)
    for change, weight in zip(changes, weights, strict=True):
        total += change * np.float32(weight)
    return start + total * np.float32(1 / sum(weights))
