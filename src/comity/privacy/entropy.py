"""Random bits for privacy: AES-128 in counter mode under a key that the operating system gives for each call."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from comity.core.errors import MissingDependency

_KEY_BYTES = 16
_ZEROS = memoryview(bytes(1 << 20))


class Bits:
    """A stream of random bits that nobody can predict or repeat: it has no seed, and a new one has a new key."""

    def __init__(self) -> None:
        try:
            from cryptography.hazmat.primitives.ciphers import Cipher
            from cryptography.hazmat.primitives.ciphers.algorithms import AES
            from cryptography.hazmat.primitives.ciphers.modes import CTR
        except ImportError as error:
            raise MissingDependency.of("cryptography", "privacy", "noise for privacy") from error
        self._stream = Cipher(AES(os.urandom(_KEY_BYTES)), CTR(bytes(16))).encryptor()

    def fill(self, out: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Overwrite `out` (contiguous) with uniform words."""
        view = out.data.cast("B")
        for start in range(0, len(view), len(_ZEROS)):
            part = view[start : start + len(_ZEROS)]
            self._stream.update_into(_ZEROS[: len(part)], part)
        return out

    def words(self, count: int) -> NDArray[np.uint64]:
        """`count` words, uniform in [0, 2⁶⁴)."""
        return self.fill(np.empty(count, dtype=np.uint64))
