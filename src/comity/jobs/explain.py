"""What leaves a party: a table of every value, its size, its readers, and its price in privacy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comity.core.contribution import Exchange
from comity.learners.base import Model
from comity.learners.plan import LocalPlan
from comity.learners.records import RecordPrivacy
from comity.transforms.chain import Chain, Reads

if TYPE_CHECKING:
    from rich.table import Table

_READERS: Mapping[Reads, str] = {
    "individual": "the server, party by party",
    "group": "the server, as sums over groups",
    "sum": "the server, as one sum over all parties",
}
_ASSUMPTIONS: Mapping[Reads, str] = {
    "individual": "the server is trusted with each update",
    "group": "the server follows the protocol",
    "sum": "the server follows the protocol",
}

_NO_PRIVACY = "no differential privacy: ε is unbounded"
_UNCOVERED = "record-level privacy does not cover it"

_ON_FAILURE = "When a party fails, the text of its error is sent in place of all this."


@dataclass(frozen=True)
class Leaving:
    """One value that leaves a party in a round: `size` entries, `bytes` as sent."""

    value: str
    meaning: str
    size: int
    bytes: int
    readers: str
    assumption: str
    privacy: str

    @property
    def entries(self) -> str:
        return "1 entry" if self.size == 1 else f"{self.size:,} entries"


@dataclass(frozen=True)
class Explanation:
    """Every value that leaves a party in one round, and what comes down to it."""

    leaving: tuple[Leaving, ...]
    received_bytes: int

    @property
    def sent_bytes(self) -> int:
        """Bytes that one party sends in one round."""
        return sum(line.bytes for line in self.leaving)

    def __str__(self) -> str:
        lines = ["What leaves a party in each round:"]
        for line in self.leaving:
            lines += [
                f"  {line.value}: {line.meaning}",
                f"    size     {line.entries}, {human_bytes(line.bytes)}",
                f"    read by  {line.readers}",
                f"    assumes  {line.assumption}",
                f"    privacy  {line.privacy}",
            ]
        lines.append(_ON_FAILURE)
        lines.append(
            f"In all {human_bytes(self.sent_bytes)} up and {human_bytes(self.received_bytes)} down a party and round."
        )
        return "\n".join(lines)

    def table(self) -> Table:
        """The same as a rich table, for a terminal."""
        from rich.table import Table

        table = Table(title="What leaves a party in each round", caption=_ON_FAILURE, show_lines=True)
        for heading in ("value", "size", "read by", "assuming", "privacy"):
            table.add_column(heading)
        for line in self.leaving:
            size = f"{line.entries}\n{human_bytes(line.bytes)}"
            table.add_row(f"[b]{line.value}[/b]\n{line.meaning}", size, line.readers, line.assumption, line.privacy)
        return table


def explain(model: Model, exchange: Exchange, chain: Chain, plan: LocalPlan | None = None) -> Explanation:
    """The explanation of a job whose program moves `exchange` and whose contributions go through `chain`.

    `plan` is how parties train, where the program trains by one.
    """
    transforms, reducer, _ = chain.split()
    readers, assumption = _READERS[reducer.reads], _ASSUMPTIONS[reducer.reads]
    through = "".join(f", {transform.note}" for transform in transforms)
    records = None if plan is None else plan.privacy
    privacy = _of_vectors(records)
    leaving = [
        Leaving(
            name, value.meaning + through, value.size, vector_bytes(model, value.size), readers, assumption, privacy
        )
        for name, value in exchange.contribution.items()
    ]
    leaving.append(
        Leaving("weight", "the number of examples it counts for", 1, 8, readers, assumption, _of_weight(records))
    )
    for name, size in exchange.metrics.items():
        meaning = "sums from which the metric is computed, over the party's examples"
        leaving.append(
            Leaving(f"metric {name}", meaning, size, 8 * size, readers, assumption, _of_metric(records, name))
        )
    received = sum(vector_bytes(model, value.size) for value in exchange.broadcast.values())
    return Explanation(tuple(leaving), received)


def _of_vectors(records: RecordPrivacy | None) -> str:
    if records is None or not records.multiplier:
        return _NO_PRIVACY
    return (
        f"each record by DP-SGD at the party (clip {records.clip:g}, noise multiplier {records.multiplier:g}), if the "
        "program sees the examples in local training alone; ε is each party's own and grows with every round"
    )


def _of_weight(records: RecordPrivacy | None) -> str:
    return _NO_PRIVACY if records is None else f"{_UNCOVERED}: the number of examples is taken as known"


def _of_metric(records: RecordPrivacy | None, name: str) -> str:
    if records is None:
        return _NO_PRIVACY
    if name == "loss" and not records.report_loss:
        return "nothing to protect: local training leaves zeros in its place, if the program puts nothing else there"
    return f"{_UNCOVERED}: it is computed on the examples, without noise"


def vector_bytes(model: Model, size: int) -> int:
    """Bytes of a vector on the wire: a model-sized one at the precision of the model's entries, others as float32."""
    return model.layout.wire_bytes if size == model.layout.size else 4 * size


def human_bytes(count: float) -> str:
    """`count` bytes in the largest unit that keeps the number above 1: `1.6 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
