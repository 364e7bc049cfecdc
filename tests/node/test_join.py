"""Joining: an invitation makes a folder a node, once, over TLS that is checked from the first contact on."""

import asyncio
import secrets
import socket
import ssl
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from comity.core.errors import ComityError, ConfigError
from comity.identity.certificates import Authority
from comity.identity.errors import IdentityError
from comity.identity.invitation import Invitation, secret_digest
from comity.identity.keys import SigningKey
from comity.node.home import NodeHome
from comity.node.join import join
from comity.node.policy import Policy
from comity.server.app import build
from comity.server.deployment import Deployment
from comity.server.federation import Federation
from comity.server.gate import Gate
from comity.server.rates import Rates
from comity.store.blobs import Blobs
from comity.store.journal import Journal
from comity.wire.client import ProblemError
from comity.wire.messages import Invite, Member
from comity.wire.transport import Request, TrustError
from support.virtual import Served

SECRET = "the-secret-of-the-invitation"
Steps = Callable[[Invitation, Journal], Awaitable[Any]]


def seconds() -> float:
    """Whole seconds, as signatures count them: a server that has just started takes those of the same second."""
    return float(int(time.time()))


@asynccontextmanager
async def inviting(folder: Path, lost: list[str]) -> AsyncIterator[tuple[Invitation, Journal]]:
    """A server on loopback that has invited a node; answers to the paths in `lost` are lost on the way, once each."""
    authority, journal = Authority.new("test", time.time()), Journal.open(f"sqlite:///{folder / 'journal.db'}")
    federation = Federation(journal, Blobs.open(folder / "blobs"), seconds, secrets.token_bytes)
    gate = Gate(journal, "hospitals", seconds, Rates(seconds, 1e6, 1e6))
    pem, fingerprint = authority.pem, authority.fingerprint
    deployment = Deployment(federation, gate, "hospitals", "https://unused", pem, fingerprint, SigningKey.new())
    served = Served(build(deployment))
    await served.start()

    async def forward(request: web.BaseRequest) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Request(request.method, request.path, dict(request.query), headers, await request.read())
        answer = await served.send(asked, timeout=30.0)
        if request.path in lost:
            lost.remove(request.path)
            return web.Response(status=504)
        return web.Response(status=answer.status, body=answer.body, content_type="application/json")

    runner = web.ServerRunner(web.Server(forward), shutdown_timeout=0.1)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener, ssl_context=_tls(folder, authority)).start()
    address = f"https://localhost:{listener.getsockname()[1]}"
    expires = time.time() + 3600
    journal.invite(secret_digest(SECRET), Invite(name="clinic"), expires)
    try:
        yield Invitation(address, fingerprint, SECRET, "clinic", "node", expires), journal
    finally:
        await runner.cleanup()
        await served.stop()


def _tls(folder: Path, authority: Authority) -> ssl.SSLContext:
    certificate, key = authority.issue(["localhost"], time.time())
    (folder / "certificate.pem").write_bytes(certificate)
    (folder / "key.pem").write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


def invited(tmp_path: Path, steps: Steps, *lost: str) -> Any:
    async def run() -> Any:
        async with inviting(tmp_path, list(lost)) as (invitation, journal):
            return await steps(invitation, journal)

    return asyncio.run(run())


def test_a_node_has_all_that_it_needs_and_the_server_its_public_keys(tmp_path: Path) -> None:
    home = NodeHome(tmp_path / "node")

    async def steps(invitation: Invitation, journal: Journal) -> Member | None:
        await join(invitation.token, home, seconds)
        assert home.config.address == invitation.address
        return journal.member("clinic")

    member = invited(tmp_path, steps)
    assert (home.config.name, home.config.deployment) == ("clinic", "hospitals")
    assert member.signing_key == SigningKey.load(home.signing_key).public
    assert home.authority.read_text().startswith("-----BEGIN CERTIFICATE-----")
    assert stat.S_IMODE(home.signing_key.stat().st_mode) == 0o600


def test_a_new_node_allows_nothing(tmp_path: Path) -> None:
    home = NodeHome(tmp_path / "node")
    invited(tmp_path, lambda invitation, journal: join(invitation.token, home, seconds))
    policy = Policy.load(home.policy_file)
    assert (policy.allow, policy.ask) == ((), None)


def test_an_invitation_is_good_once(tmp_path: Path) -> None:
    async def steps(invitation: Invitation, journal: Journal) -> None:
        await join(invitation.token, NodeHome(tmp_path / "first"), seconds)
        with pytest.raises(ProblemError) as raised:
            await join(invitation.token, NodeHome(tmp_path / "second"), seconds)
        assert raised.value.status == 401

    invited(tmp_path, steps)
    assert not (tmp_path / "second" / "node.toml").exists()


def test_a_node_whose_answer_was_lost_joins_again_with_the_same_token(tmp_path: Path) -> None:
    home = NodeHome(tmp_path / "node")

    async def steps(invitation: Invitation, journal: Journal) -> Member | None:
        await join(invitation.token, home, seconds)
        return journal.member("clinic")

    member = invited(tmp_path, steps, "/v1/enrolments")
    assert home.config.name == "clinic"
    assert member.signing_key == SigningKey.load(home.signing_key).public


def test_a_server_other_than_the_invited_one_is_told_nothing(tmp_path: Path) -> None:
    home = NodeHome(tmp_path / "node")

    async def steps(invitation: Invitation, journal: Journal) -> Member | None:
        with pytest.raises(TrustError):
            await join(replace(invitation, fingerprint="0" * 64).token, home, seconds)
        return journal.member("clinic")

    assert invited(tmp_path, steps) is None
    assert not home.config_file.exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [({"role": "admin"}, "who is a person"), ({"expires": 1.0}, "expired"), ({"name": "other"}, "not good")],
)
def test_an_invitation_for_something_else_makes_no_node(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    home = NodeHome(tmp_path / "node")

    async def steps(invitation: Invitation, journal: Journal) -> None:
        with pytest.raises(ComityError, match=told):
            await join(replace(invitation, **change).token, home, seconds)

    invited(tmp_path, steps)
    assert not home.config_file.exists()


def test_a_garbled_token_and_a_folder_that_is_a_node_are_refused_without_a_server(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="this is no invitation"):
        asyncio.run(join("comity1.abc", NodeHome(tmp_path), seconds))
    (tmp_path / "node.toml").write_text("")
    token = Invitation("https://localhost:1", "0" * 64, SECRET, "clinic", "node", 1e12).token
    with pytest.raises(ConfigError, match="a node already"):
        asyncio.run(join(token, NodeHome(tmp_path), seconds))
