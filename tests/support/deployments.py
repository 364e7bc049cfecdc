"""A deployment in this process: members with keys, sessions, and the server's application."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comity.identity.keys import AgreementKey, SigningKey
from comity.server.app import build
from comity.server.deployment import Deployment
from comity.server.federation import Federation
from comity.server.gate import Gate
from comity.server.rates import Rates
from comity.store.blobs import Blobs
from comity.store.journal import Journal
from comity.wire.client import Session
from comity.wire.messages import Member
from comity.wire.transport import Transport
from support.virtual import Served

NAME = "hospitals"


def loop_time() -> float:
    return asyncio.get_running_loop().time()


def counted(start: int = 0) -> Callable[[int], bytes]:
    """Names that nobody can foresee, for a test that can."""
    numbers = iter(range(start, start + 10**9))
    return lambda size: next(numbers).to_bytes(8, "big")[-size:].rjust(size, b"\1")


@dataclass(eq=False)
class World:
    """What outlives processes: a folder, and everybody's keys. `serve` opens a replica over it."""

    folder: Path
    now: Callable[[], float] = loop_time
    keys: dict[str, SigningKey] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    replicas: int = 0

    def __post_init__(self) -> None:
        self.registrar = SigningKey.new()

    def journal(self) -> Journal:
        return Journal.open(f"sqlite:///{self.folder / 'journal.db'}")

    def add(self, journal: Journal, name: str, role: Any = "node", datasets: tuple[str, ...] = ("points",)) -> None:
        """A member, as if it had been enrolled."""
        self.keys[name] = key = SigningKey.new()
        journal.add_member(
            Member(
                name=name,
                role=role,
                signing_key=key.public,
                agreement_key=AgreementKey.new().public,
                enrolled=0.0,
                expires=1e12,
            )
        )
        if role == "node":
            journal.offer(name, datasets)

    def serve(self) -> Served:
        """A replica; call `start` of it."""
        self.replicas += 1
        federation = Federation(
            self.journal(),
            Blobs.open(self.folder / "blobs"),
            self.now,
            counted(self.replicas * 10**6),
            **self.options,
        )
        deployment = Deployment(
            federation=federation,
            gate=Gate(federation.journal, NAME, self.now, Rates(self.now, 1e6, 1e6)),
            name=NAME,
            address="https://comity.test",
            authority="(none)",
            fingerprint="0" * 64,
            registrar=self.registrar,
        )
        return Served(build(deployment))

    def session(self, name: str, transport: Transport, patience: float = 60.0) -> Session:
        """A member's conversation with whatever `transport` reaches."""
        start = 10**12 + 10**10 * list(self.keys).index(name)
        return Session(transport, self.keys[name], NAME, self.now, counted(start), patience)
