"""A task's vectors as files: what was broadcast, what the party remembers, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from comity.core.arrays import Array, to_numpy
from comity.core.contribution import Value
from comity.core.errors import DataError, RunError
from comity.core.vectors import Vectors
from comity.simulation.party_side import PartySide
from comity.simulation.tasks import Batch


def read_broadcast(side: PartySide, files: Mapping[str, str]) -> Vectors:
    """What the server sent: a safetensors file for each vector, with one float32 tensor of the vector's name.

    Raises `RunError` unless these are the vectors that the job's program broadcasts.
    """
    expected = side.job.exchange.broadcast
    if set(files) != set(expected):
        raise RunError(f"the server sent {sorted(files)}; the job broadcasts {sorted(expected)}", where="broadcast")
    vectors = {}
    for name, value in expected.items():
        found = _read(Path(files[name]), "broadcast")
        if set(found) != {name}:
            raise RunError(f"a file of {sorted(found)}; expected {name}", where="broadcast")
        vectors[name] = side.place(_fit(found[name], name, value, "broadcast"))
    return Vectors(**vectors)


def read_memory(side: PartySide, file: str | None, *, counted: bool) -> dict[str, Array]:
    """What this party remembers; nothing before the first of its contributions has `counted`.

    Raises `DataError` where it should remember something and the file is gone.
    """
    if file is not None:
        return {name: side.place(row) for name, row in _read(Path(file), "memory").items()}
    if counted and _remembers(side):
        raise DataError(
            "what this party remembered of the run is gone",
            where="memory",
            mend="restore the node's folder `memory`, or start a new run",
        )
    return {}


def write_answer(batch: Batch, kept: Mapping[str, Array], into: Path) -> dict[str, Any]:
    """Leave the vectors and the memory of a batch of one party in `into`; returns what is small, and where they lie."""
    contribution = batch.contribution
    assert contribution is not None
    vectors = {name: _row(array[0]) for name, array in contribution.vectors.items()}
    save_file(vectors, into / "vectors.safetensors")
    remembered = {name: _row(array) for name, array in kept.items()}
    remembered |= {name: _row(array[0]) for name, array in batch.memory.items()}
    if remembered:
        save_file(remembered, into / "memory.safetensors")
    return {
        "vectors": str(into / "vectors.safetensors"),
        "memory": str(into / "memory.safetensors") if remembered else None,
        "weight": float(to_numpy(contribution.weight)[0, 0]),
        "metrics": {
            name: [float(number) for number in np.asarray(to_numpy(sums), dtype=np.float64)[0]]
            for name, sums in contribution.metrics.items()
        },
    }


def _remembers(side: PartySide) -> bool:
    return bool(side.job.exchange.memory) or bool(side.job.program.model.layout.local_size)


def _read(file: Path, where: str) -> dict[str, NDArray[np.float32]]:
    try:
        found: dict[str, NDArray[np.float32]] = load_file(file)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise RunError(f"this is no safetensors file: {error}", where=where) from error
    return found


def _fit(array: NDArray[np.float32], name: str, value: Value, where: str) -> NDArray[np.float32]:
    if array.dtype != np.float32 or array.shape != (value.size,):
        raise RunError(
            f"{name} is {array.dtype} of shape {array.shape}; expected float32 of shape ({value.size},)", where=where
        )
    return array


def _row(array: Array) -> NDArray[np.float32]:
    return np.ascontiguousarray(to_numpy(array), dtype=np.float32)
