"""One schedule, played: a server, nodes and a submitter on machines of their own, until the run is over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from sqlalchemy import event

import comity as ct
from comity.core import manifest, states
from comity.core.errors import ComityError
from comity.identity.keys import SigningKey
from comity.learners.base import Hardware
from comity.node.agent import Agent
from comity.node.child import TaskResult, TaskSpec
from comity.node.data import DataRegistry
from comity.node.entries import Entry
from comity.node.exchange import read_broadcast, read_memory, write_answer
from comity.node.home import NodeConfig, NodeHome
from comity.server.app import build
from comity.server.deployment import Deployment
from comity.server.federation import Federation
from comity.server.gate import Gate
from comity.server.rates import Rates
from comity.server.vectors import written
from comity.simulation.party_side import PartySide
from comity.simulation.tasks import Task
from comity.store.blobs import Blobs
from comity.store.errors import StorageFull
from comity.store.journal import Journal
from comity.wire.client import Session
from comity.wire.messages import Rounds, RunFacts, Submit
from support.deployments import NAME, World
from support.faultsim.machine import EPOCH, Machine, factory, here, operate
from support.faultsim.network import Line, Network, Weather
from support.faultsim.plan import MENDED, Plan, Trouble
from support.quadratic import Points

RESEARCHER = "researcher"
LONGEST = 6 * 3600.0
"""Virtual seconds within which a run must be over."""
SETTLING = 150.0
POLICY = '[[allow]]\nprogram = ["FedAvg", "Scaffold", "FedDyn"]\ndatasets = ["points"]\n'


@dataclass(eq=False)
class Stage:
    """What a schedule is played on, and what there is to judge afterwards."""

    plan: Plan
    folder: Path
    network: Network
    machines: dict[str, Machine]
    trace: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    outcomes: list[RunFacts] = field(default_factory=list)
    well: asyncio.Event = field(default_factory=asyncio.Event)

    async def pause(self, seconds: float) -> None:
        """So long, and no longer than until nothing fails any more."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.well.wait()

    def mend(self) -> None:
        """From now on all is well."""
        self.note("all is well")
        self.network.weather = Weather()
        self.network.cut_off.clear()
        for machine in self.machines.values():
            machine.fuse, machine.offset, machine.full = None, 0.0, False
        self.well.set()

    def note(self, text: str) -> None:
        self.trace.append(f"{asyncio.get_running_loop().time():9.3f} {text}")

    @property
    def server_folder(self) -> Path:
        return self.machines["server"].folder

    def home(self, party: str) -> NodeHome:
        return NodeHome(self.machines[party].folder)


@dataclass(eq=False)
class Computing:
    """Stands in for the process in which a node computes: the same steps in this process, and they take their time."""

    plan: Plan
    random: Random

    async def run(self, task: TaskSpec) -> TaskResult:
        await asyncio.sleep(self.random.expovariate(1.0 / self.plan.seconds))
        operate()
        try:
            side = PartySide(self.plan.jobs[task.run], self.plan.data, Hardware())
            sent = read_broadcast(side, {name: str(file) for name, file in task.broadcast.items()})
            kept = read_memory(side, None if task.memory is None else str(task.memory), counted=task.counted)
            [batch] = side.answer(sent, [Task(task.party, task.lease, task.round, task.budget, kept)])
            answer = write_answer(batch, kept, task.into)
        except ComityError as error:
            return TaskResult.failed(str(error))
        await asyncio.sleep(0)
        operate()
        memory = answer["memory"]
        metrics = {name: tuple(sums) for name, sums in answer["metrics"].items()}
        return TaskResult(Path(answer["vectors"]), memory and Path(memory), answer["weight"], metrics)

    async def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True)
