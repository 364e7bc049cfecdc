"""States as named arrays: any tree of frozen dataclasses, mappings, arrays and numbers, flattened and restored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from comity.core.arrays import to_numpy
from comity.core.errors import CheckpointError

T = TypeVar("T")


def flatten(state: Any, prefix: str = "") -> dict[str, NDArray[Any]]:
    """Every leaf of `state` as an array under its dotted path; numbers become arrays of no dimension."""
    return {path: np.asarray(to_numpy(leaf)) for path, leaf in _leaves(state, prefix)}


def restore(template: T, arrays: Mapping[str, NDArray[Any]], prefix: str = "") -> T:
    """A state shaped like `template` with its leaves from `arrays`.

    Raises `CheckpointError` for what does not fit, and for a leaf that is None in the template but was stored.
    """
    return cast(T, _restore(template, arrays, prefix))


def _restore(value: Any, arrays: Mapping[str, NDArray[Any]], prefix: str) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        renewed = {f.name: _restore(getattr(value, f.name), arrays, _join(prefix, f.name)) for f in fields(value)}
        return replace(value, **renewed)
    if isinstance(value, Mapping):
        rebuilt = {name: _restore(item, arrays, _join(prefix, name)) for name, item in value.items()}
        return type(value)(**rebuilt)
    if value is None:
        _require_nothing_stored(arrays, prefix)
        return None
    if prefix not in arrays:
        raise CheckpointError("a part of the state is missing", where=f"checkpoint field {prefix!r}")
    stored = arrays[prefix]
    if isinstance(value, bool | int | float):
        return type(value)(stored.item())
    if tuple(stored.shape) != tuple(value.shape):
        raise CheckpointError(
            f"shape {stored.shape}, expected {tuple(value.shape)}", where=f"checkpoint field {prefix!r}"
        )
    return stored


def _require_nothing_stored(arrays: Mapping[str, NDArray[Any]], prefix: str) -> None:
    if any(path == prefix or path.startswith(_join(prefix, "")) for path in arrays):
        raise CheckpointError(
            "a part of the state is stored that is None at the start, so nothing says what it is",
            where=f"checkpoint field {prefix!r}",
            mend="start it as zeros (weights * 0) in the program's init",
        )


def _leaves(state: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if is_dataclass(state):
        for entry in fields(state):
            yield from _leaves(getattr(state, entry.name), _join(prefix, entry.name))
    elif isinstance(state, Mapping):
        for name, item in state.items():
            yield from _leaves(item, _join(prefix, name))
    elif state is not None:
        yield prefix, state


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
