"""What keeps a node from working, found before it matters: one check after another, each with the mend."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from urllib.parse import SplitResult, urlsplit

from comity import __version__
from comity.core.errors import ComityError
from comity.identity.keys import AgreementKey, SigningKey, fingerprint
from comity.identity.roster import check_roster
from comity.node.confinement import can_isolate
from comity.node.data import DataRegistry
from comity.node.home import NodeConfig, NodeHome
from comity.node.policy import Policy
from comity.node.reach import reached
from comity.wire.bodies import parse
from comity.wire.client import ProblemError, Session
from comity.wire.messages import About, Member, Roster, Standing
from comity.wire.transport import Request, Transport

_SECONDS = 10.0
_PATIENCE = 2.0
_ABOUT_BYTES = 1 << 16
_CLOCK = 30.0
_SOON = 14 * 86400.0
_FREE = 2 << 30
_PORT = 443
_RENEW = "comity node renew"


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, whether it is well, what was found, and what to do where it is not."""

    check: str
    ok: bool
    detail: str
    mend: str = ""

    def __str__(self) -> str:
        mend = f"\n     → {self.mend}" if self.mend and not self.ok else ""
        return f"{'ok  ' if self.ok else 'BAD '} {self.check}: {self.detail}{mend}"


async def examine(home: NodeHome, now: Callable[[], float], transport: Transport | None = None) -> list[Finding]:
    """All findings about the node in `home`; one that fails in a way nobody foresaw is a finding as well.

    `transport` is by which the server is reached, HTTPS as the node's settings say where None.
    """
    try:
        config = home.config
    except ComityError as error:
        return [Finding("settings", False, error.what, error.mend), *_local(home)]
    findings = [Finding("settings", True, f"{config.name} of {config.deployment}, at {config.address}")]
    findings += [_safely_now("isolation", lambda: _isolation(config)), *_local(home)]
    for check, look in (("name", _name), ("connection", _connection)):
        findings.append(await _safely(check, look(config)))
    findings.append(_safely_now("authority", lambda: _authority(home, now())))
    if home.client_certificate.exists():
        findings.append(_safely_now("client certificate", lambda: _client_certificate(home, now())))
    try:
        carried = transport or reached(home)
    except (ComityError, OSError) as error:
        return [*findings, _failed("certificate", error)]
    try:
        findings += await _of_server(home, config, now, carried)
    finally:
        await carried.close()
    return findings


def _local(home: NodeHome) -> Iterator[Finding]:
    """What can be told without the server."""
    yield _safely_now("disk", lambda: _disk(home))
    yield _safely_now("policy", lambda: _policy(home))
    try:
        names = [entry.name for entry in DataRegistry(home.path).entries()]
    except ComityError as error:
        yield _failed("data", error)
        return
    if not names:
        yield Finding("data", False, "no data sets are registered", "comity node data add NAME PATH")
    for name in names:
        yield _safely_now(f"data {name}", partial(_data, home, name))


async def _of_server(
    home: NodeHome, config: NodeConfig, now: Callable[[], float], transport: Transport
) -> list[Finding]:
    """What only the server can tell. Where it does not answer, or with nonsense, that is the one finding."""
    try:
        before = now()
        response = await transport.send(Request("GET", "/v1/about"), timeout=_SECONDS)
        middle = (before + now()) / 2
        about = parse(About, response.body, _ABOUT_BYTES)
    except Exception as error:
        return [_failed("certificate", error)]
    return [
        Finding("certificate", True, "the server is the one that this node has joined, and answers"),
        _clock(about.time - middle),
        _versions(about.version),
        _deployment(about, config),
        *await _keys(home, config, now, transport),
    ]


async def _safely(check: str, look: Awaitable[Finding]) -> Finding:
    """The finding; whatever goes wrong in looking is one as well, for the owner is to see the others too."""
    try:
        async with asyncio.timeout(3 * _SECONDS):
            return await look
    except Exception as error:
        return _failed(check, error)


def _safely_now(check: str, look: Callable[[], Finding]) -> Finding:
    """As `_safely`, for what needs no waiting."""
    try:
        return look()
    except Exception as error:
        return _failed(check, error)


def _failed(check: str, error: Exception) -> Finding:
    if isinstance(error, ComityError):
        where = f"{error.where}: " if error.where else ""
        return Finding(check, False, f"{where}{error.what}", error.mend)
    if isinstance(error, TimeoutError):
        return Finding(check, False, "no answer came in time", "check the connection")
    return Finding(check, False, f"{type(error).__name__}: {error}", "mend what it names, then look again")


def _isolation(config: NodeConfig) -> Finding:
    if can_isolate():
        return Finding("isolation", True, "tasks run without network, keys, and sight of other processes")
    without, mend = "this system allows tasks no namespaces", "allow unprivileged user namespaces"
    if config.isolation == "required":
        return Finding("isolation", False, f"{without}, so jobs that bring code or may name packages are refused", mend)
    told = (
        f"{without}, and the settings let jobs run that bring code or name packages: they could read this node's keys"
    )
    return Finding("isolation", False, told, f'{mend}, or set isolation = "required" in node.toml')


def _disk(home: NodeHome) -> Finding:
    free = shutil.disk_usage(home.path).free
    return Finding("disk", free >= _FREE, f"{free / 1e9:.1f} GB are free", "free some space, or move the node's folder")


def _policy(home: NodeHome) -> Finding:
    policy = Policy.load(home.policy_file)
    if not policy.exists or not (policy.allow or policy.ask):
        return Finding("policy", False, "it allows nothing, so every job is refused", f"edit {home.policy_file}")
    asks = ", and lets others wait for you" if policy.ask else ""
    return Finding("policy", True, f"{len(policy.allow)} tables allow jobs{asks}")


