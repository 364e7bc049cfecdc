"""Partitions as text: `dirichlet(parties=40, alpha=0.3)`."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from comity import data
from comity.core.errors import ConfigError

_KINDS: Mapping[str, Any] = {
    "iid": data.IID,
    "dirichlet": data.Dirichlet,
    "shards": data.Shards,
    "label_count": data.LabelCount,
    "quantity_log_normal": data.QuantityLogNormal,
    "quantity_power_law": data.QuantityPowerLaw,
    "feature_shift": data.FeatureShift,
    "natural": data.Natural,
}


def parse(text: str) -> data.Partition:
    """The partition that `text` writes: a name, and arguments by name that are literals. Raises `ConfigError`."""
    name, arguments = _call(text)
    kind = _KINDS.get(name.lower()) or {made.__name__.lower(): made for made in _KINDS.values()}.get(name.lower())
    if kind is None:
        raise _fault(f"no partition is named {name!r}", f"the names are {', '.join(_KINDS)}")
    known = [entry.name for entry in fields(kind)]
    if unknown := [argument for argument in arguments if argument not in known]:
        raise _fault(f"{name} has no argument {unknown[0]!r}", f"its arguments are {', '.join(known)}")
    try:
        partition: data.Partition = kind(**arguments)
    except TypeError as error:
        raise _fault(str(error).partition("() ")[2] or str(error), f"its arguments are {', '.join(known)}") from None
    return partition


def _call(text: str) -> tuple[str, dict[str, Any]]:
    wanted = "write, for example, 'dirichlet(parties=40, alpha=0.3)', 'iid(parties=10)' or natural"
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        raise _fault(f"{text!r} cannot be read", wanted) from None
    if isinstance(node, ast.Name):
        return node.id, {}
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.args:
        raise _fault(f"{text!r} is no partition with arguments by name", wanted)
    try:
        return node.func.id, {str(argument.arg): ast.literal_eval(argument.value) for argument in node.keywords}
    except ValueError:
        raise _fault(f"an argument of {text!r} is no number or text", wanted) from None


def _fault(what: str, mend: str) -> ConfigError:
    return ConfigError(what, where="--partition", mend=mend)
