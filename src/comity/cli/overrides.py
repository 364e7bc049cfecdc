"""`--set program.local.lr=0.05`: fields of frozen dataclasses replaced by their dotted path."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from comity.core.checks import closest
from comity.core.errors import ComityError, ConfigError

T = TypeVar("T")

_PLAIN = (bool, int, float, str, NoneType)


def split(assignment: str) -> tuple[list[str], str]:
    """`"program.local.lr=0.05"` as its path and its text. Raises `ConfigError`."""
    key, sign, text = assignment.partition("=")
    path = key.strip().split(".")
    if not sign or not all(path):
        raise ConfigError(f"{assignment!r} is no assignment", where="--set", mend="write --set program.local.lr=0.05")
    return path, text.strip()


def override(root: T, path: Sequence[str], text: str, *, under: str) -> T:
    """`root` with the field at `path` replaced by the value that `text` writes.

    Values are Python literals; a bare word is a string. Raises `ConfigError` for an unknown field, with the fields
    there are, and for a value of another kind than the field takes; and whatever a part says to its new value.
    """
    try:
        renewed: T = _replaced(root, list(path), text, under)
        return renewed
    except ComityError as error:
        if error.where.startswith("--set"):
            raise
        where = f"--set {under}.{'.'.join(path)}={text}"
        raise type(error)(error.what, where=f"{where}: {error.where}", mend=error.mend) from error


def _replaced(node: Any, path: list[str], text: str, where: str) -> Any:
    name, rest = path[0], path[1:]
    known = _names(node)
    here = f"{where}.{name}"
    if name not in known:
        hint = closest(name, known)
        listed = ", ".join(known) or "none: it has no fields of its own"
        raise ConfigError(
            f"{where} has no field {name!r}", where=f"--set {here}", mend=f"{hint and hint + ' '}fields here: {listed}"
        )
    current = node[name] if isinstance(node, Mapping) else getattr(node, name)
    renewed = _replaced(current, rest, text, here) if rest else _value(node, name, current, text, here)
    return {**node, name: renewed} if isinstance(node, Mapping) else replace(node, **{name: renewed})


def _names(node: Any) -> list[str]:
    if isinstance(node, Mapping):
        return [str(key) for key in node]
    if is_dataclass(node) and not isinstance(node, type):
        return [entry.name for entry in fields(node) if entry.init]
    return []


def _value(node: Any, name: str, current: Any, text: str, where: str) -> Any:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    wanted = _wanted(node, name, current)
    fitting = _fit(value, wanted)
    if fitting is None and isinstance(value, _PLAIN) and value is not None:
        fitting = _fit(text, wanted)
    if fitting is None:
        raise ConfigError(
            f"{text!r} is not what this field takes", where=f"--set {where}", mend=_advice(wanted, current, where)
        )
    return fitting[0]


def _wanted(node: Any, name: str, current: Any) -> list[Any]:
    """The types that a field takes, by its annotation or, where that says nothing, by its value."""
    hint: Any = Any
    if is_dataclass(node):
        try:
            hint = get_type_hints(type(node)).get(name, Any)
        except (NameError, TypeError):
            hint = Any
    return list(_alternatives(type(current) if hint is Any else hint))


def _alternatives(hint: Any) -> Iterable[Any]:
    if get_origin(hint) in (Union, UnionType):
        for part in get_args(hint):
            yield from _alternatives(part)
    else:
        yield hint


def _fit(value: Any, wanted: Sequence[Any]) -> tuple[Any] | None:
    """The value as the first of the wanted types that takes it, in a tuple of one; None where none does."""
    for kind in wanted:
        if get_origin(kind) is Literal:
            if value in get_args(kind):
                return (value,)
        elif _is_sequence(kind):
            if isinstance(value, list | tuple):
                return (tuple(value),)
        elif kind is float and type(value) is int:
            return (float(value),)
        elif kind in _PLAIN and type(value) is kind:
            return (value,)
    return None


def _is_sequence(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, Sequence) and origin is not str


def _advice(wanted: Sequence[Any], current: Any, where: str) -> str:
    if inner := _names(current):
        return f"it is a {type(current).__name__}; set its fields, such as {where.split('.', 1)[-1]}.{inner[0]}=…"
    said = []
    for kind in wanted:
        if get_origin(kind) is Literal:
            said += [str(choice) for choice in get_args(kind)]
        elif _is_sequence(kind):
            said.append("a list")
        elif kind in _PLAIN:
            said.append(_NAMES[kind])
    return f"give {' or '.join(said)}; it is {current!r} now" if said else "change it in the job file"


_NAMES: Mapping[Any, str] = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    NoneType: "None",
}
