"""Checks on the fields of a part, each a `ConfigError` that names the field, its value and the mend."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from math import isfinite
from typing import Any

from comity.core.errors import ConfigError


def positive(owner: object, *names: str, optional: bool = False, unit: str = "") -> None:
    """The fields are finite numbers above 0 (of `unit`, where that helps)."""
    for name in names:
        value = getattr(owner, name)
        _require(owner, name, _number(value) and value > 0, f"a number {unit}{unit and ' '}above 0", optional)


def nonnegative(owner: object, *names: str, optional: bool = False, unit: str = "") -> None:
    """The fields are finite numbers of 0 or more (of `unit`, where that helps)."""
    for name in names:
        value = getattr(owner, name)
        wanted = f"a number {unit} of 0 or more" if unit else "0 or more"
        _require(owner, name, _number(value) and value >= 0, wanted, optional)


def fraction(owner: object, *names: str) -> None:
    """The fields are numbers in [0, 1)."""
    for name in names:
        value = getattr(owner, name)
        _require(owner, name, _number(value) and 0 <= value < 1, "a number in [0, 1)")


def whole(owner: object, name: str, least: int, *, optional: bool = False) -> None:
    """The field is a whole number of `least` or more."""
    value = getattr(owner, name)
    fits = isinstance(value, int) and not isinstance(value, bool) and value >= least
    _require(owner, name, fits, f"a whole number of {least} or more", optional)


def one_of(owner: object, name: str, choices: Iterable[str]) -> None:
    """The field is one of a few words."""
    words = list(choices)
    _require(owner, name, getattr(owner, name) in words, f"one of {', '.join(map(repr, words))}")


def offers(value: Any, *methods: str) -> bool:
    """Whether `value` is an object (and not a class) that has all of `methods`."""
    return not isinstance(value, type) and all(callable(getattr(value, name, None)) for name in methods)


def closest(name: str, known: Iterable[str]) -> str:
    """The question whether the name most like `name` was meant; nothing where none is like it."""
    close = get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else ""


def described(value: Any) -> str:
    """`value` in the words of an error: `the class Net`, `the function net`, `a float`."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if hasattr(value, "__qualname__"):
        return f"the function {value.__qualname__}"
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _require(owner: object, name: str, fits: bool, wanted: str, optional: bool = False) -> None:
    value = getattr(owner, name)
    if fits or (optional and value is None):
        return
    raise ConfigError(
        f"{name} is {value!r}",
        where=f"{type(owner).__name__}.{name}",
        mend=f"give {wanted}{', or None' if optional else ''}",
    )
