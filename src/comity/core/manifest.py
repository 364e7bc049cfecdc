"""Manifests: any tree of frozen dataclasses as canonical JSON, and back without trusting the text.

A node of Comity's own is `{"is": "comity.programs.fedavg:FedAvg", …fields}`. A class or function of the user's is a
reference, `{"ref": name, …pins}` (see `core/references.py`), with `"fields"` where an instance of a frozen dataclass is
meant; an array is pinned by the digest of its bytes. None of these travels in the manifest, and reading one back takes
the object itself from the caller. Nothing outside the package `comity` is ever imported because a manifest names it,
and nothing is called but the constructors of frozen dataclasses.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from comity.core.errors import ComityError, ManifestError
from comity.core.references import Json as Json
from comity.core.references import difference, names, reference

VERSION = 1
_MAX_DEPTH = 32
_KEYS = ("is", "ref", "array")


def canonical(node: Json) -> str:
    """The one JSON text of a node: sorted keys, no spaces, shortest floats."""
    return json.dumps(node, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(node: Json) -> str:
    """SHA-256 of the canonical text, in hexadecimal. Raises `ManifestError` for a text that no file can hold."""
    try:
        content = canonical(node).encode()
    except UnicodeEncodeError:
        raise ManifestError("a half of a character (a lone surrogate) is no text", where="manifest") from None
    return hashlib.sha256(content).hexdigest()


def parse(text: str) -> Json:
    """The JSON that `text` is. Raises `ManifestError` for what is none, NaN and infinities among it."""
    try:
        node: Json = json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ManifestError(f"nested deeper than {_MAX_DEPTH}", where="manifest") from None
    except ValueError as error:
        raise ManifestError(f"this is no JSON: {error}", where="manifest") from None
    return node


def encode(value: Any, where: str = "job", _inside: tuple[Any, ...] = ()) -> Json:
    """`value` as JSON. Raises `ManifestError` that names the field which cannot be written."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ManifestError(
            f"{value} cannot be written in a manifest", where=where, mend="give a finite number or None"
        )
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [encode(item, f"{where}[{i}]", _inside) for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        if any(not isinstance(key, str) or key in _KEYS for key in value):
            raise ManifestError("a mapping with keys that are no plain names", where=where)
        return {key: encode(item, f"{where}.{key}", _inside) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _encode_array(value, where)
    if isinstance(value, type) or inspect.isfunction(value):
        return reference(value, where, encode, _inside)
    if is_dataclass(value):
        return _encode_dataclass(value, where, _inside)
    raise ManifestError(
        f"a {type(value).__name__} cannot be written in a manifest",
        where=where,
        mend="use numbers, text, tuples, mappings, frozen dataclasses, classes or functions",
    )


def decode(
    node: Json,
    objects: Iterable[Any] = (),
    where: str = "job",
    stand_ins: Mapping[str, Any] | None = None,
    _depth: int = 0,
) -> Any:
    """The value that `node` describes.

    `objects` are the user's own classes, functions and arrays that the manifest may refer to; each must have the pins
    that the manifest states. `stand_ins` are values to take instead of what the manifest has at their places
    (`job.program.model`), which is not looked at. Raises `ManifestError`, or the `ConfigError` of a part that refuses
    its fields.
    """
    if stand_ins is not None and where in stand_ins:
        return stand_ins[where]
    if _depth > _MAX_DEPTH:
        raise ManifestError(f"nested deeper than {_MAX_DEPTH}", where=where)
    known = list(objects)
    if isinstance(node, list):
        return tuple(decode(item, known, f"{where}[{i}]", stand_ins, _depth + 1) for i, item in enumerate(node))
    if not isinstance(node, dict):
        return _finite(node, where)
    if "array" in node:
        return _given_array(node, known, where)
    if "ref" in node and "fields" not in node:
        return _given(node, known, where)
    if "ref" not in node and "is" not in node:
        return {key: decode(item, known, f"{where}.{key}", stand_ins, _depth + 1) for key, item in node.items()}
    kind, given = _instance(node, known, where)
    values = {key: decode(item, known, f"{where}.{key}", stand_ins, _depth + 1) for key, item in given.items()}
    return _build(kind, values, where)


def array_digest(array: np.ndarray[Any, Any]) -> str:
    """SHA-256 over an array's dtype, shape and bytes."""
    hasher = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    hasher.update(np.ascontiguousarray(array).data)
    return hasher.hexdigest()


def _encode_array(array: np.ndarray[Any, Any], where: str) -> Json:
    if array.dtype.hasobject:
        raise ManifestError("an array of Python objects has no content to pin", where=where, mend="give numbers")
    return {"array": array_digest(array), "shape": list(array.shape), "dtype": str(array.dtype)}


def _encode_dataclass(value: Any, where: str, inside: tuple[Any, ...]) -> Json:
    kind = type(value)
    if not _is_frozen(kind):
        raise ManifestError(f"{kind.__name__} is not frozen", where=where, mend="declare it @dataclass(frozen=True)")
    given = {
        entry.name: encode(getattr(value, entry.name), f"{where}.{entry.name}", inside)
        for entry in fields(kind)
        if entry.init
    }
    if kind.__module__.startswith("comity."):
        return {"is": f"{kind.__module__}:{kind.__qualname__}", **given}
    return {**reference(kind, where, encode, inside), "fields": given}


def _finite(value: Json, where: str) -> Json:
    if isinstance(value, float) and not math.isfinite(value):
        raise ManifestError(f"{value} is no number of a manifest", where=where)
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _is_frozen(kind: Any) -> bool:
    parameters = getattr(kind, "__dataclass_params__", None)
    return isinstance(kind, type) and parameters is not None and bool(parameters.frozen)


def _instance(node: dict[str, Json], known: list[Any], where: str) -> tuple[Any, dict[str, Json]]:
    """The frozen dataclass that `node` is an instance of, and the nodes of its fields."""
    if "is" in node:
        kind = _own_class(node["is"], where)
        given: Json = {key: item for key, item in node.items() if key != "is"}
    else:
        kind = _given({key: item for key, item in node.items() if key != "fields"}, known, where)
        given = node["fields"]
        if not _is_frozen(kind):
            raise ManifestError(f"{node['ref']} is no frozen dataclass, so a manifest may not call it", where=where)
    allowed = {entry.name for entry in fields(kind) if entry.init}
    if not isinstance(given, dict):
        raise ManifestError("the fields are no mapping", where=where)
    if unknown := sorted(set(given) - allowed):
        raise ManifestError(
            f"unknown field {unknown[0]!r}", where=where, mend=f"fields here: {', '.join(sorted(allowed))}"
        )
    return kind, given


def _build(kind: Any, values: dict[str, Any], where: str) -> Any:
    try:
        return kind(**values)
    except ComityError:
        raise
    except Exception as error:  # whatever a constructor makes of values that somebody else chose
        raise ManifestError(
            f"{kind.__name__} cannot be built: {error}",
            where=where,
            mend="write the manifest with Job.to_json, and change nothing in it",
        ) from error


def _own_class(name: Any, where: str) -> Any:
    module, _, qualname = str(name).partition(":")
    if not module.startswith("comity.") or not qualname.isidentifier():
        raise ManifestError(f"{name!r} is not a part of Comity", where=where)
    try:
        kind = getattr(importlib.import_module(module), qualname)
    except (ImportError, AttributeError, ValueError):
        raise ManifestError(
            f"this version of Comity has no {name!r}", where=where, mend="use the version that wrote the manifest"
        ) from None
    if not (_is_frozen(kind) and kind.__module__ == module):
        raise ManifestError(f"{name!r} is not a part that a manifest may build", where=where)
    return kind


def _given_array(node: dict[str, Json], known: list[Any], where: str) -> Any:
    for candidate in known:
        if isinstance(candidate, np.ndarray) and array_digest(candidate) == node["array"]:
            return candidate
    raise ManifestError(
        "the array it refers to was not given", where=where, mend=f"pass the array with digest {node['array']}"
    )


def _given(node: dict[str, Json], known: list[Any], where: str) -> Any:
    """The class or function among `known` that has the name and every pin of `node`."""
    told = ""
    for candidate in known:
        if not (isinstance(candidate, type) or inspect.isfunction(candidate)) or node["ref"] not in names(candidate):
            continue
        differing = difference(node, reference(candidate, where, encode))
        if differing is None:
            return candidate
        told = told or differing
    if told:
        raise ManifestError(
            f"{told} of {node['ref']} differs from the one the manifest pins",
            where=where,
            mend="give the version that the job was made with",
        )
    raise ManifestError(f"{node['ref']} was not given", where=where, mend=f"pass it: objects=[{node['ref']}]")
