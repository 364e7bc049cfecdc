"""From accepted contributions to the next model: a function of what the journal and the blobs say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from comity.coordination.effects import Commit
from comity.core import states
from comity.core.arrays import to_numpy
from comity.core.contribution import Contribution, Exchange
from comity.core.errors import Reason
from comity.core.vectors import Vectors
from comity.jobs.job import Job
from comity.server.liverun import LiveRun, Model
from comity.server.vectors import StoredVectors, VectorError, written
from comity.store.blobs import Blobs
from comity.store.errors import Mismatch
from comity.transforms.chain import ChainState, begin, conclude, tell
from comity.wire import messages
from comity.wire.messages import Blob, RoundFacts


@dataclass(frozen=True)
class Refusal:
    """Why a contribution does not count."""

    reason: Reason
    detail: str


def run_owner(run: str) -> str:
    """The owner of the blobs that the server itself writes for a run."""
    return f"run-{run}"


def inspect(blobs: Blobs, party: str, given: messages.Contributed, job: Job) -> Refusal | None:
    """Read what `party` has sent, to the last byte: None where it may count."""
    try:
        stored = StoredVectors.open(blobs, party, given.vectors)
        fault = _misshapen(stored, job.exchange)
        if fault is not None:
            return fault
        stored.check_digest()
    except (VectorError, Mismatch) as error:
        return Refusal(Reason.SHAPE, error.what)
    if set(given.metrics) != set(job.exchange.metrics):
        return Refusal(Reason.SHAPE, f"metrics {sorted(given.metrics)}; expected {sorted(job.exchange.metrics)}")
    verdict = job.admission.check(contribution_of(stored, given), job.exchange)[0]
    return None if verdict is None else Refusal(*verdict)


def _misshapen(stored: StoredVectors, exchange: Exchange) -> Refusal | None:
    """Shapes are judged by the header, before anything large is read."""
    if set(stored.spans) != set(exchange.contribution):
        found = sorted(name[:64] for name in stored.spans)[:16]
        return Refusal(Reason.SHAPE, f"vectors {found}; expected {sorted(exchange.contribution)}")
    for name, span in stored.spans.items():
        size = exchange.contribution[name].size
        if span.shape != (size,):
            return Refusal(Reason.SHAPE, f"{name} has shape {span.shape}; expected ({size},)")
        if span.dtype.kind != "f":
            return Refusal(Reason.DTYPE, f"{name} is {span.dtype}; expected floating point")
    return None


def contribution_of(stored: StoredVectors, given: messages.Contributed) -> Contribution:
    """One party's contribution as the aggregator takes it: K = 1."""
    vectors = Vectors(**{name: stored.row(name) for name in stored.spans})
    metrics = {name: np.asarray([row], dtype=np.float64) for name, row in given.metrics.items()}
    with np.errstate(over="ignore"):  # a weight that no float32 holds is infinite, and refused by admission
        weight = np.asarray([[given.weight]], dtype=np.float32)
    return Contribution(vectors, weight, metrics)


def next_model(blobs: Blobs, run: LiveRun, commit: Commit) -> tuple[Model, Mapping[str, tuple[float, ...]]]:
    """The model that `commit` makes, stored, and the cohort's summed metrics.

    The same commit gives the same bytes, unless the chain adds noise: then each call draws its own, and only that
    counts, and is shown to anybody, whose record is written first. Raises `RunError` where the contributions add up to
    nothing.
    """
    job, owner = run.job, run_owner(run.row.id)
    accumulator = job.chain.split()[1].start(job.exchange)
    for counted in commit.contributions:
        given = run.contributions[counted.lease].given
        stored = StoredVectors.open(blobs, counted.party, given.vectors)
        accumulator.add(contribution_of(stored, given), counted.factor)
    learned = begin(job.chain, job.exchange)
    if run.model.chain is not None:
        learned = states.restore(learned, StoredVectors.open(blobs, owner, run.model.chain).arrays())
    aggregate, learned = conclude(job.chain, learned, accumulator, len(run.row.parties))
    stored = StoredVectors.open(blobs, owner, run.model.state)
    state = job.program.update(_state(job, stored), aggregate)
    metrics = {name: tuple(float(x) for x in row) for name, row in aggregate.metrics.items()}
    return publish(blobs, owner, job, state, learned), metrics


def publish(blobs: Blobs, owner: str, job: Job, state: object, learned: ChainState) -> Model:
    """Store a program's state and its chain's, and what is broadcast of them.

    That is a blob a vector, so that one which stays is sent once.
    """
    broadcast: dict[str, Blob] = {}
    for name, vector in {**job.program.broadcast(state), **tell(job.chain, learned)}.items():
        broadcast[name] = blobs.put(owner, written({name: np.asarray(to_numpy(vector))}))
    kept = blobs.put(owner, written(states.flatten(learned))) if learned else None
    return Model(blobs.put(owner, written(states.flatten(state))), broadcast, kept)


def round_facts(run: LiveRun, commit: Commit, at: float, metrics: Mapping[str, tuple[float, ...]]) -> RoundFacts:
    """What the history says of a commit."""
    counted = commit.contributions
    given = [run.contributions[one.lease].given for one in counted]
    return RoundFacts(
        round=commit.round + 1,
        time=at - run.row.created,
        parties=tuple(one.party for one in counted),
        weights=tuple(one.weight for one in given),
        metrics=dict(metrics),
        each={name: tuple(one.metrics[name] for one in given) for name in metrics},
        bytes_up=run.bytes_up,
        bytes_down=run.bytes_down,
        refused=tuple(run.refused),
    )


def parts_of(run: LiveRun) -> dict[str, set[str]]:
    """The parts that a run needs as it stands, by their owner: of its models, and of what is not yet part of one."""
    needed = {run_owner(run.row.id): {digest for model in run.models.values() for digest in model_parts(model)}}
    for party, given in run.contributions.values():
        needed.setdefault(party, set()).update(given.vectors.parts)
    return needed


def model_parts(model: Model) -> set[str]:
    """The parts of a model: its states', and those of what is broadcast of them."""
    blobs = [model.state, *model.broadcast.values(), *([] if model.chain is None else [model.chain])]
    return {digest for blob in blobs for digest in blob.parts}


def first_model(blobs: Blobs, run: str, job: Job, submitter: str, start: Blob) -> Model:
    """The model that a run begins with, from the state that its submitter has sent.

    Raises `VectorError` and `CheckpointError` where that is not a state of the job's program.
    """
    if 4 * job.program.model.layout.size > start.size:
        raise VectorError("the state is shorter than the layout's model", where="submit.layout")
    stored = StoredVectors.open(blobs, submitter, start)
    stored.check_digest()
    return publish(blobs, run_owner(run), job, _state(job, stored), begin(job.chain, job.exchange))


def _state(job: Job, stored: StoredVectors) -> object:
    return states.restore(job.program.init(job.root_seed), stored.arrays())
