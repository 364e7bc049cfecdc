"""Checkpoints: one safetensors file, replaced as a whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from comity.core.errors import CheckpointError
from comity.core.files import replace_file
from comity.core.manifest import Json

_FACTS = "facts"
"""The facts lie beside the arrays as their JSON text: the header of a safetensors file ends at 100 MB."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A run between two rounds: named arrays, and JSON facts (the coordinator's snapshot, the clock, counters)."""

    job: str
    arrays: Mapping[str, NDArray[Any]]
    facts: Mapping[str, Json]


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint at `path`. Raises `CheckpointError`; the old one stays until the new is on disk."""
    facts = np.frombuffer(json.dumps(checkpoint.facts).encode(), dtype=np.uint8)
    arrays = {**checkpoint.arrays, _FACTS: facts}
    save_tensors(path, arrays, {"job": checkpoint.job})


def read(path: Path, job: str) -> Checkpoint:
    """The checkpoint at `path`. Raises `CheckpointError` where it is missing, damaged, or another job's."""
    if not path.exists():
        raise CheckpointError("there is no checkpoint", where=str(path), mend="start the run without --resume")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            facts = json.loads(arrays.pop(_FACTS).tobytes())
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise CheckpointError(f"the checkpoint cannot be read: {error}", where=str(path)) from error
    if metadata.get("job") != job:
        raise CheckpointError(
            f"the checkpoint belongs to job {str(metadata.get('job'))[:12]}, not to {job[:12]}",
            where=str(path),
            mend="resume with the job file and --set values the run was started with, or choose another folder",
        )
    return Checkpoint(job, arrays, facts)


def save_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None) -> None:
    """Replace the safetensors file at `path`. Raises `CheckpointError` where the disk does not take it."""
    whole = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in tensors.items()}

    def save(draft: Path) -> None:
        try:
            save_file(whole, draft, metadata=None if metadata is None else dict(metadata))
        except SafetensorError as error:
            raise OSError(str(error)) from error

    replace_file(path, save)
