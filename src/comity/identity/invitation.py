"""Invitations: one line of text that lets one joiner in, once, until it expires.

A token holds the server's address and the fingerprint of its certificate authority, so a joiner knows whom it talks to
before it says anything; and a secret, of which the server keeps the digest alone.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Annotated

from pydantic import Field, StringConstraints

from comity.identity.errors import IdentityError
from comity.wire.base64url import decode, encode
from comity.wire.bodies import BodyError, parse
from comity.wire.messages import Message, Name, RoleName

_PREFIX = "comity1."
_CHECK_BYTES = 6
_LIMIT = 2048


@dataclass(frozen=True)
class Invitation:
    """What a token says.

    `fingerprint` is the SHA-256 of the authority's certificate in hexadecimal, or empty where the server's certificate
    is one that every system trusts. `expires` is in seconds since 1970.
    """

    address: str
    fingerprint: str
    secret: str = field(repr=False)
    name: str
    role: RoleName
    expires: float

    @property
    def token(self) -> str:
        """The invitation as text: a checksum and the fields as JSON, in base64url."""
        content = json.dumps(asdict(self), separators=(",", ":")).encode("utf-8")
        return _PREFIX + encode(_check(content) + content)

    @classmethod
    def of(cls, token: str) -> Invitation:
        """Raises `IdentityError` where a token is not whole, without repeating what it holds."""
        text = token.strip()
        try:
            if not text.startswith(_PREFIX) or len(text) > 2 * _LIMIT:
                raise ValueError(f"it does not start with {_PREFIX!r}, or is far too long")
            raw = decode(text.removeprefix(_PREFIX))
            check, content = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
            if check != _check(content):
                raise ValueError("a part of it is missing or changed")
            fields = parse(_Fields, content, _LIMIT)
        except (ValueError, BodyError) as error:
            why = error.what if isinstance(error, BodyError) else str(error)
            raise IdentityError(
                f"this is no invitation: {why}",
                where="invitation",
                mend="copy the whole token in one line, or ask for a new one: comity server invite NAME",
            ) from None
        return cls(**fields.model_dump())

    def check(self, now: float) -> None:
        """Raises `IdentityError` where the invitation has expired."""
        if now >= self.expires:
            raise IdentityError(
                f"the invitation for {self.name} expired {now - self.expires:.0f} seconds ago",
                where="invitation",
                mend="ask for a new one (comity server invite NAME); if it is new, set this machine's clock",
            )


def secret_digest(secret: str) -> str:
    """What a server keeps of a secret: SHA-256, in hexadecimal. Secrets are random and long, so they need no salt."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class _Fields(Message):
    address: Annotated[str, StringConstraints(pattern=r"^https://[!-~]{1,300}$")]
    fingerprint: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]
    secret: Annotated[str, StringConstraints(pattern=r"^[!-~]{16,128}$")]
    name: Name
    role: RoleName
    expires: Annotated[float, Field(ge=0)]


def _check(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:_CHECK_BYTES]
