"""Private keys as PEM files that their owner alone can read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from comity.identity.errors import IdentityError


def key_pem(secret: PrivateKeyTypes) -> bytes:
    """The key as PKCS #8 without a password: what protects it is the mode of its file."""
    return secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def read_key(path: Path, kind: type[Any], *, what: str, mend: str) -> tuple[Any, bytes]:
    """The private key of this kind in the file `path`, and all that the file holds.

    Raises `IdentityError`; `what` names the file and `mend` says what to do where it cannot be read.
    """
    try:
        pem = path.read_bytes()
        secret = load_pem_private_key(pem, password=None)
    except OSError as error:
        raise IdentityError(
            f"the {what} cannot be read: {error.strerror or error}", where=str(path), mend=mend
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm, InternalError) as error:
        raise IdentityError("this is not a private key in PEM without a password", where=str(path)) from error
    if not isinstance(secret, kind):
        raise IdentityError(f"this is not an {kind.__name__.removesuffix('PrivateKey')} key", where=str(path))
    return secret, pem
