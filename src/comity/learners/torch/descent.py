"""One party's local optimization on the resident arena, batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor

from comity.learners.plan import LocalPlan, LocalSGD
from comity.learners.torch.optimizers import FlatOptimizer, Shift, fusible
from comity.learners.torch.steps import FusedStep, GradientStep, Ladder

BatchStep: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(x, y) → mean loss before the step."""


class Descent:
    """Takes the steps of one party. Plain SGD goes through the fused step where the ladder has one for the batch.

    `w − lr·(g + wd·w + mu·(w − anchor) + drift)` is `keep·w − lr·g + constant`: the product that gives `g` scales `w`
    and subtracts, and one addition brings the constant.
    """

    def __init__(self, ladder: Ladder, plan: LocalPlan, lr: float, shift: Shift) -> None:
        self.ladder = ladder
        self.plan = plan
        self.lr = lr
        self.shift = shift
        self._optimizer: FlatOptimizer | None = None
        self._steps: dict[int, BatchStep] = {}

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        size = len(y)
        step = self._steps.get(size)
        if step is None:
            step = self._steps[size] = self._step(x, y)
        return step(x, y)

    def _step(self, x: Tensor, y: Tensor) -> BatchStep:
        if isinstance(self.plan, LocalSGD) and fusible(self.plan):
            keeps = (1 - self.lr * (self.plan.weight_decay + self.shift.mu), 1 - self.lr * self.plan.weight_decay)
            fused = self.ladder.fused(x, y, self.plan.batch_size, decay=keeps != (1.0, 1.0))
            if fused is not None:
                return self._with_fused(fused, keeps)
        return self._with_gradient(self.ladder.gradient(x, y, self.plan.batch_size))

    def _with_fused(self, fused: FusedStep, keeps: tuple[float, float]) -> BatchStep:
        minus_lr = -self.lr
        if self.shift.constant is None:
            return lambda x, y: fused(x, y, minus_lr, *keeps)
        constant = self.shift.constant[0] * minus_lr
        shared = self.ladder.arena.flat[: self.shift.size]

        def step(x: Tensor, y: Tensor) -> Tensor:
            loss = fused(x, y, minus_lr, *keeps)
            shared.add_(constant)
            return loss

        return step

    def _with_gradient(self, gradient: GradientStep) -> BatchStep:
        if self._optimizer is None:
            arena = self.ladder.arena
            weights, slope = arena.flat[None, : arena.regions.trained], arena.gradient[None, :]
            self._optimizer = FlatOptimizer(self.plan, self.lr, self.shift, weights, slope)
        optimizer = self._optimizer

        def step(x: Tensor, y: Tensor) -> Tensor:
            loss = gradient(x, y)
            optimizer.step()
            return loss

        return step
