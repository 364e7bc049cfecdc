"""Local plans: how a party trains, as data."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from comity.core.arrays import Array
from comity.core.checks import described, fraction, nonnegative, offers, positive, whole
from comity.core.errors import ConfigError
from comity.learners.records import RecordPrivacy
from comity.learners.schedules import Constant, Schedule


@dataclass(frozen=True, kw_only=True)
class LocalPlan:
    """What every local optimizer has in common.

    `lr` is the learning rate, scaled by `schedule` over the rounds. Work is given as `epochs` (passes over the party's
    examples, the last batch of a pass may be short) or as `steps` (batches, going round the data as often as needed),
    not both; one epoch when neither is given. `batch_size=None` is the full batch. `clip_norm` bounds the L2 norm of
    each step's gradient. With `privacy` every step is one of DP-SGD on a Poisson sample of `batch_size` records on
    average; all that follows (correction, `clip_norm`, momentum, moments, weight decay) works on the noisy gradient.
    """

    lr: float
    epochs: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    clip_norm: float | None = None
    schedule: Schedule = Constant()
    privacy: RecordPrivacy | None = None

    def __post_init__(self) -> None:
        where = type(self).__name__
        if self.epochs is not None and self.steps is not None:
            raise ConfigError("both epochs and steps are given", where=where, mend="give one of them")
        positive(self, "lr")
        positive(self, "clip_norm", optional=True)
        for name in ("epochs", "steps", "batch_size"):
            whole(self, name, 1, optional=True)
        if not offers(self.schedule, "factor"):
            raise ConfigError(
                f"{described(self.schedule)} is no schedule",
                where=f"{where}.schedule",
                mend="give one of ct.schedules, for example Cosine(rounds=100)",
            )
        if self.privacy is not None and not isinstance(self.privacy, RecordPrivacy):
            raise ConfigError(
                f"{described(self.privacy)} is no record-level privacy",
                where=f"{where}.privacy",
                mend="give RecordPrivacy(clip=1.0, multiplier=1.0), or None",
            )

    def rate(self, round: int) -> float:
        """The learning rate of a round."""
        return self.lr * self.schedule.factor(round)

    def batches(self, examples: int, budget: float = 1.0) -> int:
        """How many batches a party with that many examples computes, if it can afford the share `budget` in (0, 1]."""
        size = examples if self.batch_size is None else min(self.batch_size, examples)
        whole = self.steps if self.steps is not None else (self.epochs or 1) * ceil(examples / max(size, 1))
        return max(1, ceil(whole * budget))


@dataclass(frozen=True, kw_only=True)
class LocalSGD(LocalPlan):
    """Stochastic gradient descent at the party, with PyTorch's momentum, Nesterov and (coupled) weight decay."""

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        fraction(self, "momentum")
        nonnegative(self, "weight_decay")
        if self.nesterov and not self.momentum:
            raise ConfigError(
                "nesterov without momentum", where="LocalSGD.nesterov", mend="give momentum, for example 0.9"
            )


@dataclass(frozen=True, kw_only=True)
class LocalAdam(LocalPlan):
    """Adam at the party (Kingma and Ba 2015, arXiv 1412.6980); its moments start anew in every round."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "eps")
        nonnegative(self, "weight_decay")
        pair = isinstance(self.betas, tuple | list) and len(self.betas) == 2
        if not pair or not all(isinstance(beta, int | float) and 0 <= beta < 1 for beta in self.betas):
            raise ConfigError(
                f"betas is {self.betas!r}",
                where=f"{type(self).__name__}.betas",
                mend="give two numbers in [0, 1), for example (0.9, 0.999)",
            )


@dataclass(frozen=True, kw_only=True)
class LocalAdamW(LocalAdam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101)."""

    weight_decay: float = 0.01


@dataclass(frozen=True, eq=False)
class Correction:
    """The linear correction of every local gradient, `g + mu·(w − anchor) + drift`.

    `anchor` and `drift` are `[D]` or `[K, D]`. FedProx, SCAFFOLD, FedDyn and Ditto are corrections, not new training
    loops.

    Under record-level privacy a correction is added after the noise. It costs nothing as long as it is made from what
    the server sent and from changes that private training gave in earlier rounds, as in FedProx, SCAFFOLD (whose
    control variate is the mean noisy gradient of an earlier round) and FedDyn. A drift that a program computes from
    the examples by other means is not covered.
    """

    mu: float = 0.0
    anchor: Array | None = None
    drift: Array | None = None

    @property
    def is_none(self) -> bool:
        return (not self.mu or self.anchor is None) and self.drift is None
