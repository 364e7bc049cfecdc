"""The history of a run: one record a committed round."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from comity.core.errors import MissingDependency, Reason, Rejection

if TYPE_CHECKING:
    import pandas as pd

_FIGURES = ("round", "time", "seconds", "parties", "bytes_up", "bytes_down", "rejected")


@dataclass(frozen=True)
class PartyRecord:
    """What one party's contribution to a round said in the clear: its weight and its metrics."""

    round: int
    party: str
    weight: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class RoundRecord:
    """One committed round.

    `time` is virtual seconds since the start (devices and network), `seconds` the wall-clock time it took here;
    `train` are metrics of local training over the cohort, `test` those of the new model on the common test set (empty
    when it was not evaluated).
    """

    round: int
    time: float
    seconds: float
    parties: int
    bytes_up: int
    bytes_down: int
    train: Mapping[str, float]
    test: Mapping[str, float] = field(default_factory=dict)
    rejected: tuple[Rejection, ...] = ()

    def row(self) -> dict[str, Any]:
        """The record as one flat row of a table; test metrics by their own names, training metrics as `train_…`."""
        flat: dict[str, Any] = {name: getattr(self, name) for name in _FIGURES if name != "rejected"}
        flat |= {f"train_{name}": value for name, value in self.train.items()}
        return flat | dict(self.test) | {"rejected": len(self.rejected)}

    def value(self, name: str) -> float | None:
        """One entry of the row; None where it was not measured."""
        if name in self.test:
            return self.test[name]
        if name.startswith("train_"):
            return self.train.get(name.removeprefix("train_"))
        return self.row().get(name) if name in _FIGURES else None

    def to_json(self) -> str:
        """One line of JSON; numbers that are not finite become null."""
        return json.dumps(_finite(asdict(self)), sort_keys=True)

    @classmethod
    def from_json(cls, line: str) -> RoundRecord:
        fields = json.loads(line)
        rejected = tuple(Rejection(**{**r, "reason": Reason(r["reason"])}) for r in fields.pop("rejected"))
        for name in ("train", "test"):
            fields[name] = {key: float("nan") if value is None else value for key, value in fields[name].items()}
        return cls(**fields, rejected=rejected)


@dataclass(frozen=True, eq=False)
class Cohort:
    """The party records of one round, kept as columns: names, weights `[K]`, and metric values `[K]`."""

    round: int
    names: Sequence[str]
    weights: NDArray[np.float64]
    metrics: Mapping[str, NDArray[np.float64]]

    def records(self) -> Iterator[PartyRecord]:
        for k, name in enumerate(self.names):
            values = {metric: float(column[k]) for metric, column in self.metrics.items()}
            yield PartyRecord(self.round, name, float(self.weights[k]), values)


@dataclass
class History:
    """The rounds of a run in order, as records, as a table, and as a picture."""

    rounds: list[RoundRecord] = field(default_factory=list)
    _parties: list[Cohort] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rounds)

    def __iter__(self) -> Iterator[RoundRecord]:
        return iter(self.rounds)

    def __getitem__(self, index: int) -> RoundRecord:
        return self.rounds[index]

    def column(self, name: str) -> list[float]:
        """One column over the rounds in which it was measured: `accuracy`, `train_loss`, `seconds` …"""
        values = (record.value(name) for record in self.rounds)
        return [value for value in values if value is not None]

    def frame(self) -> pd.DataFrame:
        """One row a round, as a pandas DataFrame."""
        return frame_of([record.row() for record in self.rounds])

    def parties(self) -> pd.DataFrame:
        """One row a party and round: its weight and the metrics that its contribution carried in the clear."""
        rows = [
            {"round": record.round, "party": record.party, "weight": record.weight, **record.metrics}
            for record in self.party_records()
        ]
        return frame_of(rows)

    def party_records(self) -> list[PartyRecord]:
        """The same rows as plain records."""
        return [record for cohort in self._parties for record in cohort.records()]

    def note_parties(self, cohort: Cohort) -> None:
        self._parties.append(cohort)

    def rejections(self) -> list[Rejection]:
        """Every contribution that did not count, with its reason."""
        return [rejection for record in self.rounds for rejection in record.rejected]

    def to_facts(self) -> dict[str, Any]:
        """All of it as JSON-able data, for a checkpoint."""
        cohorts = [
            [c.round, list(c.names), c.weights.tolist(), {n: _finite(v.tolist()) for n, v in c.metrics.items()}]
            for c in self._parties
        ]
        return {"rounds": [record.to_json() for record in self.rounds], "cohorts": cohorts}

    @classmethod
    def from_facts(cls, facts: Any) -> History:
        """The history that `to_facts` wrote down."""
        cohorts = [
            Cohort(round, names, np.asarray(weights), {n: np.asarray(v, dtype=np.float64) for n, v in metrics.items()})
            for round, names, weights, metrics in facts["cohorts"]
        ]
        return cls([RoundRecord.from_json(line) for line in facts["rounds"]], cohorts)

    def to_json(self) -> str:
        """The whole history as a JSON list."""
        return "[\n" + ",\n".join(record.to_json() for record in self.rounds) + "\n]\n"

    def plot(self, path: str | None = None, against: str = "round") -> Any:
        """Loss and metrics over rounds (or over `time`, `bytes_up`, …); saved to `path` where one is given."""
        from comity.runs.plots import plot_histories

        return plot_histories({"": self}, path=path, against=against)


def frame_of(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a pandas DataFrame. Raises `MissingDependency`."""
    try:
        import pandas as pd
    except ImportError:
        raise MissingDependency.of("pandas", "frames", "a history as a DataFrame") from None
    return pd.DataFrame(rows)


def _finite(node: Any) -> Any:
    if isinstance(node, float):
        return node if np.isfinite(node) else None
    if isinstance(node, dict):
        return {key: _finite(item) for key, item in node.items()}
    if isinstance(node, list | tuple):
        return [_finite(item) for item in node]
    return node
