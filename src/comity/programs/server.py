"""The server's half that most programs share: a model, an optimizer's moments, and how a mean change renews them."""

from __future__ import annotations

from dataclasses import dataclass

from comity.core.arrays import Array, column_chunks, empty, is_large, namespace, release
from comity.core.layout import Layout
from comity.core.seeds import Seed
from comity.learners.base import Model
from comity.programs.optim import Moments, ServerOptimizer

_RUN_ENTRIES = 1 << 22


@dataclass(frozen=True, eq=False)
class Served:
    """The global model `[D]` and the server optimizer's moments."""

    weights: Array
    moments: Moments


def start(model: Model, server: ServerOptimizer, seed: Seed) -> Served:
    """The first state: the model as its seed makes it."""
    weights = model.init(seed.child("model"))
    return Served(weights, server.init(weights[: model.layout.shared_size]))


def renew(served: Served, change: Array, server: ServerOptimizer, layout: Layout) -> Served:
    """Move the trained part by `server`; buffers (batch-norm statistics) take the parties' mean as it is."""
    shared = slice(0, layout.shared_size)
    weights, moments = _stepped(server, served.weights[shared], change[shared], served.moments)
    if layout.shared_size < layout.size:
        buffers = (served.weights + change)[layout.shared_size :]
        weights = namespace(weights).concat([weights, buffers])
    return Served(weights, moments)


def _stepped(server: ServerOptimizer, weights: Array, change: Array, moments: Moments) -> tuple[Array, Moments]:
    """`server.step`; of a large model on the host run by run, so that no more than a run of it is in memory."""
    if not is_large(weights):
        return server.step(weights, change, moments)
    parts = (weights, change, moments.first, moments.second)
    moved = empty(len(weights), weights.dtype)
    renewed = [None if part is None else empty(len(part), part.dtype) for part in (moments.first, moments.second)]
    for run in column_chunks(len(weights), _RUN_ENTRIES):
        ours, theirs, first, second = (None if part is None else part[run] for part in parts)
        moved[run], after = server.step(ours, theirs, Moments(first, second))
        for target, value in zip(renewed, (after.first, after.second), strict=True):
            if target is not None:
                target[run] = value
        release(moved, *parts, *renewed)
    return moved, Moments(*renewed)
