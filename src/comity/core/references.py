"""References: a class or function of the user's, named, and pinned by what it says and what it carries.

Pinned are the source text; the values of the variables that a function closes over and its default arguments (by
name); for a class its own base classes and, where it is made inside a function, its attributes and what its methods
close over. Two functions of one source that carry different values have different references.

Not pinned are the globals that a function or a method reads, the modules it uses and the functions it calls: a job
whose model depends on a global keeps its id when the global changes. Give such a value as a field or an argument.
Python gives the source of a lambda as whole lines, so two lambdas in one line that differ in their text alone are one.
Classes and functions of installed packages are named, not pinned: their version is a matter of the environment.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import sys
import sysconfig
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from types import CellType, FunctionType, ModuleType
from typing import Any, TypeAlias

import numpy as np

from comity.core.arrays import to_numpy
from comity.core.errors import ManifestError

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
Encode: TypeAlias = Callable[[Any, str, tuple[Any, ...]], Json]

_ROLES = {
    "bases": "the base class",
    "closure": "the variable",
    "defaults": "the default",
    "attributes": "the attribute",
    "methods": "the method",
}


def reference(target: Any, where: str, encode: Encode, inside: tuple[Any, ...] = ()) -> dict[str, Json]:
    """The node that names and pins a class or function; `encode` writes the values that it carries.

    `inside` are the classes and functions whose reference is being written: one that carries itself is named there and
    pinned already. Raises `ManifestError` that names what cannot be pinned.
    """
    pinned, installed = names(target)
    if any(target is outer for outer in inside):
        return {"ref": pinned}
    node: dict[str, Json] = {"ref": installed}
    if not _is_foreign(target):
        node = {"ref": pinned, "source": source_digest(target)}
        if node["source"] is None:
            raise ManifestError(
                f"the source of {pinned} cannot be found, so it cannot be pinned",
                where=where,
                mend="define it in a file rather than at the prompt",
            )
    elif "<locals>" not in pinned:
        return node
    carried = _of_class if isinstance(target, type) else _of_function
    return node | carried(target, _Writer(where, encode, (*inside, target)))


def names(target: Any) -> tuple[str, str]:
    """The names under which a manifest may refer to `target`: pinned by its source, or installed."""
    return target.__qualname__, f"{target.__module__}:{target.__qualname__}"


def difference(pinned: Mapping[str, Json], given: Mapping[str, Json]) -> str | None:
    """None where two references are the same; otherwise what differs first, in words."""
    if _text(pinned) == _text(given):
        return None
    if pinned.get("source") != given.get("source"):
        return "the source"
    for pin, role in _ROLES.items():
        theirs, ours = pinned.get(pin, {}), given.get(pin, {})
        if isinstance(theirs, dict) and isinstance(ours, dict):
            for name in sorted(theirs | ours):
                if _text(theirs.get(name)) != _text(ours.get(name)):
                    return f"{role} {name!r}"
    return "something beside the source"


def source_digest(target: Any) -> str | None:
    """SHA-256 of a class's or function's source text; None where Python cannot find the source."""
    try:
        source = textwrap.dedent(inspect.getsource(target if isinstance(target, type) else _own(target).__code__))
    except (OSError, TypeError):
        return None
    return hashlib.sha256(source.encode()).hexdigest()


class _Writer:
    """Writes the values that a class or function carries, with errors that name the variable."""

    def __init__(self, where: str, encode: Encode, inside: tuple[Any, ...]) -> None:
        self.where, self.encode, self.inside = where, encode, inside

    def pins(self, pin: str, carried: Mapping[str, Any]) -> dict[str, Json]:
        """`{pin: {name: node, …}}`, or nothing where nothing is carried."""
        written: dict[str, Json] = {name: self._value(pin, name, value) for name, value in carried.items()}
        return {pin: written} if written else {}

    def _value(self, pin: str, name: str, value: Any) -> Json:
        if isinstance(value, ModuleType):
            return {"ref": value.__name__, "kind": "module"}
        if isinstance(value, float) and not math.isfinite(value):
            return {"ref": str(value), "kind": "float"}
        if inspect.isbuiltin(value) and isinstance(value.__self__, type | ModuleType | None):
            return {"ref": f"{value.__module__}:{value.__qualname__}", "kind": "builtin"}
        if hasattr(value, "__array__") and not isinstance(value, type):
            with suppress(TypeError, RuntimeError):
                value = np.asarray(to_numpy(value))
        try:
            return self.encode(value, self.where, self.inside)
        except ManifestError as error:
            raise ManifestError(
                f"{_ROLES[pin]} {name!r} of {self.inside[-1].__qualname__} cannot be pinned: {error.what}",
                where=self.where,
                mend="let it carry plain values, arrays, frozen dataclasses, classes or functions",
            ) from error


def _of_function(function: Any, writer: _Writer) -> dict[str, Json]:
    own = _own(function)
    # `__class__` is what `super()` uses: the class around a method, which its source says.
    cells = [(name, cell) for name, cell in zip(own.__code__.co_freevars, own.__closure__ or (), strict=True)]
    closure = {name: _content(cell) for name, cell in cells if name != "__class__"}
    return writer.pins("closure", closure) | writer.pins("defaults", _defaults(own))


def _of_class(kind: type, writer: _Writer) -> dict[str, Json]:
    node = writer.pins("bases", {base.__qualname__: base for base in kind.__bases__ if not _is_foreign(base)})
    if "<locals>" not in kind.__qualname__:
        return node
    written = dict(_methods(kind))
    methods: dict[str, Json] = {name: pins for name, at in written.items() if (pins := _of_function(at, writer))}
    others = {name: value for name, value in vars(kind).items() if name not in written}
    attributes = {name: value for name, value in others.items() if _is_attribute(name, value)}
    return node | ({"methods": methods} if methods else {}) | writer.pins("attributes", attributes)


def _content(cell: CellType) -> Any:
    """What a variable holds; None for one that is not set yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _methods(kind: type) -> Iterator[tuple[str, FunctionType]]:
    """The functions written in the body of a class; those that `dataclass` and the like generate are not."""
    file = inspect.getfile(kind)
    for name, member in vars(kind).items():
        if isinstance(member, staticmethod | classmethod):
            member = member.__func__
        elif isinstance(member, property | cached_property):
            member = member.fget if isinstance(member, property) else member.func
        if isinstance(member, FunctionType) and inspect.unwrap(member).__code__.co_filename == file:
            yield name, member


