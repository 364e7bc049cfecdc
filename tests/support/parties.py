"""Parties driven by hand against a `Federation`: what nodes do, without network, policy or processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from comity.core import manifest, states
from comity.core.arrays import to_numpy
from comity.core.vectors import Vectors
from comity.data.examples import FederatedData
from comity.jobs.job import Job
from comity.learners.base import Hardware
from comity.server.aggregate import run_owner
from comity.server.federation import Federation
from comity.server.vectors import StoredVectors, written
from comity.simulation.party_side import PartySide
from comity.simulation.tasks import Task
from comity.store.blobs import Blobs
from comity.store.journal import Journal
from comity.wire.base64url import encode
from comity.wire.messages import Ask, Assignment, Contributed, Member, RunFacts, Submit, Verdict

RESEARCHER = "researcher"


def member(name: str, role: Any = "node", datasets: tuple[str, ...] = ("points",)) -> Member:
    key = encode(sha256(name.encode()).digest())
    return Member(
        name=name,
        role=role,
        signing_key=key,
        agreement_key=key,
        enrolled=0.0,
        expires=1e12,
        datasets=datasets if role == "node" else (),
    )


@dataclass(eq=False)
class Clock:
    """Time that passes when it is told to."""

    at: float = 1000.0

    def __call__(self) -> float:
        return self.at


def opened(folder: Path, clock: Clock, **options: Any) -> Federation:
    """A replica over the journal and the blobs in `folder`."""
    counter = iter(range(10**6))
    federation = Federation(
        Journal.open(f"sqlite:///{folder / 'journal.db'}"),
        Blobs.open(folder / "blobs"),
        clock,
        lambda size: next(counter).to_bytes(size, "big"),
        **options,
    )
    federation.start()
    return federation


def enrol(federation: Federation, names: list[str]) -> None:
    federation.journal.add_member(member(RESEARCHER, "researcher"))
    for name in names:
        federation.journal.add_member(member(name))
        federation.journal.offer(name, ["points"])


def submission(federation: Federation, job: Job, **fields: Any) -> Submit:
    """The job as its submitter sends it; the first state is uploaded."""
    state = states.flatten(job.program.init(job.root_seed))
    return Submit(
        run=federation.token(8).hex(),
        manifest=job.to_json(),
        layout=manifest.canonical(manifest.encode(job.program.model.layout)),
        start=federation.blobs.put(RESEARCHER, written(state)),
        dataset="points",
        **fields,
    )


async def submit(federation: Federation, job: Job, **fields: Any) -> RunFacts:
    researcher = federation.journal.member(RESEARCHER)
    assert researcher is not None
    return await federation.submit(researcher, submission(federation, job, **fields))


@dataclass(eq=False)
class HandDriven:
    """One party: it computes what it is asked for, and remembers what counts."""

    federation: Federation
    job: Job
    data: FederatedData
    name: str
    memory: dict[str, Any] = field(default_factory=dict)
    pending: dict[int, Mapping[str, Any]] = field(default_factory=dict)

    async def assignments(self) -> tuple[Assignment, ...]:
        return (await self.federation.work(self.name, Ask(wait=0))).open

    def compute(self, assignment: Assignment) -> Contributed:
        """The contribution, uploaded."""
        if assignment.counted in self.pending:
            self.memory.update(self.pending.pop(assignment.counted))
        blobs, owner = self.federation.blobs, run_owner(assignment.run)
        sent = {name: StoredVectors.open(blobs, owner, blob).read(name) for name, blob in assignment.broadcast.items()}
        side = PartySide(self.job, self.data, Hardware())
        task = Task(self.name, assignment.lease, assignment.round, assignment.budget, dict(self.memory))
        (batch,) = side.answer(Vectors(**sent), [task])
        assert batch.contribution is not None, batch.failure
        row = batch.contribution
        self.pending[assignment.lease] = {name: np.array(to_numpy(rows[0])) for name, rows in batch.memory.items()}
        vectors = {name: np.asarray(array[0], dtype=np.float32) for name, array in row.vectors.items()}
        return Contributed(
            vectors=blobs.put(self.name, written(vectors)),
            weight=float(row.weight[0, 0]),
            metrics={name: tuple(float(x) for x in rows[0]) for name, rows in row.metrics.items()},
        )

    async def contribute(self) -> list[Verdict]:
        """Everything that is asked of this party now."""
        return [
            await self.federation.contribute(self.name, assignment.run, assignment.lease, self.compute(assignment))
            for assignment in await self.assignments()
        ]


def parties(federation: Federation, job: Job, data: FederatedData) -> dict[str, HandDriven]:
    return {name: HandDriven(federation, job, data, name) for name in data.ids}


async def play(federation: Federation, run: str, driven: Mapping[str, HandDriven]) -> None:
    """All parties contribute, in the order of their names, until the run is over."""
    for _ in range(1000):
        if federation.run(run).state != "running":
            return
        for party in driven.values():
            await party.contribute()
        await federation.settled()
    raise AssertionError("the run does not end")


def weights(federation: Federation, run: str, job: Job) -> Any:
    """The model of a run."""
    live = federation.run(run)
    stored = StoredVectors.open(federation.blobs, run_owner(run), live.model.state)
    return job.program.weights(states.restore(job.program.init(job.root_seed), stored.arrays()))
