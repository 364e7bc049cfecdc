"""Bytes as text that fits into names, headers and addresses: base64url without padding, one text for each value."""

from __future__ import annotations

import base64
import binascii


def encode(value: bytes) -> str:
    """The text of `value` (RFC 4648, section 5, without padding)."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """The bytes of `text`; raises `ValueError` where it is not exactly what `encode` writes."""
    try:
        value = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error
    # Without this, bits that no byte uses could be set, and one value would have several texts.
    if encode(value) != text:
        raise ValueError("not the canonical base64url")
    return value
