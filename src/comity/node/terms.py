"""Terms: one `[[allow]]` or `[ask]` table of a policy file, read strictly."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from comity.core import tables
from comity.core.checks import closest
from comity.core.errors import ConfigError
from comity.core.tables import Reader, is_number

Scalar: TypeAlias = bool | int | float | str
Sources: TypeAlias = Literal["none", "approved"]

_DIGEST = re.compile(r"[0-9a-f]{64}")
_CONDITION = ("min", "max", "is", "one_of")


@dataclass(frozen=True)
class Condition:
    """What one value of a manifest must satisfy: bounds (inclusive) for a number, or one of a few values.

    Where the manifest has a part in that place (`local`, a plan), the part's class name is its value.
    """

    least: float | None = None
    most: float | None = None
    choices: tuple[Scalar, ...] | None = None

    def admits(self, value: Any) -> bool:
        """Whether `value` is good; a boolean is no number, and nothing but a number is within bounds."""
        if self.choices is not None:
            return any(_same(value, choice) for choice in self.choices)
        return (
            is_number(value)
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
        )

    def __str__(self) -> str:
        if self.choices is not None:
            return " or ".join(map(str, self.choices))
        bounds = [("at least", self.least), ("at most", self.most)]
        return ", ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)


@dataclass(frozen=True)
class Terms:
    """The conditions of one table; None means that it does not matter.

    `jobs` or `programs` say which jobs are meant. `where` names the table, in messages and in the lines of a ruling.
    `seconds` (for one task), `memory_mb`, `bytes_up` (in one round) and `rounds_per_day` (on one data set) are caps.
    """

    where: str
    name: str | None = None
    jobs: tuple[str, ...] | None = None
    programs: tuple[str, ...] | None = None
    conditions: Mapping[str, Condition] | None = None
    submitters: tuple[str, ...] | None = None
    datasets: tuple[str, ...] | None = None
    columns: tuple[str, ...] | None = None
    min_parties: int | None = None
    min_rows: int | None = None
    secure_sum: bool = False
    dp: bool = False
    source: Sources = "none"
    seconds: float | None = None
    memory_mb: int | None = None
    bytes_up: int | None = None
    rounds_per_day: int | None = None


def read_policy(document: Mapping[str, Any], file: str) -> tuple[tuple[Terms, ...], Terms | None]:
    """The `[[allow]]` tables and the `[ask]` table of a parsed file.

    Raises `ConfigError` with the file, the table, the key and the mend for whatever is not understood: a policy with a
    slip in it must not pass for another policy.
    """
    _known(document, ("allow", "ask"), file)
    given = document.get("allow", [])
    if not isinstance(given, list) or not all(isinstance(table, dict) for table in given):
        raise ConfigError("allow is no list of tables", where=file, mend="write [[allow]], with two brackets")
    allow = tuple(_read_allow(table, number, file) for number, table in enumerate(given, start=1))
    if "ask" not in document:
        return allow, None
    if not isinstance(document["ask"], dict):
        raise ConfigError("ask is no table", where=file, mend="write [ask] once, with one bracket")
    return allow, _read(document["ask"], "ask", file, source="approved")


def _read_allow(table: Mapping[str, Any], number: int, file: str) -> Terms:
    terms = _read(table, f"allow[{number}]", file, source="none")
    if terms.jobs is None and terms.programs is None:
        raise ConfigError(
            "the table does not say which jobs it allows",
            where=f"{file}, {terms.where}",
            mend='add program = "FedAvg", or jobs = ["the id that comity explain prints"]',
        )
    if terms.datasets is None:
        raise ConfigError(
            "the table does not say which data sets it allows",
            where=f"{file}, {terms.where}, key datasets",
            mend='add datasets = ["the name given to comity node data add"]',
        )
    return terms


def _read(table: Mapping[str, Any], name: str, file: str, source: Sources) -> Terms:
    plain = {key: value for key, value in table.items() if "." not in key}
    _known(plain, _READERS, f"{file}, {name}")
    read: dict[str, Any] = {"where": name, "source": source}
    for key, value in plain.items():
        field, reader = _READERS[key]
        read[field] = reader(value, f"{file}, {name}, key {key}")
    conditions = {key: _condition(value, f'{file}, {name}, key "{key}"') for key, value in table.items() if "." in key}
    for path in conditions:
        if not all(part.isidentifier() for part in path.split(".")):
            raise ConfigError(
                "this is no path into a manifest",
                where=f'{file}, {name}, key "{path}"',
                mend='write names with dots between, such as "local.lr"',
            )
    return Terms(**read, conditions=conditions or None)


def _known(table: Mapping[str, Any], keys: Iterable[str], where: str) -> None:
    for key, value in table.items():
        if key in keys:
            continue
        close = closest(key, keys)
        if isinstance(value, dict) and not close:
            mend = f'quote the path to a value of the manifest: "{key}.{next(iter(value), "lr")}" = {{max = 1}}'
        else:
            mend = close or f"keys here: {', '.join(keys)}"
        raise ConfigError(f"unknown key {key!r}", where=f"{where}, key {key}", mend=mend)


def _condition(value: Any, where: str) -> Condition:
    if isinstance(value, Scalar):
        return Condition(choices=(_scalar(value, where),))
    if not isinstance(value, dict) or not value:
        raise ConfigError(f"{value!r} is no condition", where=where, mend="write a value, or {min = 0, max = 1}")
    _known(value, _CONDITION, where)
    if "is" in value or "one_of" in value:
        if len(value) > 1:
            raise ConfigError("values and bounds at once", where=where, mend="keep one of the two")
        chosen = value["one_of"] if "one_of" in value else [value["is"]]
        if not isinstance(chosen, list) or not chosen:
            raise ConfigError(f"one_of is {chosen!r}", where=where, mend="give a list of values")
        return Condition(choices=tuple(_scalar(choice, where) for choice in chosen))
    for key, bound in value.items():
        if not is_number(bound):
            raise ConfigError(f"{key} is {bound!r}", where=where, mend="give a number")
    least, most = value.get("min"), value.get("max")
    if least is not None and most is not None and least > most:
        raise ConfigError(f"min {least:g} is above max {most:g}", where=where, mend="exchange them")
    return Condition(least, most)


def _scalar(value: Any, where: str) -> Scalar:
    if isinstance(value, str | bool) or is_number(value):
        return value
    raise ConfigError(f"{value!r} is no value of a manifest", where=where, mend="give a number, a text or true/false")


def _name_or_names(value: Any, where: str) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) and value else tables.names(value, where)


def _digests(value: Any, where: str) -> tuple[str, ...]:
    for item in tables.names(value, where):
        if not _DIGEST.fullmatch(item):
            raise ConfigError(f"{item!r} is no job id", where=where, mend="give all 64 hexadecimal digits of it")
    return tuple(value)


def _same(value: Any, choice: Scalar) -> bool:
    """Whether the two are equal; 1 and 1.0 are, 1 and true are not."""
    return value == choice and (is_number(value) if is_number(choice) else type(value) is type(choice))


_REQUIRED = tables.reader(lambda value: value == "required", '"required", or leave the key out', bool)
_READERS: Mapping[str, tuple[str, Reader]] = {
    "name": ("name", tables.text),
    "jobs": ("jobs", _digests),
    "program": ("programs", _name_or_names),
    "submitters": ("submitters", tables.names),
    "datasets": ("datasets", tables.names),
    "columns": ("columns", tables.names),
    "min_parties": ("min_parties", tables.count),
    "min_rows": ("min_rows", tables.count),
    "secure_sum": ("secure_sum", _REQUIRED),
    "dp": ("dp", _REQUIRED),
    "source": ("source", tables.one_of("none", "approved")),
    "seconds": ("seconds", tables.positive),
    "memory_mb": ("memory_mb", tables.count),
    "bytes_up": ("bytes_up", tables.count),
    "rounds_per_day": ("rounds_per_day", tables.count),
}
