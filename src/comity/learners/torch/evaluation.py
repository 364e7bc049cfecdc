"""Evaluation on the resident arena, and the look at a party's data that comes before any training on it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from comity.core.errors import ComityError, DataError, LearnerError
from comity.data.examples import Examples
from comity.learners.base import Hardware
from comity.learners.metrics import Metric
from comity.learners.torch.arena import Arena
from comity.learners.torch.batches import Feeder
from comity.learners.torch.losses import Loss
from comity.learners.torch.session import autocast

_CHUNK_ENTRIES = 1 << 18
_CHUNK_ROWS = (64, 4096)


class Evaluator:
    """Runs an arena's module in evaluation mode."""

    def __init__(self, arena: Arena, loss: Loss, metrics: Sequence[Metric], hardware: Hardware, feeder: Feeder) -> None:
        self.arena = arena
        self.loss = loss
        self.metrics = metrics
        self.hardware = hardware
        self.feeder = feeder
        self._outputs: dict[tuple[object, ...], tuple[int, ...]] = {}

    def statistics(
        self, weights: Tensor, local: Tensor | None, examples: Sequence[Examples]
    ) -> dict[str, NDArray[np.float64]]:
        """Additive statistics `[K, S]` by metric; `weights` `[K, D]`, `local` `[K, L]`."""
        rows: dict[str, list[Tensor]] = {}
        same = local is None and (len(weights) == 1 or weights.stride(0) == 0)
        for index, party in enumerate(examples):
            if not (same and index):
                self.arena.load(weights[index], None if local is None else local[index])
            for name, row in self._party(party).items():
                rows.setdefault(name, []).append(row)
        return {name: torch.stack(values).cpu().numpy() for name, values in rows.items()}

    def _party(self, examples: Examples) -> dict[str, Tensor]:
        device = self.arena.flat.device
        sums = {metric.name: torch.zeros(metric.size, dtype=torch.float64, device=device) for metric in self.metrics}
        sums["loss"] = torch.zeros(2, dtype=torch.float64, device=device)
        if not len(examples):
            return sums
        self.inspect(examples)
        least, most = _CHUNK_ROWS
        size = min(max(_CHUNK_ENTRIES // max(prod(examples.x.shape[1:]), 1), least), most)
        for start in range(0, len(examples), size):
            x, y = self.feeder.rows(examples, slice(start, min(start + size, len(examples))))
            outputs = self._forward(x)
            sums["loss"][0] += self.loss.mean(outputs, y) * len(x)
            sums["loss"][1] += len(x)
            for metric in self.metrics:
                if metric.name != "loss":
                    sums[metric.name] += torch.as_tensor(metric.statistics(outputs, y), device=device)
        return sums

    def _forward(self, x: Tensor) -> Tensor:
        self.arena.evaluating()
        with autocast(x.device, self.hardware.precision):
            outputs: Tensor = self.arena.module(x)
        return outputs.float()

    def inspect(self, examples: Examples) -> None:
        """See on one example that module, loss and data fit together; from then on the labels are checked.

        Raises `LearnerError` that names the shapes, or `DataError` for a party without examples.
        """
        if not len(examples):
            raise DataError("a party has no examples", mend="give every party at least one, or leave it out")
        key = (examples.x.shape[1:], examples.x.dtype, examples.affine is None, examples.y.shape[1:])
        if key not in self._outputs:
            self._outputs[key] = self._probe(examples)
        self.feeder.outputs = self._outputs[key]

    def _probe(self, examples: Examples) -> tuple[int, ...]:
        self.feeder.outputs, saved = None, self.arena.snapshot()
        shapes = f"features {list(examples.x.shape[1:])} ({examples.x.dtype}), labels {list(examples.y.shape[1:])}"
        try:
            with torch.no_grad():
                x, y = self.feeder.rows(examples, slice(0, 1))
                outputs = self._forward(x)
                self.loss.check(y.cpu().numpy(), tuple(outputs.shape))
                self.loss.mean(outputs, y)
        except ComityError:
            raise
        except Exception as error:  # a module may fail on unfit data in any way
            raise self.unfit(error, shapes) from error
        finally:
            self.arena.restore(saved)
        return tuple(outputs.shape)

    def unfit(self, error: Exception, shapes: str) -> LearnerError:
        """A failure of module or loss on data of given shapes, as an error that names them."""
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return LearnerError(
            f"the module or the loss {self.loss.name!r} fails: {reason}",
            where=f"one example has {shapes}",
            mend="give the model data of the shape it takes, or reshape in its forward",
        )
