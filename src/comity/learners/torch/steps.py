"""The ladder of training steps: a traced graph where it agrees with autograd, otherwise autograd itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor, fx

from comity.learners.base import Precision
from comity.learners.torch import passes
from comity.learners.torch.arena import Arena
from comity.learners.torch.convolutions import optimise_convolutions
from comity.learners.torch.losses import Loss
from comity.learners.torch.session import autocast, loss_scale
from comity.learners.torch.trace import mean_loss, trace_gradient

_SMALL_BATCH = 64
"""Batches up to this size are traced whatever the plan; larger odd ones are too rare to pay for a trace."""

_LARGE_MODEL = 1 << 26

TOLERANCE: Mapping[Precision, float] = {"float32": 1e-3, "bfloat16": 5e-2, "float16": 5e-2}
"""How far two ways of computing the same may be apart, relative to the norm of the result."""


GradientStep: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Fills the gradient arena from one batch and returns the mean loss."""


@dataclass(frozen=True, eq=False)
class TracedStep:
    """A graph that is played on a batch and returns its mean loss; `draws` says whether it draws random numbers.

    Called with `(x, y)` it fills the gradient arena. With the update fused in it is called with `(x, y, −lr, *keeps)`
    and takes a step `w ← keep·w − lr·g` on the arena; `keeps` is (shared, local), of which it takes the first `kept`.
    """

    play: Callable[..., tuple[Tensor]]
    draws: bool
    kept: int = 0

    def __call__(self, x: Tensor, y: Tensor, *factors: float) -> Tensor:
        with torch.inference_mode():
            return self.play(x, y, *factors[: 1 + self.kept])[0]


Shape: TypeAlias = tuple[torch.Size, torch.dtype, torch.Size, torch.dtype]
"""What a step is traced for: shapes and dtypes of a batch."""


def _shape(x: Tensor, y: Tensor) -> Shape:
    return x.shape, x.dtype, y.shape, y.dtype


Verdict: TypeAlias = str | None
"""Why a rung does not hold, or None where it does."""

Measure: TypeAlias = Callable[[TracedStep, Tensor, Tensor], Tensor]
"""(step, x, y) → the gradient that the step takes of the batch."""


