"""A deployment of Comity on loopback as its users would have it: a server and nodes that are processes of their own.

TLS, signatures, a policy with approved source, SQLite that waits for the disk. Nothing here is measured.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import no_training
import numpy as np

import comity as ct
from comity.demo.processes import Processes, free_port
from comity.deployment.client import Client, Wanted
from comity.deployment.source import source_of
from comity.identity.folder import IdentityFolder
from comity.jobs.job import Job
from comity.node.data import DataRegistry
from comity.node.entries import Entry
from comity.node.home import NodeHome
from comity.node.join import join
from comity.node.requests import Requests
from comity.server.home import OPERATOR, ServerHome
from comity.wire.digests import source_digest
from comity.wire.messages import Invite, RoundFacts, RunFacts
from comity.wire.transport import TransportError

DATASET = "nothing"
NAME = "benchmark"
LOOPBACK = "127.0.0.1"
_LOOK = 0.1
_POLICY = f"""\
[[allow]]
program = "FedAvg"
datasets = ["{DATASET}"]
submitters = ["{OPERATOR}"]
source = "approved"
"""
# All parties have one address here, so the bound on what one address may ask is raised.
_RATE = "100000"


@dataclass(eq=False)
class Loopback:
    """A server in `folder`, which listens on `port`; parties are told `address`, where a tap may listen."""

    folder: Path
    port: int
    address: str
    processes: Processes
    homes: list[NodeHome] = field(default_factory=list)

    @property
    def home(self) -> ServerHome:
        return ServerHome(self.folder / "server")

    @property
    def journal(self) -> Path:
        return self.home.path / "journal.db"

    @property
    def server(self) -> int:
        """The process id of the server."""
        return self.pid("server")

    def pid(self, name: str) -> int:
        return self.processes.started[name].pid

    @property
    def identity(self) -> IdentityFolder:
        """The operator's."""
        return IdentityFolder(self.home.path / OPERATOR)

    def operator(self) -> Client:
        """Past any tap."""
        return Client(self.identity, f"https://{LOOPBACK}:{self.port}")

    async def until(self, ready: Callable[[], Awaitable[bool]], seconds: float, what: str) -> None:
        """Raises `TimeoutError`, and `RunError` where a process has ended."""
        end = time.monotonic() + seconds
        while not await ready():
            self.processes.check()
            if time.monotonic() > end:
                raise TimeoutError(f"no {what} within {seconds:g} s")
            await asyncio.sleep(_LOOK)

    async def add_nodes(self, names: Sequence[str], job: Job, seconds: float = 120.0) -> None:
        """Nodes that may run `job`, joined, started, and known to the server with their data."""
        async with self.operator() as client:
            for name in names:
                home = NodeHome(self.folder / name)
                await join((await client.invite(Invite(name=name))).token, home, time.time)
                equip(home, job)
                self.homes.append(home)
                self.processes.start(name, "node", "start", "--home", str(home.path))

            async def there() -> bool:
                return {member.name for member in await client.nodes() if DATASET in member.datasets}.issuperset(names)

            await self.until(there, seconds, "sign of all nodes")


def equip(home: NodeHome, job: Job) -> None:
    """One example, a policy that allows jobs like this one, and the owner's approval of its source."""
    file = home.path / f"{DATASET}.npz"
    np.savez(file, x_train=np.zeros((1, 1), dtype=np.float32), y_train=np.zeros(1, dtype=np.int64))
    DataRegistry(home.path).add(Entry(DATASET, file))
    home.policy_file.write_text(_POLICY)
    Requests(home.path, time.time).approve_digest(source_digest(source_of(job)), "source", who="owner")


def untrained(rounds: int) -> Job:
    """`rounds` rounds of plain averaging of a model that no party trains."""
    model = ct.Function(no_training.start, no_training.fit)
    return ct.Job(program=ct.FedAvg(model, ct.LocalSGD(lr=0.1, epochs=1)), rounds=ct.Rounds(count=rounds), seed=1)


async def begin(client: Client, job: Job, nodes: Sequence[str], folder: Path) -> str:
    """Submit a job to these nodes: the id of its run."""
    return (await client.submit(job, Wanted(DATASET, nodes), source_of(job), folder, secrets.token_hex(8))).id


async def carry_out(client: Client, job: Job, nodes: Sequence[str], folder: Path) -> tuple[RunFacts, list[RoundFacts]]:
    """Submit a job to these nodes and wait for its end."""
    run = await begin(client, job, nodes, folder)
    rounds: list[RoundFacts] = []
    while True:
        answer = await client.watch(run, len(rounds))
        rounds += answer.rounds
        if answer.run.state != "running":
            return answer.run, rounds


@contextmanager
def loopback(folder: Path, address_port: int | None = None) -> Iterator[Loopback]:
    """A server, made and started; every process ends with the block."""
    port = free_port()
    address = f"https://{LOOPBACK}:{address_port or port}"
    home = ServerHome(folder / "server")
    home.init(name=NAME, address=address, host=LOOPBACK, port=port, hosts=[LOOPBACK], now=time.time)
    with Processes(folder) as processes:
        yield Loopback(folder, port, address, processes)


async def started(here: Loopback) -> None:
    """Start the server and wait until it answers."""
    here.processes.start("server", "server", "start", str(here.home.path), "--rate", _RATE)
    async with here.operator() as client:

        async def answers() -> bool:
            try:
                return bool(await client.nodes()) or True
            except TransportError:
                return False

        await here.until(answers, 60.0, "answer of the server")
