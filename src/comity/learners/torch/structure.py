"""From a module to a layout: which of its arrays are trained, averaged, kept at the party, or fixed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from comity.core.errors import LearnerError
from comity.core.layout import Layout, Part

Factory: TypeAlias = Callable[..., nn.Module]
BufferPolicy: TypeAlias = Literal["average", "local"]

_WIRE = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}


def make_module(factory: Factory, arguments: Mapping[str, Any], seed: int) -> nn.Module:
    """The module that `factory(**arguments)` gives under `seed`, on the CPU; the caller's random state is untouched."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        return _called(factory, arguments)


def outline(factory: Factory, arguments: Mapping[str, Any]) -> nn.Module:
    """The module without its numbers where they are not needed and it can be made so (on the meta device)."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            module = _called(factory, arguments)
    except Exception:  # a factory may read files or touch values; then only the real module tells its shapes
        return make_module(factory, arguments, seed=0)
    unknown = any(
        buffer.is_floating_point()
        for part in module.modules()
        if not isinstance(part, nn.modules.batchnorm._NormBase)
        for buffer in part.buffers(recurse=False)
    )
    return make_module(factory, arguments, seed=0) if unknown else module


def _called(factory: Factory, arguments: Mapping[str, Any]) -> nn.Module:
    name = getattr(factory, "__name__", repr(factory))
    try:
        module = factory(**arguments)
    except TypeError as error:
        raise LearnerError(
            f"the module cannot be made: {error}",
            where=f"Model.module {name}",
            mend="give the arguments it takes in Model.arguments",
        ) from error
    if not isinstance(module, nn.Module):
        raise LearnerError(
            f"{name} returned {type(module).__name__}, not an nn.Module",
            where="Model.module",
            mend="give a class or a function that returns a torch.nn.Module",
        )
    return module


def named_arrays(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters, then persistent buffers, each under every name it has."""
    persistent = set(module.state_dict(keep_vars=True))
    yield from module.named_parameters(remove_duplicate=False)
    for name, buffer in module.named_buffers(remove_duplicate=False):
        if name in persistent:
            yield name, buffer


def numpy_arrays(module: nn.Module) -> dict[str, NDArray[Any]]:
    """Every named array of a module as NumPy; 16-bit floats widen to float32."""
    return {name: to_float32(tensor.detach()).numpy() for name, tensor in named_arrays(module)}


def to_float32(tensor: Tensor) -> Tensor:
    """The tensor with half-precision floats widened; integers stay what they are."""
    return tensor.float() if tensor.is_floating_point() else tensor


def rounded(values: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    """Float32 values rounded to the precision `dtype`, as they would be after a journey on the wire."""
    precision = {name: kind for kind, name in _WIRE.items()}[dtype]
    return torch.from_numpy(np.array(values, dtype=np.float32)).to(precision).float().numpy()


def describe(module: nn.Module, *, local: Sequence[str], frozen: Sequence[str], buffers: BufferPolicy) -> Layout:
    """The layout of a module; `local` and `frozen` are `fnmatch` patterns on parameter names.

    Raises `LearnerError` for a pattern that matches nothing and for parameters that are not real floats.
    """
    parameters = dict(module.named_parameters(remove_duplicate=False))
    for field, patterns in (("local", local), ("frozen", frozen)):
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in parameters):
                raise LearnerError(
                    f"no parameter matches {pattern!r}",
                    where=f"Model.{field}",
                    mend=f"the parameters are: {', '.join(parameters) or 'none'}",
                )
    rows: list[tuple[str, tuple[int, ...], str, Part]] = []
    first: dict[int, str] = {}
    ties: dict[str, str] = {}
    for name, array in named_arrays(module):
        if id(array) in first:
            ties[name] = first[id(array)]
            continue
        first[id(array)] = name
        if isinstance(array, nn.Parameter):
            part = _parameter_part(name, array, local, frozen)
        else:
            part = _buffer_part(array, buffers)
        rows.append((name, tuple(array.shape), _dtype(name, array, part), part))
    return Layout.build(rows, ties)


def _parameter_part(name: str, parameter: nn.Parameter, local: Sequence[str], frozen: Sequence[str]) -> Part:
    if not parameter.requires_grad or any(fnmatchcase(name, pattern) for pattern in frozen):
        return "fixed"
    return "local" if any(fnmatchcase(name, pattern) for pattern in local) else "shared"


def _buffer_part(buffer: Tensor, policy: BufferPolicy) -> Part:
    if not buffer.is_floating_point():
        return "fixed"
    if not buffer.is_meta and not bool(buffer.isfinite().all()):
        return "fixed"  # a mask of −∞ is a constant, and admission refuses what is not finite
    return "buffer" if policy == "average" else "local"


def _dtype(name: str, array: Tensor, part: Part) -> str:
    if part == "fixed":
        return str(array.dtype).removeprefix("torch.")
    if array.dtype not in _WIRE:
        raise LearnerError(
            f"an array of dtype {array.dtype}",
            where=f"module array {name!r}",
            mend=f"use one of {', '.join(_WIRE.values())}, for example module.float()",
        )
    return _WIRE[array.dtype]