def _is_attribute(name: str, value: Any) -> bool:
    made_by_python = name.startswith(("__", "_abc_")) or isinstance(value, cached_property | staticmethod | classmethod)
    return not (made_by_python or inspect.isdatadescriptor(value))


def _defaults(function: Any) -> dict[str, Any]:
    code, values = function.__code__, function.__defaults__ or ()
    positional = code.co_varnames[code.co_argcount - len(values) : code.co_argcount]
    return dict(zip(positional, values, strict=True)) | (function.__kwdefaults__ or {})


def _own(function: Any) -> Any:
    """The function under the decorators of installed packages (`torch.no_grad()`), which say nothing of the user's."""
    inner = getattr(function, "__wrapped__", None)
    if isinstance(inner, FunctionType) and _in_installed_file(function.__code__.co_filename):
        return _own(inner)
    return function


def _is_foreign(target: Any) -> bool:
    return target.__module__.startswith("comity.") or _is_installed(target)


def _is_installed(target: Any) -> bool:
    try:
        return _in_installed_file(inspect.getfile(target if isinstance(target, type) else _own(target)))
    except (TypeError, OSError):
        return target.__module__ in sys.builtin_module_names


def _in_installed_file(file: str) -> bool:
    paths = sysconfig.get_paths()
    return any(file.startswith(paths[key]) for key in ("purelib", "platlib", "stdlib"))


def _text(node: Any) -> str:
    """The text by which nodes are compared: 1, 1.0 and true are three values, as they are in a manifest."""
    return json.dumps(node, sort_keys=True)
