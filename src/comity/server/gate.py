"""The gate: every request is bounded, authenticated, authorised, and only then taken in; in this place alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode

from fastapi import Request as HttpRequest

from comity.identity.roles import Action, permitted
from comity.server.errors import Forbidden, TooMuch, Unauthenticated
from comity.server.meanwhile import RUN_BYTES, meanwhile
from comity.server.observed import Observe, SignatureRefused
from comity.server.rates import Rates
from comity.server.telling import tell
from comity.store.journal import Journal
from comity.wire.digests import sha256
from comity.wire.messages import Member
from comity.wire.signature import Fault, SignatureError, Signed, joined, read_head
from comity.wire.transport import Request

_BODY_SECONDS = 60.0
_SLOWEST = 32 << 10
"""Bytes a second: of two parts of 16 MiB at a time each may take nine minutes, for a member behind half a megabit."""

_DIGITS = 12
_NONCES_KEPT = 60.0
"""Seconds between two looks for nonces whose signatures are too old to be used again."""


@dataclass(frozen=True)
class Caller:
    """Who asks, and the body of the request as it came."""

    member: Member
    body: bytes


@dataclass(frozen=True)
class Entered:
    """Who asks, with a body that is still to come: `digest` is its SHA-256, which the signature vouches for."""

    member: Member
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
        """The caller, if it may do `action`, and its body. Raises as `enter`."""
        entered = self.enter(http, action, limit)
        body = await bounded_body(http, limit)
        if await meanwhile(len(body), sha256, body) != entered.digest:
            raise self.refused(http, SignatureError(Fault.BODY))
        return Caller(entered.member, body)

    def enter(self, http: HttpRequest, action: Action, limit: int) -> Entered:
        """The caller, if it may do `action`. Raises `TooMany`, `TooMuch`, `Unauthenticated`, `Forbidden`.

        A body is taken in for members alone: the signature vouches for its digest, and is judged before it comes.
        """
        self.rates.take(_host(http))
        _announced(http, limit)
        try:
            member, signed = self._authenticated(_request(http))
        except SignatureError as error:
            raise self.refused(http, error) from error
        if not permitted(member.role, action):
            raise Forbidden(f"{member.role}s may not {action.value}", where=member.name)
        return Entered(member, signed.body)

    def refused(self, http: HttpRequest, error: SignatureError) -> Unauthenticated:
        """The one answer to every cause; the cause is for whoever observes."""
        self.observe(SignatureRefused(http.method, http.url.path, _host(http), error.reason))
        return Unauthenticated("this request is not signed by a member")

    def _authenticated(self, request: Request) -> tuple[Member, Signed]:
        now = self.now()
        found: list[Member] = []

        def key_of(keyid: str) -> str | None:
            member = self.journal.member_by_key(keyid)
            if member is None or member.revoked or member.expires <= now:
                return None
            found.append(member)
            return member.signing_key

        signed = read_head(request, self.deployment, now, key_of)
        if signed.created < self.opened:
            raise SignatureError(Fault.STALE)
        if now - self._forgot > _NONCES_KEPT:
            self._forgot = now
            self.journal.forget_nonces(now)
        if not self.journal.use_nonce(signed.keyid, signed.nonce, signed.expires):
            raise SignatureError(Fault.NONCE)
        return found[0], signed


async def bounded_body(http: HttpRequest, limit: int) -> bytes:
    """The body, if it is no longer than `limit` and comes in time. Raises `TooMuch`."""
    pieces: list[bytes] = []
    await passed_on(http, limit, pieces.extend)
    return b"".join(pieces)


async def passed_on(http: HttpRequest, limit: int, take: Callable[[Sequence[bytes]], None]) -> None:
    """The body to `take`, some pieces at a time, as it comes; long runs of them in a thread. Raises `TooMuch`."""
    seconds = _BODY_SECONDS + _announced(http, limit) / _SLOWEST
    run: list[bytes] = []
    size = whole = 0
    try:
        async with asyncio.timeout(seconds):
            async for piece in http.stream():
                size, whole = size + len(piece), whole + len(piece)
                if whole > limit:
                    raise TooMuch("a longer body than announced", mend=f"at most {limit} bytes here")
                run.append(piece)
                if size > RUN_BYTES:
                    await meanwhile(size, take, run)
                    run, size = [], 0
    except TimeoutError:
        raise TooMuch(f"the body took longer than {seconds:.0f} seconds") from None
    await meanwhile(size, take, run)


def _announced(http: HttpRequest, limit: int) -> int:
    """The bytes of the body, as its header says. Raises `TooMuch` for more than `limit`."""
    announced = http.headers.get("content-length", "0")
    if not announced.isdecimal() or len(announced) > _DIGITS or int(announced) > limit:
        raise TooMuch(f"a body of {announced[:20]} bytes", where="content-length", mend=f"at most {limit} bytes here")
    if "content-encoding" in http.headers:
        raise TooMuch("an encoded body", where="content-encoding", mend="send bodies as they are")
    return int(announced)


def _request(http: HttpRequest) -> Request:
    """What was signed but for the body: the path and the query as they were sent.

    Raises `SignatureError` for a query that has another way of writing: the same name twice, say, of which one reader
    takes the first and the next one the last.
    """
    path = http.scope.get("raw_path", b"").decode("ascii", "replace").partition("?")[0]
    sent = http.scope["query_string"].decode("latin-1")
    query = dict(parse_qsl(sent, keep_blank_values=True))
    if urlencode(query) != sent:
        raise SignatureError(Fault.MALFORMED)
    return Request(http.method, path, query, joined(http.headers.raw))


def _host(http: HttpRequest) -> str:
    return http.client.host if http.client is not None else "-"
