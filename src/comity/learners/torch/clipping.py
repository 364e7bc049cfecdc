"""Sums of clipped gradients of single records, and the ladder of ways to compute them.

Every rung gives, for a chunk of records, the losses and the norms of the records' gradients, and adds the clipped
gradients to the arena's. From the bottom: one record after another; all of a chunk at once by `torch.func`; norms from
the layers' inputs and slopes alone (`ghost.py`). A rung is taken where it agrees with the one below it on a few
records.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeAlias

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from comity.core.errors import LearnerError
from comity.learners.base import Precision
from comity.learners.torch.arena import Arena
from comity.learners.torch.ghost import GhostGradients
from comity.learners.torch.losses import Loss, is_named, of_record
from comity.learners.torch.session import autocast, loss_scale
from comity.learners.torch.shares import clipping_shares, without_rows
from comity.learners.torch.steps import TOLERANCE

_CHUNK_BYTES = 1 << 26
"""Gradients of single records are held for at most so many bytes at a time, however large the batch."""

_CHECKED = 4


Clipped: TypeAlias = tuple[Tensor, Tensor]
"""The losses `[B]` of records and the norms `[B]` of their gradients."""


class Rung(Protocol):
    """One way to add the clipped gradients of at most `rows` records to the arena's gradient."""

    rows: int

    def __call__(self, x: Tensor, y: Tensor, clip: float) -> Clipped: ...


class Clipper:
    """Adds clipped gradients of records on one arena, by the best rung for their kind, chunk by chunk."""

    def __init__(self, arena: Arena, loss: Loss, precision: Precision) -> None:
        self.arena = arena
        self.loss = loss
        self.precision = precision
        context = partial(autocast, arena.flat.device, precision)
        scale = loss_scale(precision)
        self._single = SingleGradients(arena, loss, context, scale)
        self._mapped = MappedGradients(arena, loss, context, scale)
        self._ghost = GhostGradients.of(arena, loss, context, scale)
        self._rungs: dict[tuple[object, ...], Rung] = {}
        self._notes: dict[str, None] = {}

    @property
    def explanation(self) -> str:
        """Which rung serves which kind of record, and why; one line each."""
        return "\n".join(self._notes)

    def __call__(self, x: Tensor, y: Tensor, clip: float) -> Tensor:
        """Fill the arena's gradient with the sum of the records' clipped gradients; gives the losses `[B]`.

        Raises `LearnerError` for a module that changes its buffers, and for a loss that is no mean over records.
        """
        self.arena.gradient.zero_()
        if not len(x):
            return torch.zeros(0, device=x.device)
        before = self._kept()
        rung = self._rung(x, y)
        parts = zip(torch.split(x, rung.rows), torch.split(y, rung.rows), strict=True)
        losses = torch.cat([rung(*part, clip)[0] for part in parts])
        if not all(map(torch.equal, before, self._kept())):
            raise LearnerError(
                "the module changes its buffers as it sees data, and no noise would be on them",
                where="record-level privacy",
                mend="use layers without running statistics, such as GroupNorm",
            )
        return losses

    def _kept(self) -> list[Tensor]:
        return [tensor.clone() for tensor in self.arena.untrained()]

    def _rung(self, x: Tensor, y: Tensor) -> Rung:
        kind = x.shape[1:], x.dtype, y.shape[1:], y.dtype
        if kind in self._rungs:
            return self._rungs[kind]
        if len(x) < 2:
            return self._single  # a loss that is no mean over records does not show in one
        self._check_loss(x[:_CHECKED], y[:_CHECKED])
        rung, note = self._climb(x[:_CHECKED], y[:_CHECKED])
        self._notes[f"records of {list(x.shape[1:])}: {note}"] = None
        self._rungs[kind] = rung
        return rung

    def _climb(self, x: Tensor, y: Tensor) -> tuple[Rung, str]:
        """The highest rung that agrees with the one below it on `x` and `y`."""
        with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
            # Dropout, by which two ways would differ, is off here. Privacy does not rest on this check: what a rung
            # adds for a record is made from this record alone, and is what it has measured.
            self.arena.evaluating()
            try:
                why = self._disagreement(self._mapped, self._single, x, y)
                below: Rung = self._single if why else self._mapped
                note = f"gradients one by one: {why}" if why else "gradients by torch.func"
                if isinstance(self._ghost, str):
                    return below, f"{note}; ghost clipping is not for this model: {self._ghost}"
                why = self._disagreement(self._ghost, below, x, y)
                return (below, f"{note}; no ghost clipping: {why}") if why else (self._ghost, "ghost clipping")
            finally:
                self.arena.training()

    def _disagreement(self, rung: Rung, below: Rung, x: Tensor, y: Tensor) -> str | None:
        """How two rungs differ, where half of the records are clipped; None where they agree."""
        _, norms = self._run(below, x, y, 1.0)
        clip = float(norms[norms.isfinite()].median()) if bool(norms.isfinite().any()) else 1.0
        clip = clip or 1.0
        expected, norms = self._run(below, x, y, clip)
        try:
            found, measured = self._run(rung, x, y, clip)
        except Exception as error:  # modules fail to be mapped, or listened to, in as many ways as there are
            return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        for name, one, other in (("norms", norms, measured), ("sum", expected, found)):
            alike = (one == other) | (one.isnan() & other.isnan())
            gap = float(torch.linalg.vector_norm(torch.where(alike, 0.0, one - other)))
            bound = TOLERANCE[self.precision] * float(torch.linalg.vector_norm(one.nan_to_num())) + 1e-6
            if gap and not gap <= bound:
                return f"the {name} of gradients differ by {gap:.2g}, more than {bound:.2g}"
        return None

    def _run(self, rung: Rung, x: Tensor, y: Tensor, clip: float) -> tuple[Tensor, Tensor]:
        torch.manual_seed(0)
        self.arena.gradient.zero_()
        parts = zip(torch.split(x, rung.rows), torch.split(y, rung.rows), strict=True)
        norms = torch.cat([rung(*part, clip)[1] for part in parts])
        summed = self.arena.gradient.clone()
        self.arena.gradient.zero_()
        return summed, norms

    def _check_loss(self, x: Tensor, y: Tensor) -> None:
        if is_named(self.loss):
            return
        self.arena.evaluating()
        try:
            outputs = self.arena.module(x)
            together = self.loss.mean(outputs, y)
            each = [self.loss.mean(outputs[k : k + 1], y[k : k + 1]) for k in range(len(x))]
        finally:
            self.arena.training()
        mean = torch.stack(each).mean()
        if not torch.allclose(together, mean, rtol=TOLERANCE[self.precision], atol=1e-6):
            raise LearnerError(
                f"the loss {self.loss.name!r} of {len(x)} records is {float(together):.6g}, "
                f"and the mean of their own losses is {float(mean):.6g}",
                where="record-level privacy",
                mend="give a loss that is the mean of the losses of single records",
            )