class Ladder:
    """The training steps of one arena, made once for each batch shape and kept."""

    def __init__(self, arena: Arena, loss: Loss, precision: Precision) -> None:
        self.arena = arena
        self.loss = loss
        self.precision = precision
        self.scale = loss_scale(precision)
        self._gradients: dict[Shape, GradientStep] = {}
        self._fused: dict[tuple[Shape, bool], TracedStep | None] = {}
        self._notes: dict[str, None] = {}
        self._autocast: Callable[[], torch.autocast] = partial(autocast, arena.flat.device, precision)
        self._objective = mean_loss(arena.module, loss.mean, self._autocast)

    @property
    def explanation(self) -> str:
        """Which rung serves which batch shape, and why; one line each."""
        return "\n".join(self._notes)

    def autograd(self, x: Tensor, y: Tensor) -> Tensor:
        """The lowest rung: the module itself and autograd, accumulating into the gradient arena."""
        self.arena.gradient.zero_()
        with torch.enable_grad():
            with self._autocast():
                loss = self.loss.mean(self.arena.module(x), y)
            torch.autograd.backward([loss if self.scale == 1.0 else loss * self.scale])
        if self.scale != 1.0:
            self.arena.gradient.div_(self.scale)
        return loss.detach()

    def gradient(self, x: Tensor, y: Tensor, planned: int | None) -> GradientStep:
        """The step that fills the gradient arena for batches like this one."""
        shape = _shape(x, y)
        if shape not in self._gradients:
            traced = self._climb(x, y, planned, "traced", self._trace_gradient, self._gradient_of)
            self._gradients[shape] = traced or self.autograd
        return self._gradients[shape]

    def fused(self, x: Tensor, y: Tensor, planned: int | None, *, decay: bool) -> TracedStep | None:
        """The step with the SGD update fused in for batches like this one, or None: then use `gradient`."""
        key = (_shape(x, y), decay)
        if key not in self._fused:

            def trace(x: Tensor, y: Tensor) -> TracedStep:
                return self._trace_fused(x, y, decay=decay)

            self._fused[key] = self._climb(x, y, planned, "traced, update fused", trace, self._change_of)
        return self._fused[key]

    def _climb(
        self,
        x: Tensor,
        y: Tensor,
        planned: int | None,
        rung: str,
        trace: Callable[[Tensor, Tensor], TracedStep],
        measure: Measure,
    ) -> TracedStep | None:
        """A traced step if it can be had and agrees with autograd on this batch, which leaves no mark anywhere."""
        step, why = None, None
        if self.arena.regions.trained > _LARGE_MODEL:
            why = f"with over {_LARGE_MODEL:,} trained parameters a trace gains little and its check costs memory"
        elif len(x) > _SMALL_BATCH and len(x) != planned:
            why = f"more than {_SMALL_BATCH} examples and not the planned batch size"
        else:
            saved = self.arena.snapshot()
            with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
                try:
                    step = trace(x, y)
                    why = self._disagreement(step, measure, x, y)
                except Exception as error:  # a module may fail to be traced in any way
                    why = f"cannot be traced ({type(error).__name__}: {(str(error).splitlines() or [''])[0]})"
                finally:
                    self.arena.restore(saved)
        self._notes[f"batches of {list(x.shape)}: " + (rung if why is None else f"autograd: {why}")] = None
        return step if why is None else None

    def _disagreement(self, step: TracedStep, measure: Measure, x: Tensor, y: Tensor) -> Verdict:
        outcomes = []
        start = self.arena.snapshot()
        trained = self.arena.regions.trained
        runs: list[Callable[[], Tensor]] = [lambda: self._gradient_of(self.autograd, x, y), lambda: measure(step, x, y)]
        for run in runs:
            torch.manual_seed(0)
            gradient = run()
            outcomes.append((gradient, self.arena.flat[trained:].clone()))
            self.arena.restore(start)
        (expected, buffers), (found, moved) = outcomes
        tolerance = TOLERANCE[self.precision]
        for name, one, other in (("gradient", expected, found), ("buffers", buffers, moved)):
            alike = (one == other) | (one.isnan() & other.isnan())
            error = float(torch.linalg.vector_norm(torch.where(alike, 0.0, one - other)))
            bound = tolerance * float(torch.linalg.vector_norm(one)) + 1e-6
            if error and not error <= bound:
                return f"the traced {name} differ from autograd by {error:.2g}, more than {bound:.2g}"
        return None

    def _gradient_of(self, step: GradientStep, x: Tensor, y: Tensor) -> Tensor:
        step(_shifted(x), y)
        return self.arena.gradient.clone()

    def _change_of(self, step: TracedStep, x: Tensor, y: Tensor) -> Tensor:
        before = self.arena.flat[: self.arena.regions.trained].clone()
        step(_shifted(x), y, -1.0, 1.0, 1.0)
        return before - self.arena.flat[: self.arena.regions.trained]

    def _graph(self, x: Tensor, y: Tensor) -> fx.GraphModule:
        traced = trace_gradient(self._objective, self.arena.parameters, self.arena.others, (x, y), self.scale)
        passes.simplify(traced.graph)
        if x.device.type == "cpu" and self.precision == "float32":
            optimise_convolutions(traced.graph)
        passes.reuse_memory(traced.graph)
        return traced

    def _trace_gradient(self, x: Tensor, y: Tensor) -> TracedStep:
        arena, traced = self.arena, self._graph(x, y)
        draws = passes.draws(traced.graph)
        passes.write_gradients(traced.graph, len(arena.parameters), len(arena.others))
        fixed = (*arena.parameters.values(), *arena.others.values(), *arena.gradients.values())
        return TracedStep(passes.bind(traced, fixed), draws)

    def _trace_fused(self, x: Tensor, y: Tensor, *, decay: bool) -> TracedStep:
        arena, traced = self.arena, self._graph(x, y)
        draws = passes.draws(traced.graph)
        shared = arena.regions.shared
        groups = [int(arena.regions.spans[name].start >= shared) for name in arena.parameters] if decay else []
        passes.fuse_sgd(traced.graph, len(arena.parameters), decay=groups)
        fixed = (*arena.parameters.values(), *arena.others.values())
        return TracedStep(passes.bind(traced, fixed), draws, max(groups, default=-1) + 1)


def _shifted(x: Tensor) -> Tensor:
    """Another batch of the same shape, so that a value baked into a trace shows."""
    return x.roll(1, 0)
