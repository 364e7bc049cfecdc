"""Boxes that one helper or member can open: HPKE (RFC 9180) with X25519, HKDF-SHA256 and AES-128-GCM.

`info` carries all that a box is bound to: the context, the party that sealed it and the helper or member it is for. A
box that was moved to another round, party or receiver does not open.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from comity.protocols.secure_sum.encoding import statement
from comity.protocols.secure_sum.errors import SealError

OVERHEAD = 48
"""A box is so many bytes longer than what is in it: an X25519 key and a tag of AES-GCM."""

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)


def seal(public: bytes, context: bytes, sender: int, receiver: int, plain: bytes) -> bytes:
    """A box for the owner of the raw X25519 key `public`; `sender` and `receiver` are positions.

    Raises `SealError` where the key is none that secrets can be agreed on with.
    """
    try:
        return _SUITE.encrypt(plain, X25519PublicKey.from_public_bytes(public), _info(context, sender, receiver))
    except ValueError as error:
        raise SealError(f"nothing can be sealed for this key: {error}", where=f"receiver {receiver}") from error


def unseal(private: X25519PrivateKey, context: bytes, sender: int, receiver: int, box: bytes) -> bytes:
    """What is in a box. Raises `SealError` for one that was not sealed for just this context, sender and receiver."""
    try:
        return _SUITE.decrypt(box, private, _info(context, sender, receiver))
    except (InvalidTag, ValueError) as error:
        raise SealError("the box does not open", where=f"party {sender}, receiver {receiver}") from error


def _info(context: bytes, sender: int, receiver: int) -> bytes:
    return statement("box", context, sender.to_bytes(4, "big"), receiver.to_bytes(4, "big"))
