"""DP-SGD on the resident arena: one noisy step after another (Abadi et al. 2016, arXiv 1607.00133)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from comity.core.errors import LearnerError
from comity.learners.plan import LocalPlan
from comity.learners.records import RecordPrivacy
from comity.learners.torch.clipping import Clipper
from comity.learners.torch.optimizers import FlatOptimizer, Shift
from comity.privacy.continuous import gaussian


def check_records(module: nn.Module) -> None:
    """Raise `LearnerError` for a module in which one record's output depends on the others of its batch."""
    for name, part in module.named_modules():
        kind = type(part).__name__
        normalises = isinstance(part, nn.modules.batchnorm._BatchNorm)
        if normalises or (isinstance(part, nn.modules.batchnorm._NormBase) and part.track_running_stats):
            raise LearnerError(
                f"{name or kind} ({kind}) takes statistics over a batch, so no gradient is one record's own",
                where="record-level privacy",
                mend="use GroupNorm, or leave privacy out of the plan",
            )


class PrivateDescent:
    """Takes the steps of one party after another on the noisy mean of clipped gradients.

    The correction, `clip_norm` and the optimizer come after the noise and cost no privacy.
    """

    def __init__(self, clipper: Clipper, plan: LocalPlan, privacy: RecordPrivacy, lr: float) -> None:
        check_records(clipper.arena.module)
        self.clipper = clipper
        self.plan = plan
        self.privacy = privacy
        self.lr = lr
        self._optimizer: FlatOptimizer | None = None
        self._noise = np.zeros(clipper.arena.regions.trained, dtype=np.float32)

    def begin(self, shift: Shift, kind: object, noise: Callable[[], None]) -> None:
        """The next party: its correction, and how the random numbers of its dropout are started."""
        arena = self.clipper.arena
        weights, slope = arena.flat[None, : arena.regions.trained], arena.gradient[None, :]
        self._optimizer = FlatOptimizer(self.plan, self.lr, shift, weights, slope)
        noise()

    def __call__(self, x: Tensor, y: Tensor, size: int) -> Tensor:
        """One step on a sample of records, `size` on average and perhaps none; gives their mean loss before it."""
        assert self._optimizer is not None
        losses = self.clipper(x, y, self.privacy.clip)
        gradient = self.clipper.arena.gradient
        if self.privacy.multiplier:
            gaussian(len(self._noise), self.privacy.multiplier * self.privacy.clip, out=self._noise)
            gradient.add_(torch.from_numpy(self._noise).to(gradient.device))
        gradient.div_(size)
        self._optimizer.step()
        return losses.sum() / max(len(losses), 1)
