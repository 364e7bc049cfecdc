"""A model as a server knows it: its layout and its metrics, without the library that trains it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, get_args

import numpy as np
from numpy.typing import NDArray

from comity.core import manifest
from comity.core.arrays import Array
from comity.core.errors import ComityError, LearnerError, ManifestError
from comity.core.layout import Entry, Layout, Part
from comity.core.manifest import Json
from comity.core.seeds import Seed
from comity.learners.base import Hardware, Trainer
from comity.learners.metrics.base import Metric
from comity.learners.plan import LocalPlan

_MOST_ENTRIES = 1 << 34
_PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class Described:
    """A model by its description alone: it says what travels, and cannot be trained."""

    layout: Layout
    metrics: Sequence[Metric] = ()

    @classmethod
    def of(cls, model: Json, layout: str) -> Described:
        """The description of the model at a manifest's `model`, given its layout as JSON.

        Metrics of the user's own are left out: what they mean is known where their code is. Raises `ManifestError`.
        """
        decoded = manifest.decode(manifest.parse(layout), where="layout")
        if not isinstance(decoded, Layout):
            raise ManifestError("this is no layout", where="layout")
        _check(decoded)
        fields = model.get("fields", model) if isinstance(model, dict) else {}
        metrics = fields.get("metrics", []) if isinstance(fields, dict) else []
        return cls(decoded, tuple(_readable(metrics if isinstance(metrics, list) else [])))

    def init(self, seed: Seed) -> NDArray[np.float32]:
        """Zeros, which give a program's state its shape; the weights that a run starts with come with the job."""
        return np.zeros(self.layout.size, dtype=np.float32)

    def init_local(self, seed: Seed) -> NDArray[np.float32]:
        self._refuse()

    def export(self, weights: Array) -> Mapping[str, NDArray[np.generic]]:
        self._refuse()

    def build(self, hardware: Hardware, *, batched: bool = False) -> Trainer:
        self._refuse()

    def check(self, plan: LocalPlan, *, corrected: bool) -> None:
        """The learner itself has checked the plan, where the job was made and again at every party."""

    def batchable(self, plan: LocalPlan) -> str | None:
        return "a model that is only described is not trained"

    def prefers_batched(self, hardware: Hardware) -> tuple[bool, str]:
        return False, "a model that is only described is not trained"

    def _refuse(self) -> NoReturn:
        raise LearnerError("a model that is only described has no weights and no trainer", where="Described")


def _readable(nodes: Iterable[Json]) -> Iterable[Metric]:
    for index, node in enumerate(nodes):
        try:
            metric: Any = manifest.decode(node, where=f"metrics[{index}]")
        except ComityError:
            continue
        if isinstance(metric, Metric):
            yield metric


def _check(layout: Layout) -> None:
    """Raise `ManifestError` unless every array lies inside its vector, which has a size that can exist."""
    if not isinstance(layout.entries, tuple) or not isinstance(layout.ties, Mapping):
        raise ManifestError("this is no layout", where="layout")
    if not all(isinstance(name, str) for name in layout.ties.values()):
        raise ManifestError("a tie to what is no name", where="layout.ties")
    for entry in layout.entries:
        if not isinstance(entry, Entry) or not isinstance(entry.shape, tuple):
            raise ManifestError("this is no array of a layout", where="layout.entries")
        if not isinstance(entry.name, str) or not isinstance(entry.dtype, str) or entry.part not in _PARTS:
            raise ManifestError("an array of a kind that there is not", where="layout.entries")
        size = 1
        for length in entry.shape:
            if not isinstance(length, int) or isinstance(length, bool) or not 0 <= length <= _MOST_ENTRIES:
                raise ManifestError(f"a length of {length!r}", where=f"layout.{entry.name}")
            size *= length
            if size > _MOST_ENTRIES:
                raise ManifestError("more entries than a model can have", where=f"layout.{entry.name}")
        if not isinstance(entry.offset, int) or not 0 <= entry.offset <= _MOST_ENTRIES:
            raise ManifestError(f"an offset of {entry.offset!r}", where=f"layout.{entry.name}")
