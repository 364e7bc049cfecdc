"""Sealed boxes open for their receiver, in their context, from their sender, and for nobody else."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from comity.protocols.secure_sum.errors import SealError
from comity.protocols.secure_sum.sealing import OVERHEAD, seal, unseal

PRIVATE = X25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key().public_bytes_raw()
CONTEXT = b"c" * 32


@given(st.binary(max_size=500), st.integers(0, 1 << 20), st.integers(0, 1000))
def test_a_box_opens_for_its_receiver(plain: bytes, sender: int, receiver: int) -> None:
    box = seal(PUBLIC, CONTEXT, sender, receiver, plain)
    assert len(box) == len(plain) + OVERHEAD
    assert unseal(PRIVATE, CONTEXT, sender, receiver, box) == plain


@pytest.mark.parametrize(
    ("context", "sender", "receiver"), [(b"d" * 32, 1, 2), (CONTEXT, 2, 2), (CONTEXT, 1, 1), (CONTEXT, 2, 1)]
)
def test_a_box_that_was_moved_does_not_open(context: bytes, sender: int, receiver: int) -> None:
    box = seal(PUBLIC, CONTEXT, 1, 2, b"seeds")
    with pytest.raises(SealError, match="does not open"):
        unseal(PRIVATE, context, sender, receiver, box)


def test_nobody_else_opens_it() -> None:
    with pytest.raises(SealError, match="does not open"):
        unseal(X25519PrivateKey.generate(), CONTEXT, 1, 2, seal(PUBLIC, CONTEXT, 1, 2, b"seeds"))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_box_do_not_open(box: bytes) -> None:
    with pytest.raises(SealError):
        unseal(PRIVATE, CONTEXT, 1, 2, box)


@pytest.mark.parametrize("key", [b"short", bytes(32)], ids=["short", "of low order"])
def test_nothing_is_sealed_for_a_key_that_is_none(key: bytes) -> None:
    with pytest.raises(SealError, match="nothing can be sealed"):
        seal(key, CONTEXT, 1, 2, b"seeds")
