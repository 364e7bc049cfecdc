"""Vectors that travel beside messages: runs of uint32, hashed as little-endian bytes, and never whole in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from comity.protocols.secure_sum.errors import MessageError, OrderError

M = TypeVar("M")

Runs = Iterable[NDArray[np.uint32]]
Source = Callable[[], Runs]
"""A stored vector that can be read again: each call gives its runs from the beginning."""


class Outgoing(Generic[M]):
    """A vector on its way out, then the message that has its hash: iterate once, then take `message`."""

    def __init__(self, runs: Iterator[NDArray[np.uint32]], finish: Callable[[bytes], M]) -> None:
        self._runs = runs
        self._finish = finish
        self._message: M | None = None
        self._begun = False

    def __iter__(self) -> Iterator[NDArray[np.uint32]]:
        if self._begun:
            raise OrderError("a vector goes out once", where="outgoing vector", mend="keep what was sent, to repeat it")
        self._begun = True
        hashed = hashlib.sha256()
        for run in self._runs:
            hashed.update(little_endian(run))
            yield run
        self._message = self._finish(hashed.digest())

    @property
    def message(self) -> M:
        """Raises `OrderError` as long as the vector is not out."""
        if self._message is None:
            raise OrderError("the message is made when its vector is out", where="outgoing vector")
        return self._message


def checked_digest(runs: Runs, length: int) -> bytes:
    """SHA-256 of a vector that must have `length` entries. Raises `MessageError` where it does not."""
    hashed, left = hashlib.sha256(), length
    for run in runs:
        if run.dtype != np.uint32 or run.ndim != 1 or len(run) > left:
            raise MessageError(f"this is no vector of {length} numbers of 32 bits", where="vector")
        hashed.update(little_endian(run))
        left -= len(run)
    if left:
        raise MessageError(f"the vector has {length - left} entries, not {length}", where="vector")
    return hashed.digest()


def add(total: NDArray[np.uint32], runs: Runs) -> None:
    """Add a vector to `total` in place, mod 2³²."""
    at = 0
    for run in runs:
        part = total[at : at + len(run)]
        np.add(part, run, out=part)
        at += len(run)


def subtract(total: NDArray[np.uint32], runs: Runs) -> None:
    """Take a vector from `total` in place, mod 2³²."""
    at = 0
    for run in runs:
        part = total[at : at + len(run)]
        np.subtract(part, run, out=part)
        at += len(run)


def little_endian(run: NDArray[np.uint32]) -> memoryview:
    """The bytes of a run as they travel."""
    return np.ascontiguousarray(run, dtype="<u4").view(np.uint8).data
