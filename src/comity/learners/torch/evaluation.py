"""Evaluation on the resident arena, and the look at a party's data that comes before any training on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import TypeAlias

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

_CHUNK_ENTRIES = 1 << 19
_CHUNK_ROWS = (64, 4096)


Piece: TypeAlias = tuple[int, slice]
"""Which party, and which of its examples."""


def _groups(examples: Sequence[Examples], *, together: bool) -> Iterator[list[Piece]]:
    """Pieces of parties of at most a chunk's rows; `together` puts pieces of several parties into one chunk."""
    group: list[Piece] = []
    free, kind = 0, None
    least, most = _CHUNK_ROWS
    for index, party in enumerate(examples):
        size = min(max(_CHUNK_ENTRIES // max(prod(party.x.shape[1:]), 1), least), most)
        own = (party.x.shape[1:], party.x.dtype, party.affine is None)
        for start in range(0, len(party), size):
            rows = slice(start, min(start + size, len(party)))
            length = rows.stop - rows.start
            if group and not (together and own == kind and length <= free):
                yield group
                group, free = [], size
            free, kind = (free if group else size) - length, own
            group.append((index, rows))
    if group:
        yield group


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
        device = self.arena.flat.device
        # Sums over many batches want double precision, which Apple's GPUs lack.
        precision = torch.float32 if device.type == "mps" else torch.float64
        sizes = {metric.name: metric.size for metric in self.metrics} | {"loss": 2}
        sums = {name: torch.zeros(len(examples), size, dtype=precision, device=device) for name, size in sizes.items()}
        same = local is None and (len(weights) == 1 or weights.stride(0) == 0)
        loaded = -1
        for group in _groups(examples, together=same):
            first = group[0][0]
            if loaded < 0 or not (same or loaded == first):
                self.arena.load(weights[first], None if local is None else local[first])
                loaded = first
            self._add(group, examples, sums)
        return {name: total.cpu().numpy().astype(np.float64, copy=False) for name, total in sums.items()}

    def _add(self, group: Sequence[Piece], examples: Sequence[Examples], sums: Mapping[str, Tensor]) -> None:
        """Add the statistics of a group of pieces, which pass the module as one batch."""
        features, targets = [], []
        for index, rows in group:
            self.inspect(examples[index])
            x, y = self.feeder.rows(examples[index], rows)
            features.append(x)
            targets.append(y)
        whole = self._forward(features[0] if len(features) == 1 else torch.cat(features))
        parts = torch.split(whole, [len(x) for x in features])
        for (index, _), outputs, y in zip(group, parts, targets, strict=True):
            sums["loss"][index, 0] += self.loss.mean(outputs, y) * len(y)
            sums["loss"][index, 1] += len(y)
            for metric in self.metrics:
                if metric.name != "loss":
                    sums[metric.name][index] += torch.as_tensor(metric.statistics(outputs, y), device=whole.device)

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
        key = self.kind(examples)
        if key not in self._outputs:
            self._outputs[key] = self._probe(examples)
        self.feeder.outputs = self._outputs[key]

    @staticmethod
    def kind(examples: Examples) -> tuple[object, ...]:
        """What has to be alike for parties to be computed in the same way."""
        x, y = examples.x, examples.y
        return x.shape[1:], x.dtype, examples.affine is None, y.shape[1:], y.dtype

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
