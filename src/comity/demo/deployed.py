"""The demo with real parties: a server and four nodes, each a process of its own, over TLS on this machine."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from rich.console import Console
from rich.markup import escape

from comity.coordination.synchronous import Rounds
from comity.core.errors import MissingDependency, RunError
from comity.core.files import replace_file
from comity.data import Dirichlet, Parties, load
from comity.demo import baselines, setting
from comity.demo.files import leave
from comity.demo.processes import Processes, free_port
from comity.demo.table import accuracy_table
from comity.deployment.client import Client
from comity.deployment.deployment import Deployment
from comity.identity.folder import IdentityFolder
from comity.jobs.job import Job
from comity.node.data import DataRegistry
from comity.node.entries import Entry
from comity.node.home import NodeHome
from comity.node.join import join
from comity.programs.fedavg import FedAvg
from comity.runs.progress import Progress
from comity.runs.run import Run, Settings, run
from comity.server.home import OPERATOR, ServerHome
from comity.simulation.simulation import Simulation
from comity.wire.client import ProblemError
from comity.wire.messages import Invite
from comity.wire.transport import TransportError

PARTIES = 4
ROUNDS = 30
DATASET = "digits"
_LOOPBACK = "127.0.0.1"
_PATIENCE = 60.0
_LOOK = 0.2

_POLICY = """\
# This node takes part in one job, with these parties, and in nothing else.
[[allow]]
jobs = ["{job}"]
datasets = ["{dataset}"]
submitters = ["{submitter}"]
min_parties = {parties}
source = "none"
"""


@dataclass(frozen=True, eq=False)
class Results:
    """The run of the deployment, and the same job in a simulation with the same seed."""

    deployed: Run
    simulated: Run

    @property
    def equal(self) -> bool:
        """Whether the two models are the same, bit for bit."""
        return np.array_equal(self.deployed.model.vector, self.simulated.model.vector)


def show(folder: Path, seed: int, rounds: int, console: Console) -> Results:
    """Run the demo and leave `model.safetensors`, `history.json` and `job.json` in `folder`.

    The deployment itself lies in a temporary folder and is gone at the end. Raises `MissingDependency`.
    """
    MissingDependency.check(("uvicorn", "fastapi", "sqlalchemy", "alembic", "obstore"), "deploy", "a deployment")
    setting.check_installed()
    started = perf_counter()
    data = load(DATASET, seed=seed).split(Dirichlet(parties=PARTIES, alpha=setting.ALPHA), seed=seed)
    job = Job(FedAvg(setting.model(), setting.LOCAL), Rounds(count=rounds), seed=seed)
    with tempfile.TemporaryDirectory(prefix="comity-demo-") as scratch:
        deployed = _deployed(Path(scratch), job, data, console)
    results = Results(deployed, run(job, Simulation(data, engine="resident")))
    _compare(results, data, seed, console)
    leave(deployed, folder)
    console.print(f"Done in {perf_counter() - started:.0f} s. In [bold]{escape(str(folder))}[/bold]:")
    console.print("  model.safetensors, history.json, job.json")
    return results


def _deployed(place: Path, job: Job, data: Parties, console: Console) -> Run:
    """Make a deployment in `place`, carry out the job, and end every process."""
    tell = _Commands(console)
    server, operator = ServerHome(place / "server"), IdentityFolder(place / "server" / OPERATOR)
    port = free_port()
    address = f"https://{_LOOPBACK}:{port}"
    tell(f"comity server init server --address {address}", "an authority, a certificate, keys, a database")
    server.init(name="demo", address=address, host=_LOOPBACK, port=port, hosts=[_LOOPBACK], now=time.time)
    with Processes(place) as processes:
        tell("comity server start server", "a process of its own")
        processes.start("server", "server", "start", str(server.path))
        tell("comity server invite NAME; comity node join TOKEN", f"{PARTIES} times; keys are made at the nodes")
        homes = asyncio.run(_joined(place, operator, data.ids, processes))
        tell(f"comity node data add {DATASET} {DATASET}.npz", "each its own slice; it stays there")
        for home in homes:
            _equip(home, data, job)
            processes.start(home.config.name, "node", "start", "--home", str(home.path))
        tell("comity node start", f"{PARTIES} processes, each with a policy that allows job {job.id[:12]} alone")
        asyncio.run(_all_there(operator, data.ids, processes))
        tell("comity submit job.py --watch", f"{job.rounds.count} rounds")
        federation = Deployment(dataset=DATASET, identity=operator.path)
        return federation.carry_out(job, Settings(callbacks=[Progress(console)]))


@dataclass(frozen=True)
class _Commands:
    """Shows what a user would type, and what comes of it."""

    console: Console

    def __call__(self, command: str, why: str) -> None:
        self.console.print(f"[bold]$ {escape(command)}[/bold]\n  [dim]{escape(why)}[/dim]", soft_wrap=True)


async def _joined(place: Path, operator: IdentityFolder, names: Sequence[str], processes: Processes) -> list[NodeHome]:
    """A node of each name, once the server answers."""
    homes = []
    async with Client(operator, patience=5.0) as client:
        await _until(processes, lambda: _answers(client), "the server")
        for name in names:
            token = (await client.invite(Invite(name=name))).token
            homes.append(NodeHome(place / name))
            await join(token, homes[-1], time.time)
    return homes


def _equip(home: NodeHome, data: Parties, job: Job) -> None:
    """The party's own examples as a file, registered, and the policy."""
    own, file = data[home.config.name], home.path / f"{DATASET}.npz"
    np.savez(
        file,
        x_train=own.train.features(),
        y_train=own.train.labels(),
        x_heldout=own.heldout.features(),
        y_heldout=own.heldout.labels(),
    )
    DataRegistry(home.path).add(Entry(DATASET, file))
    text = _POLICY.format(job=job.id, dataset=DATASET, submitter=OPERATOR, parties=PARTIES)
    replace_file(home.policy_file, text.encode())


