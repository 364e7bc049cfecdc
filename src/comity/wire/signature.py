"""Requests that say who sends them: HTTP Message Signatures (RFC 9421) with Ed25519, one strict profile of them.

Covered are the method, the path, the query and the digest of the body, but neither scheme nor authority: a proxy that
ends TLS changes nothing. The parameters are `created`, `expires`, `nonce`, `keyid`, `alg` and `tag`, the id of the
deployment. All of them are demanded, nothing else is accepted, and there is one signature.

The base of the signature and the fields that are sent are written here, because the profile has a fixed list of
components and a clock that its caller holds; fields that come are parsed by `http_sf`.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import urlencode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from comity.core.errors import ComityError
from comity.wire.base64url import decode, encode
from comity.wire.digests import as_content_digest, content_digest, sha256
from comity.wire.transport import Request

WINDOW = 60
"""A signature is good for so many seconds."""
SKEW = 30
"""A signer's clock may be ahead by so many seconds."""
NONCE_BYTES = 16
"""A nonce has at least so many bytes."""

_LABEL = "comity"
_COMPONENTS = ("@method", "@path", "@query", "content-digest")
_PARAMETERS = {"created": int, "expires": int, "nonce": str, "keyid": str, "alg": str, "tag": str}
_ALGORITHM = "ed25519"
_LIMITS = {"signature-input": 1024, "signature": 256, "content-digest": 128}
_SIGNATURE = re.compile(r"([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/]*={0,2}):")
_METHOD = re.compile(r"[A-Z]{1,16}")
_PATH = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2}){0,2000}")
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")
# The key of nobody (the curve's base point): an unknown signer's signature is checked, too, so that whether a key is
# known does not show in the time that the answer takes.
_NOBODY = encode(b"\x58" + b"\x66" * 31)


class Fault(StrEnum):
    """Why a signature was refused: for logs and counters, never for the sender."""

    MISSING = "missing"
    MALFORMED = "malformed"
    COVERAGE = "coverage"
    ALGORITHM = "algorithm"
    DEPLOYMENT = "deployment"
    NONCE = "nonce"
    STALE = "stale"
    FUTURE = "future"
    WINDOW = "window"
    BODY = "body"
    UNKNOWN_KEY = "unknown key"
    FORGED = "forged"


class SignatureError(ComityError):
    """A request whose sender is not known for certain. `reason` stays on this side of the wire."""

    def __init__(self, reason: Fault) -> None:
        self.reason = reason
        super().__init__(f"the signature is refused: {reason.value}", where="signature")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.reason,)


class Signer(Protocol):
    """What signs: a key that is known by its `id`, the thumbprint of its public half."""

    @property
    def id(self) -> str: ...

    def sign(self, message: bytes) -> bytes: ...


@dataclass(frozen=True)
class Signed:
    """What a signature says, after it was verified; `body` is the SHA-256 of the request's body, in hexadecimal.

    `nonce` may be used once: it must be remembered until `expires`.
    """

    keyid: str
    nonce: str
    created: int
    expires: int
    body: str


def sign(request: Request, key: Signer, deployment: str, now: float, nonce: bytes) -> Request:
    """The request with its signature, good from `now` (seconds since 1970) for `WINDOW` seconds.

    A Content-Digest that is there already is taken as it is, so that a part is not hashed twice. Raises
    `SignatureError` for a request that has no place in a signature: a method or a path that HTTP does not know.
    """
    headers = {"content-digest": content_digest(request.body), **request.headers}
    try:
        headers["signature-input"] = _described(int(now), encode(nonce), key.id, deployment)
    except ValueError as error:
        raise SignatureError(Fault.MALFORMED) from error
    signature = key.sign(_base(request, headers["content-digest"], headers["signature-input"]))
    headers["signature"] = f"{_LABEL}=:{b64encode(signature).decode('ascii')}:"
    return Request(request.method, request.path, request.query, headers, request.body)


def read(request: Request, deployment: str, now: float, key_of: Callable[[str], str | None]) -> Signed:
    """Who signed the request, by the keys that `key_of` knows; whether its nonce is new is for the caller to find out.

    Raises `SignatureError`.
    """
    signed = read_head(request, deployment, now, key_of)
    if sha256(request.body) != signed.body:
        raise SignatureError(Fault.BODY)
    return signed


def read_head(request: Request, deployment: str, now: float, key_of: Callable[[str], str | None]) -> Signed:
    """As `read`, before the body has come, so that no stranger's body need be taken in.

    `request.body` is not looked at: that it is the one with the digest `Signed.body` is for the caller to find out.
    """
    member, signature = _fields(request)
    parameters = _checked(member, deployment, now)
    digest = _body_digest(request.headers["content-digest"])
    base = _base(request, request.headers["content-digest"], request.headers["signature-input"])
    key = key_of(parameters["keyid"])
    if not verify(key or _NOBODY, signature, base):
        raise SignatureError(Fault.FORGED if key else Fault.UNKNOWN_KEY)
    if key is None:
        raise SignatureError(Fault.UNKNOWN_KEY)
    return Signed(parameters["keyid"], parameters["nonce"], parameters["created"], parameters["expires"], digest)


