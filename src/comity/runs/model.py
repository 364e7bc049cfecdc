"""The model that a run has trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comity.learners.base import Model
from comity.runs.checkpoint import save_tensors


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A flat vector `[D]` and the learner that it belongs to."""

    learner: Model
    vector: NDArray[np.float32]

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Every named array of the model, those that were not trained included."""
        return self.learner.export(self.vector)

    def save(self, path: str | Path) -> None:
        """Write the named arrays as safetensors. Raises `CheckpointError` where the disk does not take them."""
        save_tensors(Path(path), self.arrays())
