"""Checkpoints: one safetensors file, replaced as a whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from comity.core.errors import CheckpointError
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
    tensors = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    replace_file(path, lambda draft: save_file(tensors, draft, metadata={"job": checkpoint.job}))


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


def replace_file(path: Path, content: bytes | Callable[[Path], None]) -> None:
    """Put `content`, or what it writes to the path it is given, at `path` in one step that survives a crash.

    Either the old file is there or the new one. Raises `CheckpointError` where the disk does not take it.
    """
    draft = path.with_name(f".{path.name}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            draft.write_bytes(content)
        else:
            content(draft)
        _sync(draft)
        draft.replace(path)
        if os.name == "posix":
            _sync(path.parent)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise CheckpointError(
            f"writing failed: {getattr(error, 'strerror', None) or error}; what was there before is unchanged",
            where=str(path),
            mend="free some space or choose a folder that can be written, then resume from the last checkpoint",
        ) from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
