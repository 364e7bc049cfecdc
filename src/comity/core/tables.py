"""TOML that people edit: read strictly, each slip with its place and the mend; and written."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeGuard

from comity.core.checks import closest
from comity.core.errors import ConfigError

Reader: TypeAlias = Callable[[Any, str], Any]
"""Takes a value and where it stands, and returns it as it is used. Raises `ConfigError` where it does not fit."""


def parse(content: bytes, where: str) -> dict[str, Any]:
    """The document of a file. Raises `ConfigError` where it is no TOML in UTF-8."""
    try:
        return tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:  # also for numbers and nesting that no reader takes
        raise ConfigError(f"this is no TOML: {error}", where=where, mend="correct that line") from None


def read(table: Mapping[str, Any], readers: Mapping[str, Reader], where: str) -> dict[str, Any]:
    """The values of a table, each by the reader of its key. Raises `ConfigError` for a key that has none."""
    for key in table:
        if key not in readers:
            mend = closest(key, readers) or f"keys here: {', '.join(readers)}"
            raise ConfigError(f"unknown key {key!r}", where=f"{where}, key {key}", mend=mend)
    return {key: readers[key](value, f"{where}, key {key}") for key, value in table.items()}


def reader(fits: Callable[[Any], bool], words: str, made: Callable[[Any], Any] = lambda value: value) -> Reader:
    """The reader that takes what `fits`, which is `words`, and returns what is `made` of it."""

    def take(value: Any, where: str) -> Any:
        if not fits(value):
            raise ConfigError(f"{value!r} is not {words}", where=where, mend=f"give {words}")
        return made(value)

    return take


def one_of(*words: str) -> Reader:
    return reader(lambda value: isinstance(value, str) and value in words, " or ".join(f'"{word}"' for word in words))


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether `value` is a finite number; a boolean is none."""
    return is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def is_line(value: Any) -> bool:
    """Whether `value` is a text without control characters, of which a terminal shows one line."""
    return isinstance(value, str) and value.isprintable()


text = reader(lambda value: isinstance(value, str), "a text in quotes")
line = reader(is_line, "a line of text in quotes")
whole = reader(is_whole, "a whole number")
count = reader(lambda value: is_whole(value) and value >= 1, "a whole number of 1 or more")
number = reader(is_number, "a number")
positive = reader(lambda value: is_number(value) and value > 0, "a number above 0", float)


def texts(value: Any, where: str) -> tuple[str, ...]:
    """A list of texts, which may be empty."""
    return _texts(value, where, least=0)


def names(value: Any, where: str) -> tuple[str, ...]:
    """A list of one or more texts, none of them empty."""
    return _texts(value, where, least=1)


def _texts(value: Any, where: str, least: int) -> tuple[str, ...]:
    fits = isinstance(value, list) and len(value) >= least
    if fits and all(isinstance(item, str) and len(item) >= least for item in value):
        return tuple(value)
    mend = 'write a list in quotes: ["one", "two"]'
    raise ConfigError(f"{value!r} is no list of {'names' if least else 'texts'}", where=where, mend=mend)


def written(value: str | Path | float | tuple[str, ...]) -> str:
    """A value as TOML."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, int | float):
        return repr(value)
    # JSON's escapes are TOML's; TOML wants one character more escaped.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