def _data(home: NodeHome, name: str) -> Finding:
    registry = DataRegistry(home.path)
    facts = registry.describe(name)
    registry.key(name)
    return Finding(f"data {name}", True, f"{facts.rows:,} rows, {len(facts.columns)} columns")


async def _name(config: NodeConfig) -> Finding:
    target = _target(config)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(target.hostname, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        mend = "check the address in node.toml and this machine's name service"
        return Finding("name", False, f"{target.hostname} cannot be resolved: {error.strerror}", mend)
    addresses = sorted({str(entry[4][0]) for entry in found})
    return Finding("name", True, f"{target.hostname} is {', '.join(addresses)}")


async def _connection(config: NodeConfig) -> Finding:
    target = _target(config)
    port = target.port or _PORT
    what = "the proxy" if config.proxy else "the server"
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(target.hostname, port)
    except OSError as error:
        told = "no answer in time" if isinstance(error, TimeoutError) else error.strerror or str(error)
        mend = f"check that {what} runs, and that outgoing connections to port {port} are let through"
        return Finding("connection", False, f"{what} at {target.hostname}:{port} cannot be reached: {told}", mend)
    writer.close()
    return Finding("connection", True, f"{what} listens at {target.hostname}:{port}")


def _target(config: NodeConfig) -> SplitResult:
    """Where the first connection goes: the proxy, where there is one."""
    return urlsplit(config.proxy or config.address)


def _authority(home: NodeHome, now: float) -> Finding:
    from cryptography import x509

    if not home.authority.exists():
        return Finding("authority", True, "the certificates that this system trusts are trusted")
    ends = x509.load_pem_x509_certificate(home.authority.read_bytes()).not_valid_after_utc.timestamp()
    told = f"the deployment's authority is good until {_date(ends)}"
    return Finding(
        "authority", ends - now > _SOON, told, "ask the server's operator for a new authority, and join again"
    )


def _client_certificate(home: NodeHome, now: float) -> Finding:
    from comity.identity.client_certificate import ClientCertificate

    ends = ClientCertificate(home.client_certificate.parent).ends()
    assert ends is not None
    told = f"the certificate for mutual TLS is good until {ends:%Y-%m-%d}"
    return Finding("client certificate", ends.timestamp() - now > _SOON, told, "comity node certificate request")


def _clock(off: float) -> Finding:
    side = "behind" if off > 0 else "ahead of"
    detail = f"this machine is {abs(off):.1f} seconds {side} the server"
    return Finding("clock", abs(off) <= _CLOCK, detail, "set this machine's clock, best by NTP")


def _versions(server: str) -> Finding:
    same = server.split(".")[:2] == __version__.split(".")[:2]
    detail = f"Comity {__version__} here, {server} at the server"
    return Finding("versions", same, detail, f'pip install "comity[node]=={server}"')


def _deployment(about: About, config: NodeConfig) -> Finding:
    same = (about.deployment, about.registrar) == (config.deployment, config.registrar)
    detail = f"the server is {about.deployment}{'' if same else ', which is not the one that was joined'}"
    return Finding("deployment", same, detail, "ask the server's operator what happened before you join anew")


async def _keys(home: NodeHome, config: NodeConfig, now: Callable[[], float], transport: Transport) -> list[Finding]:
    """Whether the server takes this node's keys, and then whether the registrar vouches for them."""
    try:
        key, agreement = SigningKey.load(home.signing_key), AgreementKey.load(home.agreement_key)
        session = Session(transport, key, config.deployment, now, patience=_PATIENCE)
        standing = await session.call("GET", "/v1/keys", expect=Standing, timeout=_SECONDS)
    except ProblemError as error:
        return [Finding("key", False, f"the server does not take this node's key ({error.what})", _mend(home))]
    except Exception as error:
        return [_failed("key", error)]
    assert standing is not None
    mine = standing.member
    if home.keys.pending or mine.agreement_key != agreement.public:
        return [Finding("key", False, "a renewal of the keys was begun and not ended", _RENEW)]
    told = f"{mine.name}, {mine.role}, good until {_date(mine.expires)}, {_fingerprint(mine)}"
    found = Finding("key", mine.expires - now() > _SOON, told, _RENEW)
    return [found, await _safely("roster", _roster(mine, session, config, now))]


async def _roster(mine: Member, session: Session, config: NodeConfig, now: Callable[[], float]) -> Finding:
    roster = await session.call("GET", "/v1/roster", expect=Roster, timeout=_SECONDS)
    assert roster is not None
    check_roster(roster, config.registrar, now())
    named = next((member for member in roster.members if member.name == mine.name), None)
    if named is None or _fingerprint(named) != _fingerprint(mine):
        what = "nothing of this node" if named is None else f"other keys of this node, {_fingerprint(named)}"
        mend = "have the operator ask the registrar to sign what the members are: comity registrar draft"
        return Finding("roster", False, f"the roster that the registrar signed has {what}", mend)
    return Finding("roster", True, f"the registrar vouches for these keys until {_date(roster.expires)}")


def _fingerprint(member: Member) -> str:
    return f"keys {fingerprint(member.signing_key, member.agreement_key)}"


def _mend(home: NodeHome) -> str:
    """What to do where the server does not take the key."""
    if home.keys.pending:
        return f"a renewal was begun and not ended: {_RENEW}"
    return "the key has expired or was revoked, if the clock is right: ask the operator for a new invitation"


def _date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()
