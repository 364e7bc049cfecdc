"""Local optimizers as a few flat operations on the gradient arena, equal to `torch.optim` to rounding.

They run on `[K, P]` for K parties at once (K = 1 for the resident trainer). All parties start together, so one step
count serves them all; those that have finished are a suffix of the rows and are left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from comity.core.errors import ConfigError
from comity.learners.plan import Correction, LocalAdam, LocalAdamW, LocalPlan, LocalSGD

_CLIP_EPS = 1e-6


def fusible(plan: LocalPlan) -> bool:
    """Whether a step is `w·keep − lr·g + constant`, which can be fused into the product that gives `g`."""
    return isinstance(plan, LocalSGD) and not plan.momentum and plan.clip_norm is None


@dataclass(frozen=True, eq=False)
class Shift:
    """A linear correction laid out for an arena: `g + mu·w + constant` on the first `size` columns.

    `constant` is `drift − mu·anchor`, `[1 or K, size]`, or None where there is neither.
    """

    mu: float
    constant: Tensor | None
    size: int

    @property
    def is_none(self) -> bool:
        return not self.mu and self.constant is None

    @classmethod
    def of(cls, correction: Correction, size: int, device: torch.device) -> Shift:
        """The shift of a correction of the travelling vector, whose first `size` entries are trained."""
        constant: Tensor | None = None
        mu = correction.mu if correction.anchor is not None else 0.0
        if correction.drift is not None:
            constant = _rows(correction.drift, size, device)
        if mu and correction.anchor is not None:
            pull = _rows(correction.anchor, size, device) * -mu
            constant = pull if constant is None else constant + pull
        return cls(mu, constant, size)

    def row(self, index: int) -> Shift:
        """The shift of one party."""
        if self.constant is None or len(self.constant) == 1:
            return self
        return Shift(self.mu, self.constant[index : index + 1], self.size)

    def take(self, rows: Tensor) -> Shift:
        """The shifts of the parties at `rows`."""
        if self.constant is None or len(self.constant) == 1:
            return self
        return Shift(self.mu, self.constant[rows], self.size)

    def add_to(self, gradient: Tensor, weights: Tensor) -> None:
        """Correct `gradient` `[K, P]` at `weights` `[K, P]` in place."""
        if self.mu:
            gradient[:, : self.size].add_(weights[:, : self.size], alpha=self.mu)
        if self.constant is not None:
            constant = self.constant if len(self.constant) == 1 else self.constant[: len(gradient)]
            gradient[:, : self.size].add_(constant)


def _rows(vector: Tensor, size: int, device: torch.device) -> Tensor:
    rows = torch.as_tensor(vector, dtype=torch.float32, device=device)
    return rows.reshape(-1, rows.shape[-1])[:, :size]


class Update(Protocol):
    """One optimizer step from a gradient that is already corrected and clipped; both are `[K, P]`."""

    def __call__(self, weights: Tensor, gradient: Tensor) -> None: ...


class FlatOptimizer:
    """Correction, clipping and update of `weights` `[K, P]` by `gradient` `[K, P]`, in this order.

    `clip_norm` bounds the norm of the corrected gradient, over all that the party trains; weight decay comes after
    it, as in `torch.optim` after `clip_grad_norm_`.
    """

    def __init__(self, plan: LocalPlan, lr: float, shift: Shift, weights: Tensor, gradient: Tensor) -> None:
        self.clip_norm = plan.clip_norm
        self.shift = shift
        self.weights = weights
        self.gradient = gradient
        self.update = _update(plan, lr, weights)

    def step(self, active: int | None = None) -> None:
        """One step of the first `active` rows, of all when None."""
        weights, gradient = self.weights[:active], self.gradient[:active]
        self.shift.add_to(gradient, weights)
        if self.clip_norm is not None:
            norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
            gradient.mul_((self.clip_norm / (norm + _CLIP_EPS)).clamp_(max=1.0))
        self.update(weights, gradient)


def _update(plan: LocalPlan, lr: float, weights: Tensor) -> Update:
    match plan:
        case LocalSGD():
            return _SGD(plan, lr)
        case LocalAdam():
            return _Adam(plan, lr, weights)
        case _:
            raise ConfigError(
                f"the torch learner has no optimizer for a plan of type {type(plan).__name__}",
                where="local",
                mend="use LocalSGD, LocalAdam or LocalAdamW",
            )


class _SGD:
    def __init__(self, plan: LocalSGD, lr: float) -> None:
        self.plan = plan
        self.lr = lr
        self.velocity: Tensor | None = None

    def __call__(self, weights: Tensor, gradient: Tensor) -> None:
        plan = self.plan
        if plan.weight_decay:
            gradient.add_(weights, alpha=plan.weight_decay)
        if plan.momentum:
            if self.velocity is None:
                self.velocity = gradient.clone()
            else:
                self.velocity[: len(gradient)].mul_(plan.momentum).add_(gradient)
            velocity = self.velocity[: len(gradient)]
            gradient = gradient.add_(velocity, alpha=plan.momentum) if plan.nesterov else velocity
        weights.add_(gradient, alpha=-self.lr)


class _Adam:
    def __init__(self, plan: LocalAdam, lr: float, weights: Tensor) -> None:
        self.plan = plan
        self.lr = lr
        self.count = 0
        self.mean = torch.zeros_like(weights)
        self.square = torch.zeros_like(weights)

    def __call__(self, weights: Tensor, gradient: Tensor) -> None:
        plan, rows = self.plan, len(gradient)
        first, second = plan.betas
        self.count += 1
        if plan.weight_decay and isinstance(plan, LocalAdamW):
            weights.mul_(1 - self.lr * plan.weight_decay)
        elif plan.weight_decay:
            gradient.add_(weights, alpha=plan.weight_decay)
        mean = self.mean[:rows].lerp_(gradient, 1 - first)
        square = self.square[:rows].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        scale = square.div(1 - second**self.count).sqrt_().add_(plan.eps)
        weights.addcdiv_(mean, scale, value=-self.lr / (1 - first**self.count))
