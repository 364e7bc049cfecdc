"""Requests and responses as values, and what carries them: a network, or a simulation of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol
from urllib.parse import urlencode

from comity.core.errors import ComityError

ANSWER_BYTES = 64 << 20
"""An answer may have so many bytes."""


class TransportError(ComityError):
    """A request that got no whole answer: the connection, the name, the certificate or the time was at fault."""


class TrustError(TransportError):
    """The other end is not the server that it should be; asking again does not mend that."""


@dataclass(frozen=True)
class Request:
    """An HTTP request whose body is at most one part of a blob; header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def target(self) -> str:
        """The path with its query."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    def having(self, **headers: str) -> Request:
        """The request with more headers; underscores in names stand for hyphens."""
        return replace(self, headers={**self.headers, **{n.replace("_", "-"): v for n, v in headers.items()}})


@dataclass(frozen=True)
class Response:
    """The whole answer to a request."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Transport(Protocol):
    """Carries a request to the server and its answer back."""

    async def send(self, request: Request, *, timeout: float) -> Response:
        """Raises `TransportError` where no whole answer has come within `timeout` seconds."""
        ...

    async def close(self) -> None: ...
