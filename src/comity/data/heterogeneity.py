"""How far parties differ: sizes, the labels each has, and how far apart two parties' labels lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from comity.core.errors import DataError, MissingDependency
from comity.core.seeds import Seed
from comity.data.examples import Column, FederatedData

if TYPE_CHECKING:
    from rich.table import Table

_BINS = 10
_PAIRS = 20_000
_SHOWN = 60


@dataclass(frozen=True, eq=False)
class Heterogeneity:
    """A report on n parties of a population of `parties`.

    `names` are the parties looked at, `sizes` `[n]` their examples (held-out ones included), `counts` `[n, C]` how
    often each has each label. A regression target is cut at the deciles of the parties' pooled targets, and `binned`
    says so; `counts` is None where targets have several columns. `distances` are the total variation distances, in
    [0, 1], between the label distributions of pairs of parties: of all pairs, or of 20,000 drawn ones.
    """

    parties: int
    names: tuple[str, ...]
    sizes: NDArray[np.int64]
    counts: NDArray[np.int64] | None
    distances: NDArray[np.float64]
    binned: bool

    @property
    def sampled(self) -> bool:
        """Whether only some of the parties were looked at."""
        return len(self.names) < self.parties

    @property
    def gini(self) -> float:
        """The Gini coefficient of the sizes: 0 where all are equal, near 1 where one party has everything."""
        ordered = np.sort(self.sizes)
        ranks = np.arange(1, len(ordered) + 1)
        return float(2 * (ranks * ordered).sum() / (len(ordered) * ordered.sum()) - (len(ordered) + 1) / len(ordered))

    @property
    def entropy(self) -> NDArray[np.float64]:
        """`[n]` entropy in bits of each party's labels: 0 for a single label, log2(C) for all labels alike."""
        if self.counts is None:
            return np.empty(0)
        shares = self.counts / self.counts.sum(axis=1, keepdims=True)
        bits: NDArray[np.float64] = (shares * np.log2(1 / np.where(shares > 0, shares, 1))).sum(axis=1)
        return bits

    @property
    def labels(self) -> NDArray[np.int64]:
        """`[n]` how many different labels each party has."""
        return np.empty(0, np.int64) if self.counts is None else (self.counts > 0).sum(axis=1)

    def rows(self) -> tuple[tuple[str, str], ...]:
        """The figures of the report with their names, as text."""
        sizes = self.sizes
        seen = f"{self.parties:,}" + (f", of which {len(self.names):,} were looked at" if self.sampled else "")
        rows = [
            ("parties", seen),
            ("examples", f"{int(sizes.sum()):,}"),
            ("examples a party", f"{sizes.min():,} … {np.median(sizes):,.0f} … {sizes.max():,} (least, median, most)"),
            ("inequality of sizes (Gini)", f"{self.gini:.2f}"),
        ]
        if self.counts is not None:
            classes = self.counts.shape[1]
            noun = "target decile" if self.binned else "label"
            entropy, labels = self.entropy, self.labels
            rows += [
                (f"{noun}s a party", f"{labels.min()} … {np.median(labels):.0f} … {labels.max()} of {classes}"),
                (
                    f"{noun} entropy, bits",
                    f"{entropy.min():.2f} … {np.median(entropy):.2f} … {entropy.max():.2f} of {np.log2(classes):.2f}",
                ),
            ]
            if len(self.distances):
                mean, most = self.distances.mean(), self.distances.max()
                rows.append((f"{noun} distance of two parties", f"mean {mean:.2f}, most {most:.2f} (total variation)"))
        return tuple(rows)

    def __str__(self) -> str:
        width = max(len(name) for name, _ in self.rows())
        return "\n".join(f"{name:<{width}}  {value}" for name, value in self.rows())

    def __rich__(self) -> Table:
        from rich.table import Table

        table = Table(title="Heterogeneity", show_header=False)
        for row in self.rows():
            table.add_row(*row)
        return table

    def plot(self, path: str | Path) -> Path:
        """Draw each party's labels as a stacked bar, and a histogram of the sizes; returns the picture's path."""
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise MissingDependency.of("matplotlib", "plot", "drawing a picture") from error
        shown = min(len(self.names), _SHOWN)
        figure = Figure(figsize=(max(8.0, 4 + 0.14 * shown), 4.5), layout="constrained")
        bars, histogram = figure.subplots(1, 2, width_ratios=[3, 1])
        self._draw_bars(bars, shown)
        histogram.hist(self.sizes, bins=min(30, max(5, len(self.sizes) // 3)), color="0.4")
        histogram.set(xlabel="examples of a party", ylabel="parties", title="Sizes")
        figure.savefig(Path(path), dpi=150)
        return Path(path)

    def _draw_bars(self, axes: Any, shown: int) -> None:
        from matplotlib import colormaps

        counts = self.sizes[:, None] if self.counts is None else self.counts
        colours = colormaps["tab10" if counts.shape[1] <= 10 else "nipy_spectral"]
        bottom = np.zeros(shown)
        for label in range(counts.shape[1]):
            shade = label if counts.shape[1] <= 10 else label / (counts.shape[1] - 1)
            height = counts[:shown, label]
            axes.bar(np.arange(shown), height, bottom=bottom, width=0.9, color=colours(shade), label=str(label))
            bottom += height
        if 1 < counts.shape[1] <= 20:
            axes.legend(
                title="decile" if self.binned else "label", fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0)
            )
        names = [name if len(name) <= 16 else name[:15] + "…" for name in self.names[:shown]]
        axes.set_xticks(np.arange(shown), names, rotation=90, fontsize=6)
        axes.set(xlim=(-0.7, shown - 0.3), ylabel="examples", title=f"Labels of {shown} of {self.parties:,} parties")


def describe(data: FederatedData, *, classes: int | None = None, sample: int = 2000) -> Heterogeneity:
    """The report on any population; of more than `sample` parties, that many are drawn and looked at.

    `classes` is the number of classes; None for one more than the largest integer label seen.
    """
    if len(data) == 0 or sample < 1:
        raise DataError(f"{len(data)} parties, {sample} to look at", where="describe", mend="give 1 or more of both")
    ids = data.ids
    rng = Seed.of(0).child("describe").rng()
    chosen = np.arange(len(ids))
    if len(ids) > sample:
        chosen = np.sort(rng.choice(len(ids), size=sample, replace=False))
    names = tuple(ids[int(i)] for i in chosen)
    targets = [_targets(data, name) for name in names]
    sizes = np.array([len(target) for target in targets], np.int64)
    empty = np.flatnonzero(sizes == 0)
    if len(empty):
        raise DataError("the party has no examples", where=f"party {names[empty[0]]}", mend="leave it out")
    counts, binned = _counts(targets, classes)
    distances = np.empty(0) if counts is None else _distances(counts, rng)
    return Heterogeneity(len(ids), names, sizes, counts, distances, binned)


def _targets(data: FederatedData, name: str) -> Column:
    party = data[name]
    return np.concatenate([party.train.labels(), party.heldout.labels()])


def _counts(targets: list[Column], classes: int | None) -> tuple[NDArray[np.int64] | None, bool]:
    if targets[0].ndim != 1:
        return None, False
    binned = any(target.dtype.kind == "f" for target in targets)
    if binned:
        edges = np.quantile(np.concatenate(targets), np.arange(1, _BINS) / _BINS)
        targets = [np.searchsorted(edges, target, side="right") for target in targets]
        classes = _BINS
    width = classes or 1 + max(int(target.max()) for target in targets)
    return np.stack([np.bincount(target.astype(np.int64), minlength=width) for target in targets]), binned


def _distances(counts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    shares = counts / counts.sum(axis=1, keepdims=True)
    size = len(shares)
    if size * (size - 1) // 2 <= _PAIRS:
        first, second = np.triu_indices(size, 1)
    else:
        first = rng.integers(size, size=_PAIRS)
        second = (first + rng.integers(1, size, size=_PAIRS)) % size
    distance: NDArray[np.float64] = np.abs(shares[first] - shares[second]).sum(axis=1) / 2
    return distance
