"""Manifests: any tree of frozen dataclasses as canonical JSON, and back without trusting the text.

A node of Comity's own is `{"is": "comity.programs.fedavg:FedAvg", …fields}`. A class or function of the user's is
named and pinned by the digest of its source, an array by the digest of its bytes; neither travels in the manifest,
and reading one back takes the object itself from the caller. Nothing outside the package `comity` is ever imported
because a manifest names it.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import math
import sysconfig
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeAlias

import numpy as np

from comity.core.errors import ManifestError

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None

VERSION = 1
_MAX_DEPTH = 32


def canonical(node: Json) -> str:
    """The one JSON text of a node: sorted keys, no spaces, shortest floats."""
    return json.dumps(node, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(node: Json) -> str:
    """SHA-256 of the canonical text, in hexadecimal."""
    return hashlib.sha256(canonical(node).encode()).hexdigest()


def encode(value: Any, where: str = "job") -> Json:
    """`value` as JSON. Raises `ManifestError` that names the field which cannot be written."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ManifestError(
            f"{value} cannot be written in a manifest", where=where, mend="give a finite number or None"
        )
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [encode(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        if any(not isinstance(key, str) or key in ("is", "ref", "array") for key in value):
            raise ManifestError("a mapping with keys that are no plain names", where=where)
        return {key: encode(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return {"array": array_digest(value), "shape": list(value.shape), "dtype": str(value.dtype)}
    if isinstance(value, type) or inspect.isfunction(value):
        return _reference(value, where)
    if is_dataclass(value):
        return _encode_dataclass(value, where)
    raise ManifestError(
        f"a {type(value).__name__} cannot be written in a manifest",
        where=where,
        mend="use numbers, text, tuples, mappings, frozen dataclasses, classes or functions",
    )


def decode(node: Json, objects: Iterable[Any] = (), where: str = "job", _depth: int = 0) -> Any:
    """The value that `node` describes.

    `objects` are the user's own classes, functions and arrays that the manifest may refer to; each must have the digest
    that the manifest states. Raises `ManifestError`.
    """
    if _depth > _MAX_DEPTH:
        raise ManifestError(f"nested deeper than {_MAX_DEPTH}", where=where)
    known = list(objects)
    if isinstance(node, list):
        return tuple(decode(item, known, f"{where}[{i}]", _depth + 1) for i, item in enumerate(node))
    if not isinstance(node, dict):
        return node
    if "ref" in node or "array" in node:
        return _resolve(node, known, where)
    if "is" not in node:
        return {key: decode(item, known, f"{where}.{key}", _depth + 1) for key, item in node.items()}
    kind = _own_class(node["is"], where)
    names = {entry.name for entry in fields(kind) if entry.init}
    given = {key: item for key, item in node.items() if key != "is"}
    if unknown := sorted(set(given) - names):
        raise ManifestError(
            f"unknown field {unknown[0]!r}", where=where, mend=f"fields here: {', '.join(sorted(names))}"
        )
    values = {key: decode(item, known, f"{where}.{key}", _depth + 1) for key, item in given.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise ManifestError(str(error), where=where) from error


def array_digest(array: np.ndarray[Any, Any]) -> str:
    """SHA-256 over an array's dtype, shape and bytes."""
    hasher = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    hasher.update(np.ascontiguousarray(array).data)
    return hasher.hexdigest()


def source_digest(target: Any) -> str | None:
    """SHA-256 of a class's or function's source text; None where Python cannot find the source."""
    try:
        source = textwrap.dedent(inspect.getsource(target))
    except (OSError, TypeError):
        return None
    return hashlib.sha256(source.encode()).hexdigest()


def _encode_dataclass(value: Any, where: str) -> Json:
    kind = type(value)
    if not kind.__dataclass_params__.frozen:
        raise ManifestError(f"{kind.__name__} is not frozen", where=where, mend="declare it @dataclass(frozen=True)")
    node: dict[str, Json] = {"is": f"{kind.__module__}:{kind.__qualname__}"}
    if not kind.__module__.startswith("comity."):
        node = {"ref": kind.__qualname__, "source": source_digest(kind), "call": True}
    for entry in fields(kind):
        if entry.init:
            node[entry.name] = encode(getattr(value, entry.name), f"{where}.{entry.name}")
    return node


def _reference(target: Any, where: str) -> Json:
    module, name = target.__module__, target.__qualname__
    if module.startswith("comity.") or _is_installed(target):
        return {"ref": f"{module}:{name}"}
    source = source_digest(target)
    if source is None:
        raise ManifestError(
            f"the source of {name} cannot be found, so it cannot be pinned",
            where=where,
            mend="define it in a file rather than at the prompt",
        )
    return {"ref": name, "source": source}


def _is_installed(target: Any) -> bool:
    try:
        file = inspect.getfile(target)
    except (TypeError, OSError):
        return True
    paths = sysconfig.get_paths()
    return any(file.startswith(paths[key]) for key in ("purelib", "platlib", "stdlib"))


def _own_class(name: Any, where: str) -> Any:
    module, _, qualname = str(name).partition(":")
    if not module.startswith("comity.") or not qualname.isidentifier():
        raise ManifestError(f"{name!r} is not a part of Comity", where=where)
    try:
        kind = getattr(importlib.import_module(module), qualname)
    except (ImportError, AttributeError):
        raise ManifestError(
            f"this version of Comity has no {name!r}", where=where, mend="use the version that wrote the manifest"
        ) from None
    if not (isinstance(kind, type) and is_dataclass(kind) and kind.__module__ == module):
        raise ManifestError(f"{name!r} is not a part that a manifest may build", where=where)
    return kind


def _resolve(node: dict[str, Json], objects: list[Any], where: str) -> Any:
    if "array" in node:
        for candidate in objects:
            if isinstance(candidate, np.ndarray) and array_digest(candidate) == node["array"]:
                return candidate
        raise ManifestError(
            "the array it refers to was not given", where=where, mend=f"pass the array with digest {node['array']}"
        )
    call = node.get("call", False)
    for candidate in objects:
        if not (isinstance(candidate, type) or inspect.isfunction(candidate)):
            continue
        if node["ref"] == f"{candidate.__module__}:{candidate.__qualname__}" and "source" not in node:
            return candidate
        if candidate.__qualname__ != node["ref"]:
            continue
        if source_digest(candidate) != node.get("source"):
            raise ManifestError(
                f"the source of {node['ref']} differs from the one the manifest pins",
                where=where,
                mend="give the version that the job was made with",
            )
        if not call:
            return candidate
        given = {key: item for key, item in node.items() if key not in ("ref", "source", "call")}
        return candidate(**{key: decode(item, objects, f"{where}.{key}", 1) for key, item in given.items()})
    raise ManifestError(f"{node['ref']} was not given", where=where, mend=f"pass it: objects=[{node['ref']}]")
