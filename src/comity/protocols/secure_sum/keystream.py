"""Pseudo-random words from a key: AES-128 in counter mode, at memory bandwidth."""

from __future__ import annotations

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

KEY = 16
"""The length of a key, in bytes."""

_STEP = 1 << 18
_ZEROS = memoryview(bytes(_STEP))


class Keystream:
    """The words of one key (16 bytes), in order: AES-128-CTR from counter zero, little-endian.

    A key is used for one stream alone.
    """

    def __init__(self, key: bytes) -> None:
        self._encryptor = Cipher(algorithms.AES128(key), modes.CTR(bytes(16))).encryptor()

    def words(self, count: int) -> NDArray[np.uint32]:
        """The next `count` 32-bit words, in a fresh array."""
        words = np.empty(count, dtype="<u4")
        room = words.data.cast("B")
        for start in range(0, len(room), _STEP):
            part = room[start : start + _STEP]
            self._encryptor.update_into(_ZEROS[: len(part)], part)
        return words.astype(np.uint32, copy=False)
