"""Server optimizers: what the server does with the mean change of the model (Reddi et al. 2020, arXiv 2003.00295)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from comity.core.arrays import Array, namespace
from comity.core.checks import fraction, positive


@dataclass(frozen=True, eq=False)
class Moments:
    """The running first and second moments of the mean change, `[D]` each; None where an optimizer keeps none."""

    first: Array = None
    second: Array = None


class ServerOptimizer(Protocol):
    """`step` moves `weights` along `change`, the mean of the parties' changes: the negative of a gradient.

    It treats every entry by itself, so that a large model can be moved run by run.
    """

    def init(self, weights: Array) -> Moments: ...

    def step(self, weights: Array, change: Array, moments: Moments) -> tuple[Array, Moments]: ...


@dataclass(frozen=True)
class SGD:
    """`w ← w + lr·m`, `m ← momentum·m + Δ`. With lr 1 and no momentum the server takes the mean of the models."""

    lr: float = 1.0
    momentum: float = 0.0

    def __post_init__(self) -> None:
        positive(self, "lr")
        fraction(self, "momentum")

    def init(self, weights: Array) -> Moments:
        return Moments(first=weights * 0 if self.momentum else None)

    def step(self, weights: Array, change: Array, moments: Moments) -> tuple[Array, Moments]:
        first = self.momentum * moments.first + change if moments.first is not None else change
        return weights + self.lr * first, Moments(first=first if self.momentum else None)


@dataclass(frozen=True)
class Adagrad:
    """`v ← v + Δ²`, `w ← w + lr·m / (√v + τ)`."""

    lr: float = 0.1
    beta1: float = 0.0
    tau: float = 1e-3

    def __post_init__(self) -> None:
        positive(self, "lr", "tau")
        fraction(self, "beta1")

    def init(self, weights: Array) -> Moments:
        return _adaptive_start(weights, self.tau)

    def step(self, weights: Array, change: Array, moments: Moments) -> tuple[Array, Moments]:
        return _adaptive_step(self, weights, change, moments, moments.second + change**2)


@dataclass(frozen=True)
class Adam:
    """`v ← β₂·v + (1 − β₂)·Δ²`, `w ← w + lr·m / (√v + τ)`; no bias correction, as in the paper."""

    lr: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3

    def __post_init__(self) -> None:
        positive(self, "lr", "tau")
        fraction(self, "beta1", "beta2")

    def init(self, weights: Array) -> Moments:
        return _adaptive_start(weights, self.tau)

    def step(self, weights: Array, change: Array, moments: Moments) -> tuple[Array, Moments]:
        second = self.beta2 * moments.second + (1 - self.beta2) * change**2
        return _adaptive_step(self, weights, change, moments, second)


@dataclass(frozen=True)
class Yogi:
    """`v ← v − (1 − β₂)·Δ²·sign(v − Δ²)`, `w ← w + lr·m / (√v + τ)`."""

    lr: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3

    def __post_init__(self) -> None:
        positive(self, "lr", "tau")
        fraction(self, "beta1", "beta2")

    def init(self, weights: Array) -> Moments:
        return _adaptive_start(weights, self.tau)

    def step(self, weights: Array, change: Array, moments: Moments) -> tuple[Array, Moments]:
        square = change**2
        sign = namespace(square).sign(moments.second - square)
        return _adaptive_step(self, weights, change, moments, moments.second - (1 - self.beta2) * square * sign)


def _adaptive_start(weights: Array, tau: float) -> Moments:
    return Moments(first=weights * 0, second=weights * 0 + tau**2)


def _adaptive_step(
    optimizer: Adagrad | Adam | Yogi, weights: Array, change: Array, moments: Moments, second: Array
) -> tuple[Array, Moments]:
    first = optimizer.beta1 * moments.first + (1 - optimizer.beta1) * change
    moved = weights + optimizer.lr * first / (namespace(second).sqrt(second) + optimizer.tau)
    return moved, Moments(first, second)
