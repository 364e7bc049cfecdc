"""The resident trainer: one party after another on one arena."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from comity.core.arrays import Array
from comity.core.layout import Layout
from comity.core.seeds import Seed
from comity.data.examples import Examples
from comity.learners.base import Hardware, Trained, Work
from comity.learners.metrics import Metric
from comity.learners.plan import LocalPlan
from comity.learners.torch.arena import Arena
from comity.learners.torch.batches import Feeder, batch_size
from comity.learners.torch.border import Border
from comity.learners.torch.clipping import Clipper
from comity.learners.torch.descent import Descent
from comity.learners.torch.evaluation import Evaluator
from comity.learners.torch.losses import Loss
from comity.learners.torch.optimizers import Shift
from comity.learners.torch.private import PrivateDescent
from comity.learners.torch.session import session, start_noise, to_tensor
from comity.learners.torch.steps import Ladder


class ResidentTrainer:
    """Trains and evaluates parties one by one on a resident module. It is not shared between threads.

    Arrays go out as they came in: NumPy where `Work.weights` is NumPy, else tensors on the trainer's device.
    """

    def __init__(
        self,
        module: nn.Module,
        layout: Layout,
        loss: Loss,
        metrics: Sequence[Metric],
        hardware: Hardware,
        device: torch.device,
    ) -> None:
        self.layout = layout
        self.hardware = hardware
        self.device = device
        self.arena = Arena(module, layout, device)
        self.ladder = Ladder(self.arena, loss, hardware.precision)
        self.clipper = Clipper(self.arena, loss, hardware.precision)
        self.feeder = Feeder(loss, device)
        self.border = Border(layout, device)
        self.evaluator = Evaluator(self.arena, loss, metrics, hardware, self.feeder)

    @property
    def explanation(self) -> str:
        """How training steps are computed, by batch shape, and why."""
        return "\n".join(filter(None, [self.ladder.explanation, self.clipper.explanation]))

    def train(self, work: Work) -> Trained:
        """Train every party from its weights. Raises `DataError` and `LearnerError`, which name no party."""
        parties = len(work.examples)
        with session(self.device, self.hardware), torch.no_grad():
            weights, local = self.border.receive(work.weights, work.local, parties)
            shift = Shift.of(work.correction, self.layout.shared_size, self.device)
            change = self.border.room(work.room, parties)
            kept = None if local is None else torch.empty(parties, self.layout.local_size, device=self.device)
            log = _LossLog()
            descent = self._descent(work.plan, work.plan.rate(work.round))
            privacy = work.plan.privacy
            for index, examples in enumerate(work.examples):
                self.evaluator.inspect(examples)
                self.arena.load(weights[index], None if local is None else local[index])
                self.arena.training()
                seed = work.seeds[index] if privacy is None else Seed(os.urandom(16))
                noise = partial(start_noise, seed, self.device)
                descent.begin(shift.row(index), self.evaluator.kind(examples), noise)
                log.start_party()
                self._train_party(work, index, descent, log)
                self.arena.store(weights[index], change[index], None if kept is None else kept[index])
            losses, steps = log.statistics(self.device), log.steps(self.device)
            if privacy is not None and not privacy.report_loss:
                losses.zero_()
        return self.border.send(work, change, kept, steps, losses)

    def place(self, array: NDArray[np.float32]) -> Array:
        """The array itself on a CPU, else a tensor on the trainer's device."""
        return array if self.device.type == "cpu" else to_tensor(array, self.device)

    def evaluate(
        self, weights: Array, local: Array | None, examples: Sequence[Examples]
    ) -> Mapping[str, NDArray[np.float64]]:
        """Additive statistics `[K, S]` of every metric and of the loss."""
        with session(self.device, self.hardware), torch.inference_mode():
            rows, kept = self.border.receive(weights, local, len(examples))
            return self.evaluator.statistics(rows, kept, examples)

    def _descent(self, plan: LocalPlan, lr: float) -> Descent | PrivateDescent:
        if plan.privacy is None:
            return Descent(self.ladder, plan, lr)
        return PrivateDescent(self.clipper, plan, plan.privacy, lr)

    def _train_party(self, work: Work, index: int, descent: Descent | PrivateDescent, log: _LossLog) -> None:
        examples = work.examples[index]
        size = batch_size(work.plan.batch_size, len(examples))
        count = work.plan.batches(len(examples), work.budget(index))
        try:
            if work.plan.privacy is None:
                batches = self.feeder.epochs(examples, size, count, work.seeds[index])
            else:
                batches = self.feeder.samples(examples, size, count)
            for x, y in batches:
                length = y.size(0)
                log.add(descent(x, y, size if work.plan.privacy else length), length)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise self.evaluator.unfit(error, f"features {list(examples.x.shape[1:])}, batches of {size}") from error


class _LossLog:
    """The mean loss and the size of every batch, kept on the device until all parties have trained."""

    def __init__(self) -> None:
        self._losses: list[Tensor] = []
        self._sizes: list[int] = []
        self._starts: list[int] = []

    def start_party(self) -> None:
        self._starts.append(len(self._losses))

    def add(self, loss: Tensor, size: int) -> None:
        self._losses.append(loss)
        self._sizes.append(size)

    def statistics(self, device: torch.device) -> Tensor:
        """`[K, 2]`: for each party the sum of its examples' losses, and how many they were."""
        sizes = np.array(self._sizes, dtype=np.float64)
        totals = torch.stack(self._losses).float().cpu().numpy() * sizes
        both = np.stack([np.add.reduceat(part, self._starts) for part in (totals, sizes)], axis=1)
        return torch.from_numpy(both.astype(np.float32)).to(device)

    def steps(self, device: torch.device) -> Tensor:
        """`[K, 1]`: how many batches each party computed."""
        counts = np.diff([*self._starts, len(self._losses)]).astype(np.float32)
        return torch.from_numpy(counts[:, None]).to(device)