class SingleGradients:
    """One record after another by autograd: slow, and right for every module."""

    rows = 1

    def __init__(self, arena: Arena, loss: Loss, context: Callable[[], torch.autocast], scale: float) -> None:
        self.arena = arena
        self.loss = of_record(loss)
        self.context = context
        self.scale = scale
        named = dict(arena.module.named_parameters())
        self._trained = [named[name] for name in arena.parameters]

    def __call__(self, x: Tensor, y: Tensor, clip: float) -> Clipped:
        with torch.enable_grad():
            with self.context():
                value = self.loss(self.arena.module(x), y)
            gradients = torch.autograd.grad(
                value * self.scale, self._trained, allow_unused=True, materialize_grads=True
            )
        rows = {
            name: gradient.reshape(1, -1) / self.scale
            for name, gradient in zip(self.arena.parameters, gradients, strict=True)
        }
        return value.detach()[None].float(), add_clipped(self.arena, rows, clip)


class MappedGradients:
    """The gradients of a chunk of records at once: `vmap` over `grad` (`torch.func`)."""

    def __init__(self, arena: Arena, loss: Loss, context: Callable[[], torch.autocast], scale: float) -> None:
        self.arena = arena
        self.scale = scale
        self.rows = max(1, _CHUNK_BYTES // (4 * max(arena.regions.trained, 1)))
        one, module = of_record(loss), arena.module

        def record_loss(
            trained: dict[str, Tensor], others: dict[str, Tensor], x: Tensor, y: Tensor
        ) -> tuple[Tensor, Tensor]:
            with context():
                value = one(functional_call(module, {**trained, **others}, (x[None],)), y[None]).float()
            return value * scale, value

        self._map = vmap(grad(record_loss, has_aux=True), in_dims=(None, None, 0, 0), randomness="different")

    def __call__(self, x: Tensor, y: Tensor, clip: float) -> Clipped:
        gradients, losses = self._map(self.arena.parameters, self.arena.others, x, y)
        rows = {name: gradient.flatten(1) for name, gradient in gradients.items()}
        if self.scale != 1.0:
            rows = {name: gradient / self.scale for name, gradient in rows.items()}
        return losses.detach(), add_clipped(self.arena, rows, clip)


def add_clipped(arena: Arena, rows: dict[str, Tensor], clip: float) -> Tensor:
    """Add the clipped gradients `[B, entries]` of records to the arena's gradient; gives their norms `[B]`."""
    parts = torch.stack([torch.linalg.vector_norm(gradient, dim=1) for gradient in rows.values()])
    norms: Tensor = torch.linalg.vector_norm(parts, dim=0)
    shares = clipping_shares(norms, clip)
    for name, gradient in rows.items():
        arena.gradients[name].view(-1).addmv_(without_rows(gradient, ~norms.isfinite()).t(), shares)
    return norms
