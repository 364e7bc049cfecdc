"""The demo as a user sees it: three runs with a live bar, a table, and files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from comity.data import FederatedData, Parties, catalogue
from comity.demo import baselines, setting
from comity.demo.files import leave
from comity.demo.picture import draw
from comity.demo.table import accuracy_table
from comity.jobs.explain import Explanation, human_bytes
from comity.jobs.job import Job
from comity.runs.progress import Progress
from comity.runs.run import Run, run
from comity.simulation.simulation import Simulation


@dataclass(frozen=True, eq=False)
class Results:
    """The three runs; `alone` reports metrics on the common test set as those of its parties."""

    federated: Run
    centralised: Run
    alone: Run

    @property
    def accuracy(self) -> tuple[float, float, float]:
        """On the common test set: federated, centralised, and the mean over parties that train alone."""
        last = self.alone.history[-1].train["accuracy"]
        return self.federated.history[-1].test["accuracy"], self.centralised.history[-1].test["accuracy"], last


def show(folder: Path, seed: int, console: Console) -> Results:
    """Run the demo and leave `model.safetensors`, `history.json`, `job.json` and `curves.png` in `folder`."""
    setting.check_installed()
    started = perf_counter()
    data, job = setting.parties(seed), setting.federated(seed)
    _introduce(data, job.explain(), console)
    results = _train(job, data, seed, console)
    console.print(_table(results))
    _save(results, folder)
    seconds = perf_counter() - started
    _close(folder, seconds, console)
    return results


def _introduce(data: Parties, explanation: Explanation, console: Console) -> None:
    held = len(data.pooled())
    console.print(
        f"[bold]{len(data)} parties[/bold] hold {held:,} handwritten digits between them, {data.sizes.min()} to "
        f"{data.sizes.max()} each, and each its own mix of the ten (Dirichlet {setting.ALPHA}). Together they train "
        "one model; the digits stay where they are."
    )
    table = Table(title="What leaves a party in each round", box=SIMPLE_HEAD, title_justify="left")
    for heading in ("value", "what it is", "size"):
        table.add_column(heading, justify="right" if heading == "size" else "left")
    for line in explanation.leaving:
        table.add_row(line.value, line.meaning, human_bytes(line.bytes))
    console.print(table)


def _train(job: Job, data: Parties, seed: int, console: Console) -> Results:
    runs = []
    for title, each, where in (
        (f"federated: {setting.COHORT} of {len(data)} parties in each round", job, data),
        ("centralised: the same model on the pooled digits", baselines.centralised(seed), baselines.pooled(data)),
        ("alone: every party by itself", baselines.alone(seed), baselines.JudgedInCommon(data)),
    ):
        console.print(f"[bold]{title}[/bold]")
        runs.append(_run(each, where, console))
    return Results(*runs)


def _run(job: Job, data: FederatedData, console: Console) -> Run:
    ended = run(job, Simulation(data), callbacks=[Progress(console)])
    if ended.ending == "interrupted":
        raise KeyboardInterrupt
    return ended


def _table(results: Results) -> Table:
    history = results.federated.history
    moved = sum(record.bytes_up + record.bytes_down for record in history) / setting.PARTIES
    seconds = sum(history.column("seconds")) / len(history)
    return accuracy_table(results.accuracy, results.federated.evaluate().spread("accuracy"), moved, seconds)


def _save(results: Results, folder: Path) -> None:
    leave(results.federated, folder)
    draw(results.federated, results.centralised, results.alone, folder / "curves.png")


def _close(folder: Path, seconds: float, console: Console) -> None:
    console.print(f"Done in {seconds:.0f} s. In [bold]{escape(str(folder))}[/bold]:")
    console.print("  curves.png, model.safetensors, history.json, job.json")
    console.print("\nNext")
    for command, why in _next():
        console.print(f"  [bold]{escape(command)}[/bold]\n    [dim]{why}[/dim]")


def _next() -> tuple[tuple[str, str], ...]:
    natural = sum(bool(card.party) for card in catalogue())
    split = f"dirichlet(parties={setting.PARTIES}, alpha={setting.ALPHA})"
    return (
        ("comity data list", f"real data sets, {natural} of them with parties of their own"),
        (f"comity data describe digits --partition '{split}'", "how the parties of this demo differ"),
        ("comity run --help", "a job of your own, in a file"),
    )
