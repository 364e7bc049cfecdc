"""The server's half that most programs share: a model, an optimizer's moments, and how a mean change renews them."""

from __future__ import annotations

from dataclasses import dataclass

from comity.core.arrays import Array, namespace
from comity.core.layout import Layout
from comity.core.seeds import Seed
from comity.learners.base import Model
from comity.programs.optim import Moments, ServerOptimizer


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
    weights, moments = server.step(served.weights[shared], change[shared], served.moments)
    if layout.shared_size < layout.size:
        buffers = (served.weights + change)[layout.shared_size :]
        weights = namespace(weights).concat([weights, buffers])
    return Served(weights, moments)
