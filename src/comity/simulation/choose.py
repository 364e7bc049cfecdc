"""Which engine runs a job, and why."""

from __future__ import annotations

import os
import sys
from math import ceil
from typing import TYPE_CHECKING, Literal, TypeAlias

from comity.coordination.buffered import Buffered
from comity.coordination.synchronous import Rounds
from comity.core.errors import ConfigError
from comity.jobs.job import Job
from comity.learners.base import Hardware
from comity.learners.plan import LocalPlan, LocalSGD
from comity.simulation.inprocess import InProcess
from comity.simulation.party_side import PartySide
from comity.simulation.tasks import Engine
from comity.simulation.workers import WorkerPool

if TYPE_CHECKING:
    from comity.simulation.simulation import Simulation

EngineName: TypeAlias = Literal["auto", "batched", "resident", "workers"]

_AT_ONCE = 64
_DEVICE_BYTES = 1 << 30
_TOGETHER = 8
_TOGETHER_BYTES = 8 << 20


def choose(job: Job, simulation: Simulation) -> Engine:
    """The engine that `simulation` names for `job`; `auto` takes the batched one where it pays, else fills the cores.

    Raises `ConfigError` where the engine that was asked for cannot run the job, saying why.
    """
    name, hardware = simulation.engine, simulation.hardware
    _check(name, simulation.workers)
    model = job.program.model
    plan: LocalPlan = getattr(job.program, "local", LocalSGD(lr=1.0))
    crowd = min(asked_at_once(job), len(simulation.data))
    obstacle = model.batchable(plan)
    if name == "batched" and obstacle:
        raise ConfigError(
            f"parties cannot be trained at once: {obstacle}",
            where="Simulation.engine",
            mend='use engine="resident" or "workers"',
        )
    pays, reason = model.prefers_batched(hardware) if obstacle is None else (False, obstacle)
    batched = name == "batched" or (name == "auto" and pays and crowd > 1)
    size = batch_size(crowd, model.layout.size, batched=batched, hardware=hardware)
    side = PartySide(job, simulation.data, hardware, size=size, batched=batched)
    workers = max(1, min(simulation.workers or cores(), ceil(crowd / size) if batched else crowd))
    kind = f"batched, {size} parties at once" if batched else "resident"
    why = reason if name == "auto" else "it was asked for"
    spread = name == "workers" or (name == "auto" and hardware.device == "cpu" and workers > 1)
    if spread:
        return WorkerPool(side, workers, crowd, f"{kind}, in {workers} worker processes: {why}")
    return InProcess(side, f"{kind}, in this process: {why}")


def batch_size(crowd: int, entries: int, *, batched: bool, hardware: Hardware) -> int:
    """How many parties are computed together; it depends on the job and the device, never on the number of workers.

    Batched parties come in equal batches that fit the cache of a processor, or the memory of a device. Resident ones
    are handed over together while their vectors are small.
    """
    if not batched:
        return max(1, min(_TOGETHER, crowd, _TOGETHER_BYTES // (4 * max(entries, 1))))
    most = _AT_ONCE if hardware.device == "cpu" else max(1, _DEVICE_BYTES // (4 * max(entries, 1)))
    return ceil(crowd / ceil(crowd / most))


def asked_at_once(job: Job) -> int:
    """How many parties are at work at a time, at most; a population of any size when the policy asks everyone."""
    match job.rounds:
        case Buffered(concurrency=concurrency):
            return concurrency
        case Rounds(cohort=int(cohort)):
            return cohort
    return sys.maxsize


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check(name: str, workers: int | None) -> None:
    if name not in ("auto", "batched", "resident", "workers"):
        raise ConfigError(f"engine is {name!r}", where="Simulation.engine", mend="auto, batched, resident or workers")
    if workers is not None and workers < 1:
        raise ConfigError(f"workers is {workers}", where="Simulation.workers", mend="give 1 or more")
