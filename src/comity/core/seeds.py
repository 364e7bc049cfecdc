"""Seeds by purpose: every random choice of a run derives from one number and says what it is for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

_KEY_BYTES = 16


@dataclass(frozen=True)
class Seed:
    """A 128-bit seed from which others are derived by name.

    `Seed.of(7).child("order", round=3, party="p12")` is the same on every machine, engine and number of workers, and
    independent of every other child. Secrets and privacy noise never come from here: they come from the operating
    system.
    """

    key: bytes

    @classmethod
    def of(cls, number: int) -> Seed:
        """The root seed for a user's number."""
        return cls(_digest(b"comity/seed/1", str(int(number))))

    def child(self, purpose: str, **labels: int | str) -> Seed:
        """The seed for one purpose, told apart by labels such as `round=3, party="p12"`."""
        return Seed(_digest(self.key, purpose, *(f"{name}={value!r}" for name, value in sorted(labels.items()))))

    def rng(self) -> np.random.Generator:
        """A NumPy generator (Philox, counter based) that starts at this seed."""
        return np.random.Generator(np.random.Philox(key=int.from_bytes(self.key, "little")))

    def integer(self) -> int:
        """A number in [0, 2⁶³) for libraries that seed with an integer."""
        return int.from_bytes(self.key[:8], "little") >> 1


def _digest(key: bytes, *parts: str) -> bytes:
    hasher = hashlib.blake2b(key, digest_size=_KEY_BYTES)
    for part in parts:
        encoded = part.encode()
        hasher.update(len(encoded).to_bytes(4, "little"))
        hasher.update(encoded)
    return hasher.digest()
