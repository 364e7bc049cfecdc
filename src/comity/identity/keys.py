"""The two keys of a member: one that signs (Ed25519), one that secrets are agreed on with (X25519).

Keys are made where they are used and never sent; public halves travel as the wire's `Key`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from comity.core.files import replace_file
from comity.identity.errors import IdentityError
from comity.wire.base64url import decode, encode
from comity.wire.signature import verify

__all__ = ["AgreementKey", "SigningKey", "thumbprint", "verify"]


@dataclass(frozen=True)
class SigningKey:
    """An Ed25519 key that signs requests and rosters (RFC 8032)."""

    secret: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def new(cls) -> SigningKey:
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """Raises `IdentityError` where there is no such key at `path`."""
        return cls(_load(path, Ed25519PrivateKey))

    def save(self, path: Path) -> None:
        """Write the key as PEM that its owner alone can read."""
        _save(self.secret, path)

    def sign(self, message: bytes) -> bytes:
        """The signature under `message`, 64 bytes."""
        return self.secret.sign(message)

    @cached_property
    def public(self) -> str:
        """The public half, as the wire writes it."""
        return encode(self.secret.public_key().public_bytes_raw())

    @cached_property
    def id(self) -> str:
        """The thumbprint of the public half."""
        return thumbprint(self.public)


@dataclass(frozen=True)
class AgreementKey:
    """An X25519 key that secrets between members are agreed on with (RFC 7748)."""

    secret: X25519PrivateKey = field(repr=False)

    @classmethod
    def new(cls) -> AgreementKey:
        return cls(X25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> AgreementKey:
        """Raises `IdentityError` where there is no such key at `path`."""
        return cls(_load(path, X25519PrivateKey))

    def save(self, path: Path) -> None:
        """Write the key as PEM that its owner alone can read."""
        _save(self.secret, path)

    @cached_property
    def public(self) -> str:
        """The public half, as the wire writes it."""
        return encode(self.secret.public_key().public_bytes_raw())

    @cached_property
    def id(self) -> str:
        """The thumbprint of the public half."""
        return thumbprint(self.public)


def thumbprint(key: str) -> str:
    """The id of a public key: SHA-256 of its 32 bytes, base64url. Raises `IdentityError` for what is no key."""
    try:
        raw = decode(key)
    except ValueError as error:
        raise IdentityError(f"a public key is {error}", where="key") from error
    if len(raw) != 32:
        raise IdentityError(f"a public key has {len(raw)} bytes instead of 32", where="key")
    return encode(hashlib.sha256(raw).digest())


def _load(path: Path, kind: type[Any]) -> Any:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise IdentityError(
            f"the key cannot be read: {error.strerror or error}",
            where=str(path),
            mend="restore it from a backup, or join again with a new invitation",
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise IdentityError("this is not a private key in PEM without a password", where=str(path)) from error
    if not isinstance(key, kind):
        raise IdentityError(f"this is not an {kind.__name__.removesuffix('PrivateKey')} key", where=str(path))
    return key


def _save(secret: Any, path: Path) -> None:
    replace_file(path, secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), mode=0o600)
