"""The errors of Comity: each says what was wrong, where, and how to mend it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec


class ComityError(Exception):
    """Base of every error that Comity raises on purpose.

    `what` is the fault in one sentence, `where` names the place (party, job, round, field, file), `mend` says what to
    do.
    """

    def __init__(self, what: str, *, where: str = "", mend: str = "") -> None:
        self.what = what
        self.where = where
        self.mend = mend
        super().__init__(what, where, mend)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        mend = f"\n  → {self.mend}" if self.mend else ""
        return f"{place}{self.what}{mend}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.where, self.mend)


def _rebuild(kind: type[ComityError], what: str, where: str, mend: str) -> ComityError:
    return kind(what, where=where, mend=mend)


class ConfigError(ComityError):
    """A job, a policy or an option that contradicts itself or is out of range."""


class DataError(ComityError):
    """A data set that is missing, malformed or unfit for what was asked of it."""


class ManifestError(ComityError):
    """A manifest that does not parse, or names something that is not trusted here."""


class EmptyError(DataError):
    """A party, or a part of it, that holds no examples."""


class LearnerError(ComityError):
    """A model that cannot be built, trained or evaluated as asked."""


class RunError(ComityError):
    """A run that cannot start or go on."""


class CheckpointError(RunError):
    """A checkpoint that cannot be written, read or matched with the job."""


class MissingDependency(ComityError):
    """An optional dependency that is not installed; the mend is the `pip install` that brings it."""

    @classmethod
    def of(cls, package: str, extra: str, purpose: str) -> MissingDependency:
        return cls(f"{purpose} needs the package {package!r}", mend=f'pip install "comity[{extra}]"')

    @classmethod
    def check(cls, packages: Sequence[str], extra: str, purpose: str) -> None:
        """Raise this for the first of `packages` that is not installed; nothing is imported."""
        for package in packages:
            if find_spec(package) is None:
                raise cls.of(package, extra, purpose)


class Reason(StrEnum):
    """Why a party's contribution did not count."""

    SHAPE = "shape"
    DTYPE = "dtype"
    NOT_FINITE = "not finite"
    NORM = "norm"
    WEIGHT = "weight"
    ERROR = "error"
    DATA = "data"
    NO_DATA = "no data"
    LATE = "late"
    LOST = "lost"
    DUPLICATE = "duplicate"
    STALE = "stale"
    UNKNOWN = "unknown"
    POLICY = "policy"


@dataclass(frozen=True)
class Rejection:
    """One contribution that was refused: whose, in which round, why, and in words."""

    party: str
    round: int
    reason: Reason
    detail: str

    def __str__(self) -> str:
        return f"party {self.party}, round {self.round}: {self.reason.value}: {self.detail}"
