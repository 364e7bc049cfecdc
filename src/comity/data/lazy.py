"""Parties whose data are made or read when they are asked for, so that a million of them cost nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from comity.core.errors import DataError
from comity.data.checks import check_party
from comity.data.columns import position_of
from comity.data.examples import Examples, PartyData, PartyNames

if TYPE_CHECKING:
    from comity.data.heterogeneity import Heterogeneity


@dataclass(frozen=True, eq=False)
class Lazy:
    """`count` parties named `prefix-000 …`; `load(name)` gives one party's data and is called for each use.

    Nothing is kept between two uses, so memory does not grow with `count`. `load` must give the same data for the same
    name; make it a function of a module (not a lambda) where worker processes run. Every party is checked when it is
    loaded; `classes` makes the check include the range of the labels. `names` replaces `count` and `prefix` where the
    parties have names of their own.
    """

    count: int
    load: Callable[[str], PartyData]
    test: Examples | None = None
    prefix: str = "party"
    classes: int | None = None
    names: Sequence[str] | None = None
    ids: Sequence[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.count < 1:
            raise DataError(f"{self.count} parties", where="Lazy", mend="give 1 or more")
        if self.names is not None and len(self.names) != self.count:
            raise DataError(f"{self.count} parties and {len(self.names)} names", where="Lazy", mend="make them agree")
        object.__setattr__(self, "ids", PartyNames(self.count, self.prefix) if self.names is None else self.names)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __contains__(self, party: object) -> bool:
        return party in self.ids

    def __getitem__(self, party: str | int) -> PartyData:
        """Load a party, by name or by position. Raises `DataError` for an unknown name or unfit data."""
        name = self.ids[position_of(self.ids, party)] if isinstance(party, str) else self.ids[party]
        data = self.load(name)
        check_party(data, self.classes, where=f"party {name}")
        return data

    def describe(self, *, sample: int = 200) -> Heterogeneity:
        """How far the parties differ in size and labels; at most `sample` of them are loaded for it."""
        from comity.data.heterogeneity import describe

        return describe(self, classes=self.classes, sample=sample)
