"""The API of a deployment in this process, spoken to in requests of one's own making."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import comity as ct
from comity.core import manifest, states
from comity.identity.keys import SigningKey
from comity.server.vectors import written
from comity.wire.client import Session
from comity.wire.messages import RunFacts, Submit
from comity.wire.signature import NONCE_BYTES, sign
from comity.wire.transport import Request, Response
from support.deployments import NAME, World, counted, loop_time
from support.quadratic import Quadratic
from support.virtual_time import run_virtually

JOB = ct.Job(
    ct.FedAvg(Quadratic(), ct.LocalSGD(lr=0.1)), ct.Rounds(count=1, quorum=1), admission=ct.Admission(max_norm=10.0)
)
MEMBERS = {"admin": "admin", "researcher": "researcher", "other-researcher": "researcher"}
MEMBERS |= {"node": "node", "other-node": "node"}

T = TypeVar("T")


class Raw:
    """A replica that is up. Nonces are new unless they are given."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.served = world.serve()
        self.token = counted(7 * 10**15)
        self._sessions: dict[str, Session] = {}

    def signed(self, name: str, request: Request, nonce: bytes | None = None) -> Request:
        return self.signed_by(self.world.keys[name], request, nonce)

    def signed_by(self, key: SigningKey, request: Request, nonce: bytes | None = None) -> Request:
        return sign(request, key, NAME, loop_time(), nonce or self.token(NONCE_BYTES))

    async def send(self, request: Request) -> Response:
        return await self.served.send(request, timeout=60)

    async def ask(self, name: str, method: str, path: str, body: bytes = b"", **query: str) -> Response:
        return await self.send(self.signed(name, Request(method, path, query, {}, body)))

    def session(self, name: str) -> Session:
        """A member's conversation; there is one, which never says the same nonce twice."""
        if name not in self._sessions:
            self._sessions[name] = self.world.session(name, self.served, patience=0.0)
        return self._sessions[name]

    async def submitted(self, run: str = "ab" * 8, job: ct.Job = JOB) -> RunFacts:
        """A run of the researcher's, which waits for `node`."""
        session = self.session("researcher")
        state = b"".join(written(states.flatten(job.program.init(job.root_seed))))
        wish = Submit(
            run=run,
            manifest=job.to_json(),
            layout=manifest.canonical(manifest.encode(job.program.model.layout)),
            start=await session.upload(state),
            dataset="points",
            nodes=("node",),
        )
        facts = await session.call("POST", "/v1/runs", wish, RunFacts)
        assert facts is not None
        return facts


def played(folder: Path, scene: Callable[[Raw], Awaitable[T]]) -> T:
    """The scene at a new deployment, in virtual time."""
    world = World(folder)
    journal = world.journal()
    for name, role in MEMBERS.items():
        world.add(journal, name, role)
    journal.close()

    async def play() -> T:
        raw = Raw(world)
        await raw.served.start()
        await asyncio.sleep(2)
        try:
            return await scene(raw)
        finally:
            await raw.served.stop()

    return run_virtually(play())