def verify(key: str, signature: bytes, message: bytes) -> bool:
    """Whether `signature` is that of the Ed25519 public key `key` (a wire `Key`) under `message`."""
    try:
        Ed25519PublicKey.from_public_bytes(decode(key)).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Header fields as a server gets them, as a `Request` wants them: a repeated field is one list (RFC 9110, 5.3)."""
    fields: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


def _described(created: int, nonce: str, keyid: str, deployment: str) -> str:
    """Signature-Input as it is sent. Written here, for a client signs every request, and in its canonical form."""
    components = " ".join(f'"{name}"' for name in _COMPONENTS)
    times = f"created={created};expires={created + WINDOW}"
    names = f'nonce="{nonce}";keyid={_quoted(keyid)};alg="{_ALGORITHM}";tag={_quoted(deployment)}'
    return f"{_LABEL}=({components});{times};{names}"


@lru_cache(maxsize=16)
def _quoted(text: str) -> str:
    """A string as a field holds it (RFC 8941). Raises `ValueError` for one that no field can hold."""
    if not (text.isascii() and text.isprintable()):
        raise ValueError("a field holds printable ASCII alone")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _fields(request: Request) -> tuple[Any, bytes]:
    """The one signature of a request: its member of Signature-Input as parsed, and its bytes."""
    if any(name not in request.headers for name in _LIMITS):
        raise SignatureError(Fault.MISSING)
    if any(len(request.headers[name]) > limit for name, limit in _LIMITS.items()):
        raise SignatureError(Fault.MALFORMED)
    inputs = _dictionary(request.headers["signature-input"])
    label, signature = _signature(request.headers["signature"])
    if list(inputs) != [label] or not isinstance(inputs[label][0], list):
        raise SignatureError(Fault.MALFORMED)
    return inputs[label], signature


def _signature(text: str) -> tuple[str, bytes]:
    """The label and the bytes of a Signature with one member and no parameters, in its canonical form."""
    named = _SIGNATURE.fullmatch(text)
    try:
        signature = b"" if named is None else b64decode(named[2])
    except ValueError:
        named = None
    if named is None or b64encode(signature).decode("ascii") != named[2]:
        raise SignatureError(Fault.MALFORMED)
    return named[1], signature


def _dictionary(text: str) -> dict[str, Any]:
    """A dictionary field, in the one way of writing it that RFC 8941 calls canonical."""
    # Here, because a node only signs, and is to be small.
    import http_sf

    try:
        parsed: Any = http_sf.parse(text.encode("ascii"), tltype="dictionary")
        # Repeated keys, lax base64 and other spellings of the same value do not come back as they were.
        if http_sf.ser(parsed) == text:
            return dict(parsed)
    except ValueError:
        pass
    raise SignatureError(Fault.MALFORMED)


def _checked(member: Any, deployment: str, now: float) -> dict[str, Any]:
    """The parameters of a signature, where they are all that the profile demands."""
    components, parameters = member
    if [(name, dict(options)) for name, options in components] != [(name, {}) for name in _COMPONENTS]:
        raise SignatureError(Fault.COVERAGE)
    if {name: type(value) for name, value in parameters.items()} != _PARAMETERS:
        raise SignatureError(Fault.COVERAGE)
    if parameters["alg"] != _ALGORITHM:
        raise SignatureError(Fault.ALGORITHM)
    if parameters["tag"] != deployment:
        raise SignatureError(Fault.DEPLOYMENT)
    if not _is_nonce(parameters["nonce"]):
        raise SignatureError(Fault.NONCE)
    created, expires = parameters["created"], parameters["expires"]
    if not created <= expires <= created + WINDOW:
        raise SignatureError(Fault.WINDOW)
    if created > now + SKEW:
        raise SignatureError(Fault.FUTURE)
    if expires < now:
        raise SignatureError(Fault.STALE)
    return dict(parameters)


def _body_digest(field: str) -> str:
    """The SHA-256 that a Content-Digest names, in hexadecimal; it has one way of writing and no other digest."""
    named = _DIGEST.fullmatch(field)
    digest = "" if named is None else b64decode(named[1]).hex()
    if not digest or as_content_digest(digest) != field:
        raise SignatureError(Fault.BODY)
    return digest


def _is_nonce(text: str) -> bool:
    try:
        return NONCE_BYTES <= len(decode(text)) <= 4 * NONCE_BYTES
    except ValueError:
        return False


def _base(request: Request, digest: str, described: str) -> bytes:
    """What is signed (RFC 9421, 2.5). Method and path hold no line breaks, so no line of it can be made up.

    `described` is the field Signature-Input in its canonical form, in which the parameters stand as they are signed.
    """
    if not _METHOD.fullmatch(request.method) or not _PATH.fullmatch(request.path):
        raise SignatureError(Fault.MALFORMED)
    try:
        query = urlencode(request.query)
    except ValueError as error:
        raise SignatureError(Fault.MALFORMED) from error
    values = (request.method, request.path, f"?{query}", digest)
    lines = [f'"{name}": {value}' for name, value in zip(_COMPONENTS, values, strict=True)]
    parameters = described.partition("=")[2]  # after the label, whichever it is
    return "\n".join([*lines, f'"@signature-params": {parameters}']).encode("utf-8")
