"""The batched trainer: K parties at once on stacked parameters `[K, D]`.

Batches are padded and masked to one size; parties are sorted by their number of steps, so that those still training
are a prefix of the rows. They are taken in chunks small enough for the processor's cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from comity.core.arrays import Array
from comity.core.layout import Layout
from comity.data.examples import Examples
from comity.learners.base import Trained, Work
from comity.learners.plan import LocalPlan
from comity.learners.torch.losses import Loss
from comity.learners.torch.optimizers import FlatOptimizer, Shift, fusible
from comity.learners.torch.resident import ResidentTrainer
from comity.learners.torch.session import session
from comity.learners.torch.stack import Stack
from comity.learners.torch.steps import TOLERANCE
from comity.learners.torch.timetable import Timetable

_CHUNK = {"cpu": 64}
_CHUNK_ACCELERATOR = 256
_CHECKED_STEPS = 8


def obstacle(module: nn.Module, layout: Layout, loss: Loss) -> str | None:
    """Why K parties of a model cannot be trained as one batch, or None, from the module's parts alone.

    What only shows when it runs (an operation that `vmap` cannot map) makes the batched trainer fall back.
    """
    if loss.each is None:
        return f"the loss {loss.name!r} gives no loss of a single example, which padding needs"
    for name, part in module.named_modules():
        kind = type(part).__name__
        if isinstance(part, nn.modules.batchnorm._NormBase) and part.track_running_stats:
            return f"{name or kind} ({kind}) takes statistics over a batch, which padding would change"
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            return f"{name or kind} ({kind}) takes statistics over a batch, which padding would change"
        rate = part.p if isinstance(part, nn.modules.dropout._DropoutNd) else getattr(part, "dropout", 0.0)
        if isinstance(rate, (int, float)) and rate > 0:
            return f"{name or kind} ({kind}) drops units at random, which each party does from its own seed"
        if isinstance(part, nn.RNNBase):
            return f"{name or kind} ({kind}) cannot be mapped over parties by torch.func.vmap"
    return None


def record_by_record(plan: LocalPlan) -> str | None:
    """Why a plan has parties trained one at a time whatever the model, or None."""
    if plan.privacy is None:
        return None
    return "record-level privacy maps over the records of one party, which leaves no room for several parties"


class BatchedTrainer:
    """Trains K parties at once; evaluates, and trains what cannot be batched, on a resident trainer."""

    def __init__(self, resident: ResidentTrainer, loss: Loss) -> None:
        self.resident = resident
        self.layout = resident.layout
        self.loss = loss
        self._stacks: dict[int, Stack] = {}
        self._verdicts: dict[tuple[object, ...], str | None] = {}

    @property
    def explanation(self) -> str:
        """Which kinds of work were trained as one batch and, where they were not, why; one line each."""
        lines = [
            "parties trained as one batch" if why is None else f"parties trained one by one: {why}"
            for why in self._verdicts.values()
        ]
        return "\n".join([*dict.fromkeys(lines), *filter(None, [self.resident.explanation])])

    def place(self, array: NDArray[np.float32]) -> Array:
        """The array itself on a CPU, else a tensor on the trainer's device."""
        return self.resident.place(array)

    def evaluate(
        self, weights: Array, local: Array | None, examples: Sequence[Examples]
    ) -> Mapping[str, NDArray[np.float64]]:
        """Additive statistics `[K, S]` of every metric and of the loss."""
        return self.resident.evaluate(weights, local, examples)

    def train(self, work: Work) -> Trained:
        """Train all parties; equal to resident training but for rounding."""
        why = record_by_record(work.plan) or _mixture(work.examples)
        if why is None:
            why = self._verdict(work)
        else:
            self._verdicts[(why,)] = why
        return self._train(work) if why is None else self.resident.train(work)

    def _verdict(self, work: Work) -> str | None:
        """Why this kind of work cannot be batched, found once by training a few parties both ways."""
        x, y = work.examples[0].x, work.examples[0].y
        plan = work.plan
        key = (type(plan), plan.batch_size, fusible(plan), x.shape[1:], x.dtype, y.shape[1:])
        if key not in self._verdicts:
            trial = _trial(work)
            expected = self.resident.train(trial)
            tolerance = TOLERANCE[self.resident.hardware.precision]
            try:
                self._verdicts[key] = _disagreement(self._train(trial), expected, tolerance)
            except Exception as error:  # vmap and tracing fail in as many ways as there are modules
                first = (str(error).splitlines() or [""])[0]
                self._verdicts[key] = f"they cannot be mapped ({type(error).__name__}: {first})"
        return self._verdicts[key]

    def _train(self, work: Work) -> Trained:
        resident, parties = self.resident, len(work.examples)
        device = resident.device
        with session(device, resident.hardware), torch.no_grad():
            weights, local = resident.border.receive(work.weights, work.local, parties)
            resident.evaluator.inspect(work.examples[0])  # they are all of one kind
            counts = np.array(
                [work.plan.batches(len(party), work.budget(index)) for index, party in enumerate(work.examples)]
            )
            outcome = _Outcome(
                change=resident.border.room(work.room, parties),
                local=None if local is None else torch.empty(parties, self.layout.local_size, device=device),
                losses=torch.empty(parties, 2, device=device),
            )
            shift = Shift.of(work.correction, self.layout.shared_size, device)
            by_steps = np.argsort(-counts, kind="stable")
            size = _chunk_size(parties, device)
            for start in range(0, parties, size):
                rows = by_steps[start : start + size]
                self._train_chunk(work, rows, counts[rows], (weights, local), shift, self._stack(size), outcome)
            steps = torch.from_numpy(counts[:, None].astype(np.float32)).to(device)
        return resident.border.send(work, outcome.change, outcome.local, steps, outcome.losses)

    def _train_chunk(
        self,
        work: Work,
        rows: NDArray[np.int64],
        counts: NDArray[np.int64],
        start: tuple[Tensor, Tensor | None],
        shift: Shift,
        stack: Stack,
        outcome: _Outcome,
    ) -> None:
        index = torch.from_numpy(rows).to(stack.flat.device)
        weights, local = (None if part is None else _take(part, index) for part in start)
        assert weights is not None
        stack.load(weights, local)
        table = Timetable.of(work, rows, counts, len(stack.flat))
        lr = work.plan.rate(work.round)
        shift = shift.take(index)
        fused = fusible(work.plan) and not getattr(work.plan, "weight_decay", 0.0) and shift.is_none
        trained = stack.regions.trained
        optimizer = None if fused else FlatOptimizer(work.plan, lr, shift, stack.flat[:, :trained], stack.gradient)
        sizes = torch.from_numpy(table.sizes).to(index.device)
        sums = torch.zeros_like(sizes[0])
        for seen, active, batch in zip(sizes, table.active(), table.batches(self.resident.feeder), strict=True):
            width = _at_least(active, len(stack.flat))
            first = stack.first(width)
            x, y, shares = (part[:width] for part in batch)
            if optimizer is None:
                means = first.fused_step(x, y, shares)(x, y, shares, -lr)
            else:
                means = first.gradient_step(x, y, shares)(x, y, shares)
                optimizer.step(active)
            sums[:width].addcmul_(means, seen[:width])
        outcome.losses[index, 0] = sums[: len(rows)]
        outcome.losses[index, 1] = sizes.sum(0)[: len(rows)]
        stack.store(index, weights, outcome.change, outcome.local)

    def _stack(self, size: int) -> Stack:
        if size not in self._stacks:
            self._stacks[size] = Stack.of(self.resident.arena, self.loss, size, self.resident.hardware.precision)
        return self._stacks[size]


