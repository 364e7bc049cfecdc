"""A run in a few lines."""

from __future__ import annotations

from collections import Counter

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from comity.jobs.explain import human_bytes
from comity.runs.evaluation import Evaluation
from comity.runs.run import Run


def summary(run: Run, seconds: float) -> Table:
    """How the run ended, its last metrics, and what it moved; `seconds` is what it took here."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_row("ended", f"[bold]{run.ending}[/bold]" + (f": {run.detail}" if run.detail else ""))
    rounds = list(run.history)
    table.add_row("rounds", f"{len(rounds)} in {seconds:.1f} s")
    if rounds:
        for title, metrics in (("training", rounds[-1].train), ("test set", _last_test(run))):
            if metrics:
                table.add_row(title, "  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
        up, down = (sum(getattr(record, name) for record in rounds) for name in ("bytes_up", "bytes_down"))
        table.add_row("moved", f"{human_bytes(up)} up, {human_bytes(down)} down")
        if rounds[-1].time:
            table.add_row("virtual time", f"{rounds[-1].time:,.0f} s")
    if refused := run.history.rejections():
        reasons = Counter(rejection.reason.value for rejection in refused).most_common()
        table.add_row("refused", ", ".join(f"{count} × {reason}" for reason, count in reasons))
        table.add_row("the last", escape(str(refused[-1])))
    return table


def spreads(run: Run, evaluation: Evaluation) -> Table:
    """Each metric over the parties' own held-out examples: the mean over parties, the worst tenth of them, the best."""
    table = Table(box=SIMPLE_HEAD, title="On the parties' own held-out examples", title_justify="left")
    for heading in ("", "mean", "worst tenth", "worst", "best"):
        table.add_column(heading, justify="right" if heading else "left")
    better = {metric.name: metric.higher_is_better for metric in run.job.program.model.metrics}
    for name in evaluation.pooled:
        spread = evaluation.spread(name, higher_is_better=better.get(name, False))
        values = (spread.mean, spread.worst_tenth, spread.worst, spread.best)
        table.add_row(name, *(f"{value:.4f}" for value in values))
    return table


def _last_test(run: Run) -> dict[str, float]:
    """The metrics of the last round in which the model was judged on the common test set."""
    return next((dict(record.test) for record in reversed(run.history.rounds) if record.test), {})
