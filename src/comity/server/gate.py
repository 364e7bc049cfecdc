"""The gate: every request is bounded, then authenticated, then authorised, in this order and in this place alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from fastapi import Request as HttpRequest

from comity.identity.roles import Action, permitted
from comity.server.errors import Forbidden, TooMuch, Unauthenticated
from comity.server.observed import Observe, SignatureRefused
from comity.server.rates import Rates
from comity.server.telling import tell
from comity.store.journal import Journal
from comity.wire.messages import Member
from comity.wire.signature import Fault, SignatureError, joined, read
from comity.wire.transport import Request

_BODY_SECONDS = 60.0
_NONCES_KEPT = 60.0
"""Seconds between two looks for nonces whose signatures are too old to be used again."""


@dataclass(frozen=True)
class Caller:
    """Who asks, the body of the request as it came, and its SHA-256, which the signature vouches for."""

    member: Member
    body: bytes
    digest: str


@dataclass(eq=False)
class Gate:
    """`opened` is when this process began: older signatures may have been used before it, and are refused."""

    journal: Journal
    deployment: str
    now: Callable[[], float]
    rates: Rates
    observe: Observe = tell
    opened: float = field(init=False)

    def __post_init__(self) -> None:
        self.opened = self._forgot = self.now()

    async def admit(self, http: HttpRequest, action: Action, limit: int) -> Caller:
        """The caller, if it may do `action`. Raises `TooMany`, `TooMuch`, `Unauthenticated`, `Forbidden`."""
        self.rates.take(_host(http))
        body = await bounded_body(http, limit)
        try:
            member, digest = self._authenticated(_request(http, body))
        except SignatureError as error:
            self.observe(SignatureRefused(http.method, http.url.path, _host(http), error.reason))
            raise Unauthenticated("this request is not signed by a member") from error
        if not permitted(member.role, action):
            raise Forbidden(f"{member.role}s may not {action.value}", where=member.name)
        return Caller(member, body, digest)

    def _authenticated(self, request: Request) -> tuple[Member, str]:
        now = self.now()
        found: list[Member] = []

        def key_of(keyid: str) -> str | None:
            member = self.journal.member_by_key(keyid)
            if member is None or member.revoked or member.expires <= now:
                return None
            found.append(member)
            return member.signing_key

        signed = read(request, self.deployment, now, key_of)
        if signed.created < self.opened:
            raise SignatureError(Fault.STALE)
        if now - self._forgot > _NONCES_KEPT:
            self._forgot = now
            self.journal.forget_nonces(now)
        if not self.journal.use_nonce(signed.keyid, signed.nonce, signed.expires):
            raise SignatureError(Fault.NONCE)
        return found[0], signed.body


async def bounded_body(http: HttpRequest, limit: int) -> bytes:
    """The body, if it is no longer than `limit` and comes in time. Raises `TooMuch`."""
    announced = http.headers.get("content-length", "0")
    if not announced.isdigit() or int(announced) > limit:
        raise TooMuch(f"a body of {announced[:20]} bytes", where="content-length", mend=f"at most {limit} bytes here")
    if "content-encoding" in http.headers:
        raise TooMuch("an encoded body", where="content-encoding", mend="send bodies as they are")
    pieces, size = [], 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for piece in http.stream():
                size += len(piece)
                if size > limit:
                    raise TooMuch("a longer body than announced", mend=f"at most {limit} bytes here")
                pieces.append(piece)
    except TimeoutError:
        raise TooMuch(f"the body took longer than {_BODY_SECONDS:g} seconds") from None
    return b"".join(pieces)


def _request(http: HttpRequest, body: bytes) -> Request:
    """What was signed: the path and the query as they were sent."""
    path = http.scope.get("raw_path", b"").decode("ascii", "replace").partition("?")[0]
    query = dict(parse_qsl(http.url.query, keep_blank_values=True))
    return Request(http.method, path, query, joined(http.headers.raw), body)


def _host(http: HttpRequest) -> str:
    return http.client.host if http.client is not None else "-"
