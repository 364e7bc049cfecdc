"""A live progress bar: rounds, loss, metrics, bytes."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bar,
)

from comity.jobs.explain import human_bytes
from comity.jobs.job import Job
from comity.runs.history import RoundRecord


class Progress:
    """A callback that draws one line and keeps it up to date."""

    def __init__(self, console: Console | None = None) -> None:
        self._bar = Bar(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._moved = 0
        self._test: dict[str, float] = {}

    def on_start(self, job: Job, note: str) -> None:
        self._task = self._bar.add_task(type(job.program).__name__, total=job.rounds.count, facts="")
        self._bar.start()

    def on_round(self, record: RoundRecord) -> str | None:
        self._moved += record.bytes_up + record.bytes_down
        self._test |= record.test
        shown = dict(record.train) | self._test
        facts = "  ".join(f"{name} {value:.4f}" for name, value in shown.items())
        self._bar.update(self._task, completed=record.round, facts=f"{facts}  {human_bytes(self._moved)}")
        return None

    def on_end(self, ending: str) -> None:
        self._bar.stop()