class Template:
    """What every schedule begins with, made once: a journal with its tables, and nodes' folders with their data."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Template:
        Journal.open(f"sqlite:///{folder / 'journal.db'}").close()
        for number in range(4):
            home = NodeHome(folder / f"p{number}")
            home.create()
            home.write(NodeConfig(f"p{number}", "https://comity.test", NAME, "r"))
            home.policy_file.write_text(POLICY)
            data = folder / f"points-{number}.npz"
            np.savez(data, x_train=np.ones((4, 3), np.float32), y_train=np.ones(4, np.int64))
            DataRegistry(home.path).add(Entry("points", data))
        return cls(folder)


async def play(plan: Plan, template: Template, folder: Path) -> Stage:
    """Everything from the submission to the end of the run, and a while longer."""
    asyncio.get_running_loop().set_task_factory(factory)
    asyncio.get_running_loop().set_exception_handler(_unheard)
    machines = {name: Machine(name, folder / name) for name in ("server", RESEARCHER, *plan.data.ids)}
    trace: list[str] = []
    network = Network(machines["server"], Random(plan.seed), plan.weather, lambda text: stage.note(text))
    stage = Stage(plan, folder, network, machines, trace)
    keys = _furnish(stage, template)
    keepers = [asyncio.create_task(_keep_server(stage))]
    keepers += [asyncio.create_task(_keep_node(stage, name, keys[name])) for name in plan.data.ids]
    keepers += [asyncio.create_task(_happen(stage, trouble)) for trouble in plan.troubles]
    asyncio.get_running_loop().call_later(MENDED, stage.mend)
    # A process that is killed loses nothing that it has written: that is for the power, which does not fail here.
    sync, os.fsync = os.fsync, lambda handle: None
    try:
        async with asyncio.timeout(LONGEST):
            followed = [_submit_and_watch(stage, keys[RESEARCHER], run) for run in plan.jobs]
            stage.outcomes.extend(await asyncio.gather(*followed))
        stage.mend()
        await asyncio.sleep(SETTLING)
    except TimeoutError:
        stage.faults.append("the run does not end")
    finally:
        for keeper in keepers:
            keeper.cancel()
        for keeper in await asyncio.gather(*keepers, return_exceptions=True):
            if not isinstance(keeper, asyncio.CancelledError | None):
                stage.faults.append(f"{type(keeper).__name__}: {keeper}")
        for machine in machines.values():
            machine.kill()
        await asyncio.sleep(0.1)
        os.fsync = sync
    return stage


def _furnish(stage: Stage, template: Template) -> dict[str, SigningKey]:
    """Everybody's folder and key, as if all had joined."""
    world = World(stage.server_folder, now=lambda: EPOCH)
    stage.server_folder.mkdir(parents=True)
    shutil.copy(template.folder / "journal.db", stage.server_folder / "journal.db")
    journal = world.journal()
    world.add(journal, RESEARCHER, "researcher")
    for name in stage.plan.data.ids:
        shutil.copytree(template.folder / name, stage.machines[name].folder)
        world.add(journal, name)
    journal.close()
    return world.keys


async def _keep_server(stage: Stage) -> None:
    """Start the server, and start it again whenever it has died."""
    machine, plan = stage.machines["server"], stage.plan
    fuses, downtimes, skews = (iter(each["server"]) for each in (plan.fuses, plan.downtimes, plan.skews))
    while True:
        machine.boot()
        if not stage.well.is_set():
            machine.offset, machine.fuse = next(skews, 0.0), next(fuses, None)
        stage.note(f"server starts, {machine.offset:+.0f} s, power for {machine.fuse}")
        journals: list[Journal] = []
        up = machine.start(_serve(stage, journals))
        died = asyncio.create_task(machine.died.wait())
        await asyncio.wait([up, died], return_when=asyncio.FIRST_COMPLETED)
        if not machine.died.is_set():
            # It gave up by itself, as it may where its disk is full.
            stage.note(f"server gives up: {up.exception()}")
            if not machine.full:
                stage.faults.append(f"server gives up: {up.exception()!r}")
            machine.kill()
        died.cancel()
        stage.network.app = None
        stage.note("server is down")
        for journal in journals:
            journal.close()
        await stage.pause(next(downtimes, 5.0))


async def _serve(stage: Stage, journals: list[Journal]) -> None:
    machine, folder, token = stage.machines["server"], stage.server_folder, _tokens(stage, "server")
    operate()
    journal = Journal.open(f"sqlite:///{folder / 'journal.db'}")
    journals.append(journal)
    _watch(journal)
    federation = Federation(journal, Blobs.open(folder / "blobs"), machine.now, token, stage.plan.absence)
    deployment = Deployment(
        federation=federation,
        gate=Gate(journal, NAME, machine.now, Rates(machine.now, 1e6, 1e6)),
        name=NAME,
        address="https://comity.test",
        authority="(none)",
        fingerprint="0" * 64,
        registrar=SigningKey.new(),
    )
    app = build(deployment)
    async with app.router.lifespan_context(app):
        stage.network.app = app
        await asyncio.Event().wait()


