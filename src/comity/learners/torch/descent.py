"""One party's local optimization on the resident arena, batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor

from comity.learners.plan import LocalPlan, LocalSGD
from comity.learners.torch.optimizers import FlatOptimizer, Shift, fusible
from comity.learners.torch.steps import GradientStep, Ladder, TracedStep

BatchStep: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(x, y) → mean loss before the step."""


class Descent:
    """Takes the steps of one party after another. Plain SGD takes the fused step where the ladder has one for a batch.

    `w − lr·(g + wd·w + mu·(w − anchor) + drift)` is `keep·w − lr·g + constant`: the product that gives `g` scales `w`
    and subtracts, and one addition brings the constant.
    """

    def __init__(self, ladder: Ladder, plan: LocalPlan, lr: float) -> None:
        self.ladder = ladder
        self.plan = plan
        self.lr = lr
        self.shift: Shift | None = None
        self._kind: object = None
        self._noise: Callable[[], None] | None = None
        self._optimizer: FlatOptimizer | None = None
        self._steps: dict[int, BatchStep] = {}
        self._drawing: set[int] = set()

    def begin(self, shift: Shift, kind: object, noise: Callable[[], None]) -> None:
        """The next party: its correction, what kind of data it has, and how its random numbers are started.

        Steps serve parties of one kind that are corrected alike, unless there is an optimizer with a state.
        """
        if self._optimizer is not None or shift is not self.shift or kind != self._kind:
            self._optimizer = None
            self._steps.clear()
            self._drawing.clear()
        self.shift, self._kind, self._noise = shift, kind, noise

    def __call__(self, x: Tensor, y: Tensor, size: int) -> Tensor:
        """One step on a batch of `size`; gives its mean loss before the step."""
        step = self._steps.get(size)
        if step is None:
            step = self._steps[size] = self._step(x, y, size)
        if self._noise is not None and size in self._drawing:
            self._noise()
            self._noise = None
        return step(x, y)

    def _step(self, x: Tensor, y: Tensor, size: int) -> BatchStep:
        assert self.shift is not None
        if isinstance(self.plan, LocalSGD) and fusible(self.plan):
            keeps = (1 - self.lr * (self.plan.weight_decay + self.shift.mu), 1 - self.lr * self.plan.weight_decay)
            fused = self.ladder.fused(x, y, self.plan.batch_size, decay=keeps != (1.0, 1.0))
            if fused is not None:
                self._note(fused, size)
                return self._with_fused(fused, keeps, self.shift)
        gradient = self.ladder.gradient(x, y, self.plan.batch_size)
        self._note(gradient, size)
        return self._with_gradient(gradient, self.shift)

    def _note(self, step: GradientStep | TracedStep, size: int) -> None:
        """Whether the party's random numbers have to be started for `step`; autograd may draw some at any time."""
        if not isinstance(step, TracedStep) or step.draws:
            self._drawing.add(size)

    def _with_fused(self, fused: TracedStep, keeps: tuple[float, float], shift: Shift) -> BatchStep:
        minus_lr = -self.lr
        if shift.constant is None:
            return lambda x, y: fused(x, y, minus_lr, *keeps)
        constant = shift.constant[0] * minus_lr
        shared = self.ladder.arena.flat[: shift.size]

        def step(x: Tensor, y: Tensor) -> Tensor:
            loss = fused(x, y, minus_lr, *keeps)
            shared.add_(constant)
            return loss

        return step

    def _with_gradient(self, gradient: GradientStep, shift: Shift) -> BatchStep:
        if self._optimizer is None:
            arena = self.ladder.arena
            weights, slope = arena.flat[None, : arena.regions.trained], arena.gradient[None, :]
            self._optimizer = FlatOptimizer(self.plan, self.lr, shift, weights, slope)
        optimizer = self._optimizer

        def step(x: Tensor, y: Tensor) -> Tensor:
            loss = gradient(x, y)
            optimizer.step()
            return loss

        return step