@dataclass(frozen=True, eq=False)
class _Outcome:
    change: Tensor
    local: Tensor | None
    losses: Tensor


def _take(vectors: Tensor, index: Tensor) -> Tensor:
    """The rows at `index`; one row where all are the same memory."""
    return vectors[:1] if len(vectors) == 1 or vectors.stride(0) == 0 else vectors[index]


def _chunk_size(parties: int, device: torch.device) -> int:
    """Parties a chunk: chunks of equal size, of which there are few different ones, as each is traced anew."""
    most = _CHUNK.get(device.type, _CHUNK_ACCELERATOR)
    grain = max(1, most // 8) if parties > most else 1
    each = ceil(parties / ceil(parties / most))
    return ceil(each / grain) * grain


def _at_least(active: int, width: int) -> int:
    """`active` rows or somewhat more: steps are traced for few different widths, quarters of the whole."""
    grain = ceil(width / 4)
    return min(width, ceil(active / grain) * grain)


def _mixture(parties: Sequence[Examples]) -> str | None:
    kinds = {
        (party.x.shape[1:], party.x.dtype, party.y.shape[1:], party.y.dtype, party.affine is None) for party in parties
    }
    if len(kinds) > 1 or not all(len(party) for party in parties):
        return "their data differ in shape or dtype, or a party has no examples"
    return None


def _trial(work: Work) -> Work:
    """A few steps of the smallest, the middle and the largest party."""
    by_size = sorted(range(len(work.examples)), key=lambda index: len(work.examples[index]))
    chosen = sorted({by_size[0], by_size[len(by_size) // 2], by_size[-1]})
    first = work.plan.batches(len(work.examples[by_size[0]]))
    rows = np.array(chosen)
    correction = work.correction
    return replace(
        work,
        examples=[work.examples[index] for index in chosen],
        seeds=[work.seeds[index] for index in chosen],
        budgets=(),
        plan=replace(work.plan, epochs=None, steps=min(first, _CHECKED_STEPS)),
        weights=_pick(work.weights, rows),
        local=_pick(work.local, rows),
        correction=replace(correction, anchor=_pick(correction.anchor, rows), drift=_pick(correction.drift, rows)),
    )


def _pick(vectors: Array | None, rows: NDArray[np.int64]) -> Array | None:
    return vectors if vectors is None or vectors.ndim == 1 else vectors[rows]


def _disagreement(found: Trained, expected: Trained, tolerance: float) -> str | None:
    """How the outcomes differ by more than a share of what training changed, or None."""
    for index, moved in enumerate(expected.change):
        error = torch.linalg.vector_norm(torch.as_tensor(found.change[index] - moved))
        bound = tolerance * torch.linalg.vector_norm(torch.as_tensor(moved)) + 1e-6
        if not bool(error <= bound):
            return f"the result differs from one-by-one training by {float(error):.2g}, more than {float(bound):.2g}"
    return None