def _watch(journal: Journal) -> None:
    """A transaction is an operation on the disk: before it begins, before it is committed, and when it has been."""
    database = journal.database
    event.listen(database.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
    database.close()  # the connection that it was opened with is from before
    write, read = database.write, database.read

    @contextlib.contextmanager
    def writing() -> Iterator[Any]:
        _on_disk()
        with write() as connection:
            yield connection
            _on_disk()
        operate(writes=False)

    @contextlib.contextmanager
    def reading() -> Iterator[Any]:
        here()
        with read() as connection:
            yield connection

    database.write, database.read = writing, reading  # type: ignore[method-assign]  # this database's alone


def _on_disk() -> None:
    try:
        operate()
    except OSError as error:
        raise StorageFull("the database takes no more") from error


async def _keep_node(stage: Stage, name: str, key: SigningKey) -> None:
    """Start a node, and start it again whenever it has died."""
    machine, plan = stage.machines[name], stage.plan
    fuses, downtimes, skews = (iter(each[name]) for each in (plan.fuses, plan.downtimes, plan.skews))
    while True:
        machine.boot()
        if not stage.well.is_set():
            machine.offset, machine.fuse = next(skews, 0.0), next(fuses, None)
        stage.note(f"{name} starts, {machine.offset:+.0f} s, power for {machine.fuse}")
        token = _tokens(stage, name)
        session = Session(Line(stage.network, machine), key, NAME, machine.now, token, patience=5.0)
        home, computing = NodeHome(machine.folder), Computing(plan, Random(f"{plan.seed} {name} {machine.boots}"))
        working = machine.start(_work(home, session, computing, machine, token))
        died = asyncio.create_task(machine.died.wait())
        await asyncio.wait([working, died], return_when=asyncio.FIRST_COMPLETED)
        if not machine.died.is_set():
            stage.note(f"{name} gives up: {working.exception()!r}")
            stage.faults.append(f"{name} gives up: {working.exception()!r}")
            machine.kill()
        died.cancel()
        stage.note(f"{name} is down")
        await stage.pause(next(downtimes, 5.0))


async def _work(home: NodeHome, session: Session, computing: Computing, machine: Machine, token: Any) -> None:
    await Agent(home, session, computing, machine.now, token).run()


async def _happen(stage: Stage, trouble: Trouble) -> None:
    """One trouble, from its beginning to its end."""
    machine = stage.machines[trouble.machine]
    await stage.pause(trouble.start)
    if stage.well.is_set():
        return
    stage.note(f"{machine.name} is {trouble.kind}")
    machine.full |= trouble.kind == "full"
    if trouble.kind == "cut off":
        stage.network.cut_off.add(machine.name)
    await stage.pause(trouble.end - trouble.start)
    stage.note(f"{machine.name} is no longer {trouble.kind}")
    machine.full &= trouble.kind != "full"
    if trouble.kind == "cut off":
        stage.network.cut_off.discard(machine.name)


async def _submit_and_watch(stage: Stage, key: SigningKey, run: str) -> RunFacts:
    """What a submitter does, as often as it takes."""
    machine, job = stage.machines[RESEARCHER], stage.plan.jobs[run]
    line = Line(stage.network, machine)
    session = Session(line, key, NAME, machine.now, _tokens(stage, RESEARCHER, run))
    layout = manifest.canonical(manifest.encode(job.program.model.layout))
    state = b"".join(written(states.flatten(job.program.init(job.root_seed))))

    async def submit() -> RunFacts:
        start = await session.upload(state)
        wish = Submit(run=run, manifest=job.to_json(), layout=layout, start=start, dataset="points")
        facts = await session.call("POST", "/v1/runs", wish, RunFacts)
        assert facts is not None
        return facts

    facts = await _persist(stage, submit)
    stage.note(f"{run} is submitted")
    if stage.plan.stopped is not None:
        await asyncio.sleep(stage.plan.stopped)
        stage.note("to be stopped")
        await _persist(stage, lambda: session.call("POST", f"/v1/runs/{run}/stop", None, RunFacts, timeout=60.0))

    async def watch(after: int) -> Rounds:
        query = {"after": str(after), "wait": "30"}
        rounds = await session.call("GET", f"/v1/runs/{run}", None, Rounds, query, timeout=60.0)
        assert rounds is not None
        return rounds

    while facts.state == "running":
        facts = (await _persist(stage, partial(watch, facts.rounds))).run
        stage.note(f"{run}: {facts.rounds} rounds, {facts.state}")
    return facts


async def _persist(stage: Stage, call: Any) -> Any:
    while True:
        try:
            return await call()
        except ComityError as error:
            stage.note(f"submitter: {error.what}")
            await asyncio.sleep(5.0)


def _tokens(stage: Stage, name: str, more: str = "") -> Any:
    """Random bytes that are another machine's or another start's at no other."""
    return Random(f"{stage.plan.seed} {name} {stage.machines[name].boots} token {more}").randbytes


def _unheard(loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """What ended with its machine is nobody's to hear of."""


def simulated(job: ct.Job, data: Points) -> Any:
    """The model's vector as the simulation gives it; processes would take longer to start than it has to compute."""
    return ct.run(job, ct.Simulation(data, workers=1)).model.vector
