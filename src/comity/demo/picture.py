"""The picture of the demo: accuracy over the rounds, and what each party gains over training alone."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comity.core.errors import MissingDependency
from comity.core.files import replace_file
from comity.runs.run import Run

_FEDERATED, _CENTRALISED, _ALONE = "#1a5fb4", "#26a269", "#e66100"


def draw(federated: Run, centralised: Run, alone: Run, path: Path) -> None:
    """Save the picture. Raises `MissingDependency`, and `CheckpointError` where it cannot be written."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependency.of("matplotlib", "demo", "the picture") from None
    figure = Figure(figsize=(10.5, 4.2), layout="constrained")
    curves, bars = figure.subplots(1, 2, width_ratios=[3, 2])
    _curves(curves, federated, centralised, alone)
    _bars(bars, federated, alone)
    for axes in (curves, bars):
        axes.spines[["top", "right"]].set_visible(False)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_ylim(0, 1.02)
        axes.grid(axis="y", alpha=0.25)
        axes.set_axisbelow(True)
    buffer = BytesIO()
    figure.savefig(buffer, dpi=160)
    replace_file(path, buffer.getvalue())


def _curves(axes: Any, federated: Run, centralised: Run, alone: Run) -> None:
    lines = (
        ("centralised, on pooled data", _CENTRALISED, centralised.history.column("accuracy"), "-"),
        ("federated", _FEDERATED, federated.history.column("accuracy"), "-"),
        ("alone, mean and range of parties", _ALONE, alone.history.column("train_accuracy"), "-"),
    )
    for label, colour, values, style in lines:
        rounds = np.arange(1, len(values) + 1)
        axes.plot(rounds, values, style, color=colour, linewidth=1.8, label=f"{label}: {values[-1]:.1%}")
    by_round = _parties_alone(alone)
    rounds = np.arange(1, len(by_round) + 1)
    axes.fill_between(rounds, by_round.min(axis=1), by_round.max(axis=1), color=_ALONE, alpha=0.13, linewidth=0)
    axes.set(xlabel="round", xlim=(1, len(by_round)), title="Accuracy on the common test set")
    axes.legend(loc="lower right", frameon=True, framealpha=0.9, edgecolor="none")


def _bars(axes: Any, federated: Run, alone: Run) -> None:
    own = np.sort(_parties_alone(alone)[-1])
    positions = np.arange(len(own))
    top = federated.history.column("accuracy")[-1]
    axes.bar(positions, top - own, bottom=own, width=0.8, color=_FEDERATED, alpha=0.25, label="gained by federation")
    axes.bar(positions, own, width=0.8, color=_ALONE, alpha=0.85, label="alone")
    axes.axhline(top, color=_FEDERATED, linewidth=1.8)
    axes.set(xlabel=f"the {len(own)} parties, by what they reach alone", title="What each party gains")
    axes.set_xticks([])
    axes.legend(loc="upper center", ncols=2, frameon=True, framealpha=0.9, edgecolor="none", bbox_to_anchor=(0.5, 0.9))


def _parties_alone(alone: Run) -> NDArray[np.float64]:
    """`[rounds, parties]` accuracy of each party's own model on the common test set."""
    rows: dict[int, list[float]] = {}
    for record in alone.history.party_records():
        rows.setdefault(record.round, []).append(record.metrics["accuracy"])
    return np.array([rows[number] for number in sorted(rows)])
