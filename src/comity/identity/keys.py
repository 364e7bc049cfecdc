"""The two keys of a member: one that signs (Ed25519), one that secrets are agreed on with (X25519).

Keys are made where they are used and never sent; public halves travel as the wire's `Key`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from comity.core.files import replace_file
from comity.identity.errors import IdentityError
from comity.identity.pem import key_pem, read_key
from comity.wire.base64url import decode, encode
from comity.wire.signature import verify

__all__ = ["AgreementKey", "PublicKey", "SigningKey", "fingerprint", "thumbprint", "verify"]

K = TypeVar("K", Ed25519PrivateKey, X25519PrivateKey)


@dataclass(frozen=True)
class _Key(Generic[K]):
    """A private key of 32 bytes on Curve25519, of the one kind that a member has for one purpose."""

    kind: ClassVar[type[Any]]
    secret: K = field(repr=False)

    @classmethod
    def new(cls) -> Self:
        return cls(cls.kind.generate())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises `IdentityError` where there is no such key at `path`."""
        mend = "restore it from a backup, or join again with a new invitation"
        return cls(read_key(path, cls.kind, what="key", mend=mend)[0])

    def save(self, path: Path) -> None:
        """Write the key as PEM that its owner alone can read."""
        replace_file(path, key_pem(self.secret), mode=0o600)

    @cached_property
    def public(self) -> str:
        """The public half, as the wire writes it."""
        return encode(self.secret.public_key().public_bytes_raw())

    @cached_property
    def id(self) -> str:
        """The thumbprint of the public half."""
        return thumbprint(self.public)


class SigningKey(_Key[Ed25519PrivateKey]):
    """An Ed25519 key that signs requests and rosters (RFC 8032)."""

    kind = Ed25519PrivateKey

    def sign(self, message: bytes) -> bytes:
        """The signature under `message`, 64 bytes."""
        return self.secret.sign(message)


class AgreementKey(_Key[X25519PrivateKey]):
    """An X25519 key that secrets between members are agreed on with (RFC 7748)."""

    kind = X25519PrivateKey


@dataclass(frozen=True)
class PublicKey:
    """The public half of a signing key that is kept elsewhere, in a file of one line."""

    public: str

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises `IdentityError` where there is none at `path`."""
        try:
            text = path.read_text("ascii").strip()
            thumbprint(text)
        except OSError as error:
            raise IdentityError(
                f"the public key cannot be read: {error.strerror or error}",
                where=str(path),
                mend="it is registrar.pub of the server's folder, or what `comity registrar new` wrote beside the key",
            ) from error
        except (UnicodeDecodeError, IdentityError) as error:
            raise IdentityError("this is not a public key, in one line", where=str(path)) from error
        return cls(text)

    def save(self, path: Path) -> None:
        replace_file(path, f"{self.public}\n".encode("ascii"))


def fingerprint(signing_key: str, agreement_key: str) -> str:
    """A member's two public keys as one text to compare by eye: 160 bits of SHA-256, in groups."""
    digest = hashlib.sha256(f"{signing_key} {agreement_key}".encode("ascii")).hexdigest()
    return " ".join(digest[start : start + 4] for start in range(0, 40, 4))


def thumbprint(key: str) -> str:
    """The id of a public key: SHA-256 of its 32 bytes, base64url. Raises `IdentityError` for what is no key."""
    try:
        raw = decode(key)
    except ValueError as error:
        raise IdentityError(f"a public key is {error}", where="key") from error
    if len(raw) != 32:
        raise IdentityError(f"a public key has {len(raw)} bytes instead of 32", where="key")
    return encode(hashlib.sha256(raw).digest())
