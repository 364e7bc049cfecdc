"""The federation of simulated parties: all on this machine, by the same code as real ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

from comity.coordination.synchronous import Rounds
from comity.core.checks import described, one_of
from comity.core.errors import ConfigError
from comity.data.dataset import Dataset
from comity.data.examples import FederatedData
from comity.jobs.job import Job
from comity.learners.base import Hardware, Precision
from comity.programs.evaluate import Evaluate
from comity.runs.evaluation import Evaluation
from comity.runs.run import Run, Settings
from comity.simulation.choose import EngineName
from comity.simulation.devices import Devices
from comity.simulation.execution import Execution


@dataclass(frozen=True, eq=False)
class Simulation:
    """Parties simulated on this machine.

    `data` holds them; `devices` says how fast, reachable and reliable they are, in virtual time. `engine` is `auto`,
    `batched` (parties at once), `resident` (one after another) or `workers` (processes, as many as `workers` or the
    cores of this machine); the result is the same on each. `device` and `precision` say where and how a model
    computes.
    """

    data: FederatedData
    devices: Devices = Devices.ideal()
    engine: EngineName = "auto"
    workers: int | None = None
    device: str = "cpu"
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        if isinstance(self.data, Dataset):
            raise ConfigError(
                "the data set is not split over parties",
                where="Simulation.data",
                mend="split it: dataset.split(ct.data.IID(10))",
            )
        if not isinstance(self.devices, Devices):
            raise ConfigError(
                f"{described(self.devices)} is no description of devices",
                where="Simulation.devices",
                mend="give ct.Devices(...), or Devices.ideal()",
            )
        one_of(self, "precision", get_args(Precision))

    @property
    def hardware(self) -> Hardware:
        return Hardware(self.device, self.precision)

    def carry_out(self, job: Job, settings: Settings) -> Run:
        """Run `job` to its end. Raises `RunError` when it fails, and `ConfigError` when it does not fit the data."""
        self._check(job)
        return Execution(self, job, settings).run()

    def evaluate(self, run: Run, on: str = "heldout") -> Evaluation:
        """The model of `run` judged by every party, by an `Evaluate` job of its own."""
        program = Evaluate(run.job.program.model, run.model.vector, on)  # type: ignore[arg-type]  # checked by Party
        job = Job(program=program, rounds=Rounds(count=1), seed=run.job.seed)
        always = replace(self, devices=Devices.ideal())
        history = Execution(always, job, Settings(), run.party_memory).run().history
        return Evaluation(history[-1].train, history.party_records(), history.rejections())

    def _check(self, job: Job) -> None:
        if len(self.data) == 0:
            raise ConfigError("there are no parties", where="Simulation.data", mend="split a data set over parties")
        cohort = getattr(job.rounds, "cohort", None)
        if cohort is not None and cohort > len(self.data):
            raise ConfigError(
                f"a cohort of {cohort} from a population of {len(self.data)}",
                where="job.rounds.cohort",
                mend=f"give at most {len(self.data)}, or None for everyone",
            )
