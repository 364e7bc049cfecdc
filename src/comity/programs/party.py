"""The party's end of a round: its learner, its data, and what it remembers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from comity.core.arrays import Array, namespace
from comity.core.errors import ConfigError, EmptyError
from comity.core.seeds import Seed
from comity.data.examples import PartyData
from comity.learners.base import Model, Trainer, Work
from comity.learners.base import Trained as Trained
from comity.learners.plan import Correction, LocalPlan

LOCAL = "local model"
"""The name under which the part of a model that stays at the party is remembered."""


@dataclass(eq=False)
class Memory:
    """What K parties keep between rounds: named arrays `[K, D]`.

    Reads give what was kept, or the default in a party's first round. Writes are held apart in `written` and become
    permanent only when the contribution that came with them is accepted, so a lost or refused contribution leaves no
    trace.
    """

    kept: Sequence[Mapping[str, Array]]
    written: dict[str, Array] = field(default_factory=dict)

    def get(self, name: str, default: Array) -> Array:
        """`[K, D]`: what each party keeps under `name`, `default` (`[D]`) for those that keep nothing yet."""
        if name in self.written:
            return self.written[name]
        rows = [kept.get(name, default) for kept in self.kept]
        if len(rows) == 1:
            return rows[0][None, :]
        return namespace(default).stack(rows)

    def __setitem__(self, name: str, value: Array) -> None:
        self.written[name] = value


@dataclass(eq=False)
class Party:
    """K parties at work in one round, as a program sees them; at a real node K is 1.

    `local_start` `[L]` is what the party-local part of the model starts from, None where a model has no such part.
    `room` `[K, D]` is memory in which training may leave its change.
    """

    model: Model
    trainer: Trainer
    data: Sequence[PartyData]
    memory: Memory
    seeds: Sequence[Seed]
    round: int
    budgets: Sequence[float] = ()
    local_start: Array | None = None
    room: NDArray[np.float32] | None = None

    def train(
        self,
        weights: Array,
        plan: LocalPlan,
        *,
        mu: float = 0.0,
        anchor: Array | None = None,
        drift: Array | None = None,
    ) -> Trained:
        """Train on the parties' own examples, from `weights` (`[D]`), with gradients `g + mu·(w − anchor) + drift`.

        Raises `EmptyError` where a party has nothing to train on.
        """
        if any(len(data.train) == 0 for data in self.data):
            raise EmptyError("there are no examples to train on", mend="leave this party out, or give it data")
        work = Work(
            weights=weights,
            examples=[data.train for data in self.data],
            plan=plan,
            seeds=self.seeds,
            round=self.round,
            local=self._local(),
            correction=Correction(mu, anchor, drift),
            budgets=self.budgets,
            room=self.room,
        )
        trained = self.trainer.train(work)
        if trained.local is not None:
            self.memory[LOCAL] = trained.local
        return trained

    def evaluate(self, weights: Array, on: str = "heldout") -> Mapping[str, NDArray[np.float64]]:
        """Metric statistics `[K, S]` of `weights` on the parties' own `heldout` or `train` examples."""
        if on not in ("heldout", "train"):
            raise ConfigError(f"parties have no {on!r} examples", where="Party.evaluate", mend="'heldout' or 'train'")
        examples = [data.heldout if on == "heldout" else data.train for data in self.data]
        return self.trainer.evaluate(weights, self._local(), examples)

    def examples(self, on: str = "heldout") -> NDArray[np.float32]:
        """How many examples each party has, a `[K, 1]` column."""
        sizes = [len(data.heldout if on == "heldout" else data.train) for data in self.data]
        return np.asarray(sizes, dtype=np.float32)[:, None]

    def _local(self) -> Array | None:
        """`[K, L]`: the part of the model that stays here, as it was left or, at first, as the model starts."""
        return None if self.local_start is None else self.memory.get(LOCAL, self.local_start)
