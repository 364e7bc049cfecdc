"""What a demo has come to, as a table."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table

from comity.jobs.explain import human_bytes
from comity.runs.evaluation import Spread


def accuracy_table(common: tuple[float, float, float], own: Spread, moved: float, seconds: float) -> Table:
    """Accuracies and costs.

    `common` is the accuracy on the common test set: federated, centralised, and the mean over parties that train
    alone; `own` the spread over the parties' held-out examples; `moved` bytes a party; `seconds` a round.
    """
    federated, centralised, alone = common
    table = Table(box=SIMPLE_HEAD, title="Accuracy", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in (
        ("on the common test set", ""),
        ("  [bold]federated[/bold]", f"[bold]{federated:.1%}[/bold]"),
        ("  centralised, on pooled data", f"{centralised:.1%}"),
        ("  alone, mean over parties", f"{alone:.1%}"),
        ("federated, on the parties' own held-out digits", ""),
        ("  mean over parties", f"{own.mean:.1%}"),
        ("  worst tenth", f"{own.worst_tenth:.1%}"),
        ("  best", f"{own.best:.1%}"),
        ("cost", ""),
        ("  sent and received by a party, in all", human_bytes(moved)),
        ("  a round", f"{1000 * seconds:.0f} ms"),
    ):
        table.add_row(name, value)
    return table
