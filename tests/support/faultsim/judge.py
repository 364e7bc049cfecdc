"""What must hold whatever has gone wrong."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from safetensors.numpy import save

import comity as ct
from comity.coordination.coordinator import Coordinator
from comity.core import states
from comity.core.arrays import to_numpy
from comity.core.vectors import Vectors
from comity.learners.base import Hardware
from comity.node.log import entries, verify
from comity.server.aggregate import parts_of, run_owner
from comity.server.description import described
from comity.server.liverun import LiveRun
from comity.server.vectors import StoredVectors, written
from comity.simulation.party_side import PartySide
from comity.simulation.tasks import Task
from comity.store.blobs import Blobs
from comity.store.journal import Journal
from comity.store.rows import Record, RunRow
from comity.transforms.chain import conclude
from comity.wire.digests import blob_of, sha256
from support.faultsim.plan import Plan, plan
from support.faultsim.stage import Stage, simulated


def faults(stage: Stage) -> Iterator[str]:
    """Everything that should not be; nothing where all is well."""
    yield from stage.faults
    yield from (f"taken twice: {request}" for request in stage.network.twice)
    if not stage.outcomes:
        return
    expected = {"completed", "stopped"} if stage.plan.stopped is not None else {"completed"}
    for outcome in stage.outcomes:
        if outcome.state not in expected:
            yield f"run {outcome.id} has {outcome.state}: {outcome.detail}"
    journal = Journal.open(f"sqlite:///{stage.server_folder / 'journal.db'}")
    try:
        accepted: set[tuple[str, str, int]] = set()
        for run in stage.plan.jobs:
            row, records = journal.run(run), journal.records(run)
            assert row is not None
            yield from _records(row, records)
            yield from _models(stage.plan, row, records)
            yield from _store(stage, row, records)
            accepted |= _contributed(records)
        yield from _nodes(stage, accepted)
        journal.check_audit()
    finally:
        journal.close()


def _records(row: RunRow, records: list[Record]) -> Iterator[str]:
    """The journal is one story: numbered without gaps, every round once, and read in one piece or from its end."""
    if [record.seq for record in records] != list(range(1, len(records) + 1)):
        yield "the journal has gaps"
    rounds = [record.body["round"] for record in records if record.kind == "aggregated"]
    if rounds != list(range(len(rounds))):
        yield f"rounds {rounds} were aggregated"
    whole = _unread(row)
    for record in records:
        whole.apply(record)
    if LiveRun.load(row, records).facts() != whole.facts():
        yield "a run that is read from its last round is another one"


def _models(plan: Plan, row: RunRow, records: list[Record]) -> Iterator[str]:
    """Every contribution is what its party computes from what it was sent; every model is what these make.

    All is computed once more, from the journal's order of events alone.
    """
    job, live = plan.jobs[row.id], _unread(row)
    side = PartySide(job, plan.data, Hardware())
    models = {0: job.program.init(job.root_seed)}
    memory: dict[str, Any] = {party: {} for party in plan.data.ids}
    pending: dict[int, tuple[str, Any, Any]] = {}
    again = False
    for record in records:
        body: Any = record.body
        if record.kind == "contributed":
            assign = next(one for one in live.coordinator.outstanding if one.lease == body["lease"])
            sent = Vectors(**{name: np.asarray(v) for name, v in job.program.broadcast(models[assign.round]).items()})
            [batch] = side.answer(sent, [Task(assign.party, assign.lease, assign.round, 1.0, memory[assign.party])])
            assert batch.contribution is not None
            vectors = {name: np.ascontiguousarray(rows[0]) for name, rows in batch.contribution.vectors.items()}
            if sha256(save(vectors)) != body["contribution"]["vectors"]["digest"]:
                yield f"{assign.party} has sent something else than it computes in round {assign.round + 1}"
            remembered = {name: np.array(to_numpy(rows[0])) for name, rows in batch.memory.items()}
            pending[assign.lease] = assign.party, batch.contribution, remembered
            again |= assign.attempt > 0
        elif record.kind == "aggregated":
            commit = live.coordinator.pending
            assert commit is not None
            accumulator = job.chain.split()[1].start(job.exchange)
            for counted in commit.contributions:
                party, contribution, remembered = pending.pop(counted.lease)
                accumulator.add(contribution, counted.factor)
                memory[party] |= remembered
            aggregate, _ = conclude(job.chain, {}, accumulator, len(row.parties))
            state = job.program.update(models[commit.round], aggregate)
            models[commit.round + 1] = state
            if blob_of(b"".join(written(states.flatten(state)))).digest != body["state"]["digest"]:
                yield f"the model after round {commit.round + 1} is not what its contributions make"
        live.apply(record)
    if plan.complete(row.id):
        # Another attempt asks in another order, and sums of floats depend on it.
        width = 1e-6 if again else 0.0
        if not np.allclose(
            job.program.weights(models[max(models)]), _expected(plan.seed, row.id), rtol=0.0, atol=width
        ):
            yield "the model is not the simulation's"


def _store(stage: Stage, row: RunRow, records: list[Record]) -> Iterator[str]:
    """What the run still needs is there, to the last byte."""
    blobs, live = Blobs.open(stage.server_folder / "blobs"), LiveRun.load(row, records)
    for owner, digests in parts_of(live).items():
        if owner == run_owner(row.id):
            yield from (f"part {digest[:12]} of the model is gone" for digest in blobs.missing(owner, sorted(digests)))
    StoredVectors.open(blobs, run_owner(row.id), live.model.state).check_digest()


def _contributed(records: list[Record]) -> set[tuple[str, str, int]]:
    """Run, party and lease of what was accepted."""
    bodies: list[tuple[str, Any]] = [(record.run, record.body) for record in records if record.kind == "contributed"]
    return {(run, body["party"], body["lease"]) for run, body in bodies}


def _nodes(stage: Stage, accepted: set[tuple[str, str, int]]) -> Iterator[str]:
    """Logs hold together; what a node was told has counted is in the journal; and nothing lies about at the end."""
    for party in stage.plan.data.ids:
        home = stage.home(party)
        checked = verify(home.log_file)
        if not checked.sound:
            yield f"the log of {party}: {checked}"
        sent: dict[Any, str] = {}
        for entry in entries(home.log_file):
            run, lease = entry.facts.get("run", ""), entry.facts.get("lease", -1)
            if entry.kind == "verdict" and entry.facts["accepted"] and (run, party, lease) not in accepted:
                yield f"{party} was told that lease {lease} counts, and the journal does not know"
            if (
                entry.kind == "leaving"
                and sent.setdefault((run, lease), entry.facts["digest"]) != entry.facts["digest"]
            ):
                yield f"{party} has sent two things under lease {lease}"
        if left := [*home.outbox.iterdir(), *home.scratch.glob("*/*")]:
            yield f"{party} keeps {[str(path.relative_to(home.path)) for path in left]}"


def _unread(row: RunRow) -> LiveRun:
    job = described(row.manifest, row.layout)
    return LiveRun(row, job, Coordinator(job.rounds, row.parties, job.root_seed.child("coordinator")))


@lru_cache(maxsize=512)
def _expected(seed: int, run: str) -> Any:
    drawn = plan(seed)
    job = drawn.jobs[run]
    return simulated(ct.Job(job.program, ct.Rounds(count=job.rounds.count), seed=job.seed), drawn.data)
