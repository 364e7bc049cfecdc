"""Stacked arenas: the same module for several parties, one row of a flat tensor each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from comity.learners.base import Precision
from comity.learners.torch import passes
from comity.learners.torch.arena import Arena
from comity.learners.torch.losses import Loss
from comity.learners.torch.session import autocast, loss_scale
from comity.learners.torch.trace import Objective, trace_gradient


class Stack:
    """`parties` rows of an arena, and training steps traced over all of them.

    A step takes `x` `[K, B, ...]`, `y` `[K, B, ...]` and `shares` `[K, B]`, the weight of each example in its
    party's mean (zero for padding), and returns each party's mean loss `[K]`.
    """

    def __init__(self, arena: Arena, loss: Loss, flat: Tensor, gradient: Tensor, precision: Precision) -> None:
        self.arena = arena
        self.regions = arena.regions
        self.loss = loss
        self.precision = precision
        self.flat = flat
        self.gradient = gradient
        self.parameters = {name: self._rows(self.flat, name, array) for name, array in arena.parameters.items()}
        self.gradients = {name: self._rows(self.gradient, name, array) for name, array in arena.parameters.items()}
        self.others = {
            name: self._rows(self.flat, name, array) if name in self.regions.spans else array
            for name, array in arena.others.items()
        }
        self._objective = self._mapped(arena)
        self._steps: dict[tuple[Any, ...], Any] = {}
        self._first: dict[int, Stack] = {}

    @classmethod
    def of(cls, arena: Arena, loss: Loss, parties: int, precision: Precision) -> Stack:
        """A stack with memory of its own."""
        device = arena.flat.device
        flat = torch.zeros(parties, arena.regions.total, device=device)
        gradient = torch.zeros(parties, arena.regions.trained, device=device)
        return cls(arena, loss, flat, gradient, precision)

    def first(self, parties: int) -> Stack:
        """The first rows of this stack as a stack: for the steps that only they still take."""
        if parties == len(self.flat):
            return self
        if parties not in self._first:
            rows = self.flat[:parties], self.gradient[:parties]
            self._first[parties] = Stack(self.arena, self.loss, *rows, self.precision)
        return self._first[parties]

    def load(self, weights: Tensor, local: Tensor | None) -> None:
        """Start parties, one a row; rows beyond theirs keep what they had."""
        rows = len(self.flat) if len(weights) == 1 else len(weights)
        self.regions.load(self.flat[:rows], weights, local)

    def store(self, index: Tensor, start: Tensor, change: Tensor, local: Tensor | None) -> None:
        """Put how far the first rows have moved from `start` into the rows at `index` of `change`; `local` likewise."""
        rows = self.flat[: len(index)]
        for inside, outside in self.regions.weights:
            change[:, outside].index_copy_(0, index, rows[:, inside] - start[:, outside])
        if local is not None:
            for inside, outside in self.regions.local:
                local[:, outside].index_copy_(0, index, rows[:, inside])

    def fused_step(self, x: Tensor, y: Tensor, shares: Tensor) -> Any:
        """The step `w ← w − lr·g` for batches like this one, called with `(x, y, shares, minus_lr)`."""
        return self._step(x, y, shares, fused=True)

    def gradient_step(self, x: Tensor, y: Tensor, shares: Tensor) -> Any:
        """The step that fills `gradient`, called with `(x, y, shares)`."""
        return self._step(x, y, shares, fused=False)

    def _step(self, x: Tensor, y: Tensor, shares: Tensor, *, fused: bool) -> Any:
        key = (x.shape, x.dtype, y.shape, y.dtype, fused)
        if key not in self._steps:
            self._steps[key] = self._trace(x, y, shares, fused=fused)
        return self._steps[key]

    def _trace(self, x: Tensor, y: Tensor, shares: Tensor, *, fused: bool) -> Any:
        scale = loss_scale(self.precision)
        traced = trace_gradient(self._objective, self.parameters, self.others, (x, y, shares), scale)
        passes.simplify(traced.graph)
        if x.device.type == "cpu":
            passes.turn_short_rows(traced.graph)
        arrays = (*self.parameters.values(), *self.others.values())
        if fused:
            passes.fuse_sgd(traced.graph, len(self.parameters), decay=[])
        else:
            passes.write_gradients(traced.graph, len(self.parameters), len(self.others))
            arrays = (*arrays, *self.gradients.values())
        play = passes.bind(traced, arrays)

        def step(*batch: Any) -> Tensor:
            with torch.inference_mode():
                return play(*batch)[0]  # type: ignore[no-any-return]

        return step

    def _mapped(self, arena: Arena) -> Objective:
        """The sum over parties of their masked mean losses, whose gradient is each party's own."""
        each, module, device = self.loss.each, arena.module, arena.flat.device
        assert each is not None
        spans = arena.regions.spans

        def outputs_of(trained: Any, others: Any, x: Tensor) -> Tensor:
            outputs: Tensor = functional_call(module, {**trained, **others}, (x,))
            return outputs

        def objective(trained: Any, others: Any, batch: Any) -> tuple[Tensor, Tensor]:
            x, y, shares = batch
            axes = (dict.fromkeys(trained, 0), {name: 0 if name in spans else None for name in others}, 0)
            with autocast(device, self.precision):
                outputs = vmap(outputs_of, in_dims=axes)(trained, others, x)
                # The loss of an example needs no mapping: one call over all examples of all parties is faster.
                losses = each(outputs.flatten(0, 1), y.flatten(0, 1)).float().view(shares.shape) * shares
            means = losses.sum(1)
            return means.sum(), means

        return objective

    def _rows(self, flat: Tensor, name: str, array: Tensor) -> Tensor:
        return flat[:, self.regions.spans[name]].view(len(flat), *array.shape)
