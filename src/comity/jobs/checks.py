"""Contradictions between the parts of a job, each refused with its mend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comity.aggregation.admission import Admission
from comity.coordination.buffered import Buffered
from comity.coordination.synchronous import Rounds
from comity.core.checks import whole
from comity.core.errors import ConfigError
from comity.jobs.private import check_private
from comity.jobs.stopping import EarlyStopping
from comity.learners.base import statistics_sizes
from comity.learners.plan import LocalPlan
from comity.programs.base import Program
from comity.programs.checks import check_model
from comity.programs.evaluate import Evaluate
from comity.transforms.adaptive import AdaptiveClip
from comity.transforms.chain import Link
from comity.transforms.clip import Clip

if TYPE_CHECKING:
    from comity.jobs.job import Job


def check(job: Job) -> None:
    """Raise `ConfigError` for the first contradiction in `job`."""
    _kinds(job)
    job.chain.split()
    check_private(job)
    _plan(job)
    _evaluation(job)
    _metrics(job)
    _state_at_parties(job)
    _numbers(job)
    _stopping(job)


def _kinds(job: Job) -> None:
    wanted = (
        (job.program, Program, "program", "a program such as FedAvg(model, local)"),
        (job.rounds, Rounds | Buffered, "rounds", "Rounds(...) or Buffered(...)"),
        (job.aggregator, Link, "aggregator", "a reducer such as Mean(), or a chain such as Clip(1.0) >> Mean()"),
        (job.admission, Admission, "admission", "Admission(), or leave it out"),
        (job.stop, EarlyStopping | None, "stop", 'EarlyStopping("accuracy", target=0.9), or None'),
    )
    for value, kind, name, mend in wanted:
        if not isinstance(value, kind) or isinstance(value, type):
            given = value.__name__ if isinstance(value, type) else type(value).__name__
            raise ConfigError(f"{given} is no {name}", where=f"job.{name}", mend=f"give {mend}")
    if not isinstance(job.seed, int) or isinstance(job.seed, bool):
        raise ConfigError(f"seed is {job.seed!r}", where="job.seed", mend="give a whole number")
    whole(job, "evaluate_every", 1)
    check_model(job.program)


def _plan(job: Job) -> None:
    """Let the learner refuse a local plan now rather than at every party."""
    plan = getattr(job.program, "local", None)
    if isinstance(plan, LocalPlan):
        job.program.model.check(plan, corrected=getattr(job.program, "corrects", False))


def _evaluation(job: Job) -> None:
    if not isinstance(job.program, Evaluate):
        return
    transforms, _, after = job.chain.split()
    if transforms or after:
        raise ConfigError(
            "an evaluation returns metrics and no vectors, so there is nothing to transform",
            where="job.aggregator",
            mend="leave the aggregator at Mean()",
        )
    if not isinstance(job.rounds, Rounds) or job.rounds.count != 1:
        raise ConfigError(
            "an evaluation is one round: the model does not change",
            where="job.rounds",
            mend="use Rounds(count=1)",
        )


def _metrics(job: Job) -> None:
    """Statistics are sums that only the model's own metrics can be computed from."""
    sizes = statistics_sizes(job.program.model)
    for name, size in job.program.exchange().metrics.items():
        if sizes.get(name) != size:
            known = ", ".join(f"{name!r} of {size}" for name, size in sizes.items())
            raise ConfigError(
                f"{type(job.program).__name__} returns {size} statistics of a metric {name!r}; its model has {known}",
                where="job.program.exchange",
                mend="add the metric to the model's metrics, or leave it out of the exchange",
            )


def _state_at_parties(job: Job) -> None:
    if isinstance(job.rounds, Buffered) and job.exchange.memory:
        kept = ", ".join(job.exchange.memory)
        raise ConfigError(
            f"{type(job.program).__name__} keeps {kept} at the parties in step with the server's rounds; "
            "buffered rounds mix versions",
            where="job.rounds",
            mend="use Rounds(...), or a program without state at the parties such as FedAvg or FedProx",
        )


def _numbers(job: Job) -> None:
    """Numbers among a contribution's vectors (FedNova's steps) must not be scaled together with them."""
    values = job.exchange.contribution
    numbers = [name for name, value in values.items() if value.size == 1 < max(v.size for v in values.values())]
    if not numbers:
        return
    returns = f"{type(job.program).__name__} returns the number {numbers[0]!r} beside its vectors"
    if any(isinstance(part, Clip | AdaptiveClip) for part in job.chain.split()[0]):
        raise ConfigError(
            f"{returns}, and clipping scales all of a contribution by one factor",
            where="job.aggregator",
            mend="bound the gradient instead (clip_norm in the local plan), or use FedAvg or FedProx",
        )
    if isinstance(job.rounds, Buffered):
        raise ConfigError(
            f"{returns}, and staleness damps all of a contribution",
            where="job.rounds",
            mend="use Rounds(...), or a program such as FedAvg or FedProx",
        )


def _stopping(job: Job) -> None:
    if job.stop is None:
        return
    model = job.program.model
    judged = set() if model.layout.local_size else {"loss"} | {metric.name for metric in model.metrics}
    known = {"train_loss"} | judged
    if job.stop.metric not in known:
        raise ConfigError(
            f"the history has no column {job.stop.metric!r}",
            where="job.stop.metric",
            mend=f"one of: {', '.join(sorted(known))}; or add it to the model's metrics",
        )
    plan = getattr(job.program, "local", None)
    privacy = plan.privacy if isinstance(plan, LocalPlan) else None
    if job.stop.metric == "train_loss" and privacy is not None and not privacy.report_loss:
        raise ConfigError(
            "parties under record-level privacy return no loss to stop by",
            where="job.stop.metric",
            mend="stop by a metric on a test set, or give RecordPrivacy(..., report_loss=True), which ε does not cover",
        )
