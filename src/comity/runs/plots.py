"""Pictures of runs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from comity.core.errors import MissingDependency
from comity.runs.history import History

_NOT_METRICS = ("round", "time", "seconds", "parties", "bytes_up", "bytes_down", "rejected")
_SUMMED = ("bytes_up", "bytes_down", "seconds")
_LABELS = {
    "round": "round",
    "time": "virtual time (s)",
    "seconds": "wall-clock time (s)",
    "bytes_up": "bytes sent by parties",
}


def plot_histories(histories: Mapping[str, History], *, path: str | None = None, against: str = "round") -> Any:
    """One panel a metric, one line for each named history, over `against` (`round`, `time`, `seconds`, `bytes_up`).

    Returns the matplotlib figure; also saves it where `path` is given. Training and test values share a panel.
    """
    figure_class = _figure()
    metrics: list[str] = []
    for history in histories.values():
        for record in history:
            for name in record.row():
                metric = name.removeprefix("train_")
                if name not in _NOT_METRICS and metric not in metrics:
                    metrics.append(metric)
    figure = figure_class(figsize=(5.2 * max(len(metrics), 1), 3.8), layout="constrained")
    panels = figure.subplots(1, max(len(metrics), 1), squeeze=False)[0]
    for panel, metric in zip(panels, metrics, strict=False):
        for name, history in histories.items():
            _line(panel, history, metric, against, f"{name} test".strip(), "-")
            _line(panel, history, f"train_{metric}", against, f"{name} training".strip(), "--")
        panel.set(xlabel=_LABELS.get(against, against), ylabel=metric)
        panel.grid(alpha=0.3)
        panel.legend(frameon=False)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _line(panel: Any, history: History, column: str, against: str, label: str, style: str) -> None:
    rows = [record.row() for record in history]
    positions = [row[against] for row in rows]
    if against in _SUMMED:
        positions = list(accumulate(positions))
    points = [(x, row[column]) for x, row in zip(positions, rows, strict=True) if column in row]
    if points:
        panel.plot(*zip(*points, strict=True), style, label=label, linewidth=1.6)


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependency.of("matplotlib", "plot", "a plot") from None
    return Figure
