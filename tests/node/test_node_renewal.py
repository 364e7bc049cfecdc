"""A node's keys do not end while its agent runs, and are changed no sooner than they need be."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from comity.identity.keys import AgreementKey, SigningKey
from comity.identity.renewal import CurrentKey
from comity.node.home import NodeHome
from comity.node.renewal import DUE, keep_keys
from comity.server.deployment import LIFETIME
from comity.wire.client import Session
from comity.wire.messages import Member
from comity.wire.transport import Request, Response, Transport, TransportError
from support.deployments import NAME, World, loop_time
from support.nodes import a_home
from support.virtual_time import run_virtually

DAY = 86400.0


@dataclass(eq=False)
class Watched:
    """The way to a server, which can be cut; it counts what is asked."""

    served: Transport
    cut: bool = False
    asked: list[str] = field(default_factory=list)

    async def send(self, request: Request, *, timeout: float) -> Response:
        self.asked.append(f"{request.method} {request.path}")
        if self.cut:
            raise TransportError("nobody answers")
        return await self.served.send(request, timeout=timeout)

    async def close(self) -> None: ...


@dataclass(eq=False)
class Node:
    home: NodeHome
    world: World
    noted: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    @classmethod
    def enrolled(cls, folder: Path, expires: float) -> Node:
        home, world = a_home(folder), World(folder)
        home.write(replace(home.config, deployment=NAME))
        key, agreement = SigningKey.new(), AgreementKey.new()
        key.save(home.signing_key)
        agreement.save(home.agreement_key)
        member = Member(
            name="party-0",
            role="node",
            signing_key=key.public,
            agreement_key=agreement.public,
            enrolled=0.0,
            expires=expires,
        )
        world.journal().add_member(member)
        return cls(NodeHome(home.path), world)

    def known(self) -> Member:
        member = self.world.journal().member("party-0")
        assert member is not None
        return member

    def keeps(self, days: float, *, cut: bool = False) -> list[str]:
        """Let the keys be kept for some days; what was asked of the server."""

        async def run() -> list[str]:
            up = self.world.serve()
            await up.start()
            await asyncio.sleep(2)
            way = Watched(up, cut)
            session = Session(way, CurrentKey(self.home.signing_key), NAME, loop_time, patience=5.0)
            keeping = keep_keys(
                self.home, session, way, lambda kind, facts: self.noted.append((kind, facts)), loop_time
            )
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(days * DAY):
                    await keeping
            await up.stop()
            return way.asked

        return run_virtually(run())


def test_keys_that_last_are_looked_at_once_a_day_and_left_alone(tmp_path: Path) -> None:
    node = Node.enrolled(tmp_path, DUE * LIFETIME + 5 * DAY)
    before = node.known()
    assert node.keeps(3.5) == ["GET /v1/keys"] * 4
    assert node.known() == before
    assert node.noted == []


def test_keys_that_end_soon_are_renewed_and_the_log_says_so(tmp_path: Path) -> None:
    node = Node.enrolled(tmp_path, DUE * LIFETIME + DAY)
    before = node.known()
    node.keeps(3.5)
    after = node.known()
    assert after.signing_key == SigningKey.load(node.home.signing_key).public != before.signing_key
    assert after.expires > LIFETIME
    assert [kind for kind, _ in node.noted] == ["renewed"]


def test_a_renewal_that_somebody_else_left_half_done_is_ended_within_minutes(tmp_path: Path) -> None:
    node = Node.enrolled(tmp_path, LIFETIME)
    signing, _ = node.home.keys.prepare()
    node.keeps(0.01)
    assert node.known().signing_key == signing.public
    assert not node.home.keys.pending


def test_a_server_that_is_away_ends_nothing_and_is_noted_once(tmp_path: Path) -> None:
    node = Node.enrolled(tmp_path, 10 * DAY)
    before = node.known()
    asked = node.keeps(0.1, cut=True)
    assert [kind for kind, _ in node.noted] == ["fault"]
    assert 10 < len(asked) < 200
    assert node.known() == before
    node.keeps(0.1)
    assert node.known() != before
