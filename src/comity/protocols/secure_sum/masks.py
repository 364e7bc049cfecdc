"""The masks of helper mode: one seed for every t-subset of the helpers, known to every helper outside it.

Any t helpers lack the seed of the subset that they are, so what they know leaves a party's mask uniform; any t + 1 live
helpers know every seed. The mask is the sum of all streams mod 2³², which is how uint32 adds by itself. A stream is
AES-128 in counter mode (little-endian words) under HKDF-SHA256(salt = ctx, seed, party, subset), and can be entered at
any place, so a vector of any length is masked in runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import combinations

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from comity.protocols.secure_sum.encoding import statement

SEED = 16
"""The length of a seed, in bytes."""
RUN = 1 << 16
"""Vectors are worked on in runs of so many entries (256 KiB), which stay in the processor's cache."""

_ZEROS = memoryview(bytes(4 * (RUN + 4)))


@cache
def subsets(c: int, t: int) -> tuple[tuple[int, ...], ...]:
    """The t-subsets of c helpers in lexicographic order: the number of a subset is its place here."""
    return tuple(combinations(range(c), t))


@cache
def held(c: int, t: int, member: int) -> tuple[int, ...]:
    """The numbers of the subsets whose seeds the helper at `member` gets: those that it is not in."""
    return tuple(number for number, subset in enumerate(subsets(c, t)) if member not in subset)


def commitment(context: bytes, party: int, subset: int, seed: bytes) -> bytes:
    """What a party signs of a seed, so that all helpers who hold it hold the same one."""
    return hashlib.sha256(statement("seed", context, _number(party), _number(subset), seed)).digest()


def stream_key(context: bytes, party: int, subset: int, seed: bytes) -> bytes:
    """The AES key of the mask that a seed gives in one context."""
    info = statement("mask", _number(party), _number(subset))
    return HKDF(SHA256(), length=16, salt=context, info=info).derive(seed)


class Masks:
    """The sum mod 2³² of the streams of some keys; one instance is used by one thread."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._keys = tuple(keys)
        self._scratch = np.empty(RUN + 4, dtype="<u4")

    def add(self, start: int, target: NDArray[np.uint32]) -> None:
        """Add the words of all streams from place `start` on to `target`, in place."""
        for offset in range(0, len(target), RUN):
            run = target[offset : offset + RUN]
            for key in self._keys:
                self._add_stream(key, start + offset, run)

    def _add_stream(self, key: bytes, start: int, run: NDArray[np.uint32]) -> None:
        block, skipped = divmod(start, 4)
        words = self._scratch[: skipped + len(run)]
        room = words.view(np.uint8).data
        mode = modes.CTR(block.to_bytes(16, "big"))
        Cipher(algorithms.AES128(key), mode).encryptor().update_into(_ZEROS[: len(room)], room)
        np.add(run, words[skipped:], out=run)


def summed(keys: Sequence[bytes], length: int) -> Iterator[NDArray[np.uint32]]:
    """The sum of the streams of `keys`, run by run."""
    masks = Masks(keys)
    for start in range(0, length, RUN):
        run = np.zeros(min(RUN, length - start), dtype=np.uint32)
        masks.add(start, run)
        yield run


def _number(value: int) -> bytes:
    return value.to_bytes(4, "big")