async def _all_there(operator: IdentityFolder, names: Sequence[str], processes: Processes) -> None:
    """Wait until every node offers its data."""
    async with Client(operator, patience=_PATIENCE) as client:

        async def there() -> bool:
            return {member.name for member in await client.nodes() if DATASET in member.datasets}.issuperset(names)

        await _until(processes, there, "one of the nodes")


async def _answers(client: Client) -> bool:
    try:
        return bool(await client.nodes())
    except TransportError:
        return False
    except ProblemError as error:
        # A server that has just started takes no signature from the second in which it did.
        if error.status == 401:
            return False
        raise


async def _until(processes: Processes, ready: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for it. Raises `RunError` where it does not come in time, or a process has ended."""
    until = time.monotonic() + _PATIENCE
    while not await ready():
        processes.check()
        if time.monotonic() > until:
            raise RunError(f"after {_PATIENCE:.0f} seconds there is no sign of {what}", where="the demo")
        await asyncio.sleep(_LOOK)


def _compare(results: Results, data: Parties, seed: int, console: Console) -> None:
    """The same table as that of the simulated demo, and whether the models are equal."""
    rounds, common = results.deployed.job.rounds.count, baselines.JudgedInCommon(data)
    console.print("[dim]the same job in a simulation, on pooled digits, and at every party alone …[/dim]")
    pooled = run(baselines.centralised(seed, setting.LOCAL, rounds), Simulation(baselines.pooled(data)))
    alone = run(baselines.alone(seed, setting.LOCAL, rounds), Simulation(common))
    accuracy = (
        Simulation(common).evaluate(results.deployed).pooled["accuracy"],
        pooled.history[-1].test["accuracy"],
        alone.history[-1].train["accuracy"],
    )
    history = results.deployed.history
    moved = sum(record.bytes_up + record.bytes_down for record in history) / PARTIES
    own = Simulation(data).evaluate(results.deployed).spread("accuracy")
    # In the first round the nodes start the processes that compute; the median is what a round takes.
    console.print(accuracy_table(accuracy, own, moved, float(np.median(history.column("seconds")))))
    if results.equal:
        console.print("The model is [bold]the simulation's with the same seed, bit for bit[/bold].")
    else:
        console.print("[bold red]The model differs from the simulation's with the same seed.[/bold red]")
