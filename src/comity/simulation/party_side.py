"""The party's half of a round, as every engine runs it: the program's `at_party`, the chain's `encode`, admission.

Admission belongs to the server. It runs here because here the contribution is at hand, and the process is the server's
own; its verdict goes on with the answer.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from comity.core.arrays import Array
from comity.core.errors import ComityError, ConfigError, DataError, EmptyError, Reason
from comity.core.vectors import Vectors
from comity.data.examples import FederatedData
from comity.jobs.job import Job
from comity.learners.base import Hardware, Trainer
from comity.programs.party import LOCAL, Memory, Party
from comity.simulation.tasks import Batch, Failure, Task
from comity.transforms.chain import encode

Room: TypeAlias = NDArray[np.float32] | None


class PartySide:
    """Computes the answers of parties in this process, `size` to a batch; the model is built when first needed.

    `batched` trains the parties of a batch at once; otherwise they are trained one after another, and the batch only
    spares the way there and back.
    """

    def __init__(
        self, job: Job, data: FederatedData, hardware: Hardware, *, size: int = 1, batched: bool = False
    ) -> None:
        self.job = job
        self.data = data
        self.hardware = hardware
        self.size = size
        self.batched = batched
        self._transforms = job.chain.split()[0]

    @cached_property
    def trainer(self) -> Trainer:
        return self.job.program.model.build(self.hardware, batched=self.batched)

    @cached_property
    def local_start(self) -> NDArray[np.float32] | None:
        model = self.job.program.model
        return model.init_local(self.job.root_seed.child("model")) if model.layout.local_size else None

    def place(self, array: NDArray[np.float32]) -> Array:
        return self.trainer.place(array)

    def answer(self, sent: Vectors, tasks: Sequence[Task], room: Room = None) -> Iterator[Batch]:
        """The answers of `tasks`, all of one round, in order, batch by batch.

        `room` `[tasks, D]` is memory in which training may leave its change; what it holds then is part of the answers.
        """
        for start in range(0, len(tasks), self.size):
            some = slice(start, start + self.size)
            yield from self._attempt(sent, tasks[some], None if room is None else room[some])

    def _attempt(self, sent: Vectors, tasks: Sequence[Task], room: Room) -> list[Batch]:
        """One batch, unless something fails.

        A party's fault must not become the round's, whatever it is: the parties of a batch that fails are asked
        again one by one, and the one at fault answers with a `Failure`.
        """
        try:
            return [self._compute(sent, tasks, room)]
        except (Exception, SystemExit) as error:  # the one place where a party's code, data and model are called
            if len(tasks) == 1:
                return [Batch(tasks, None, failure=failure_of(error))]
        ones = [slice(k, k + 1) for k in range(len(tasks))]
        return [b for one in ones for b in self._attempt(sent, tasks[one], None if room is None else room[one])]

    def _compute(self, sent: Vectors, tasks: Sequence[Task], room: Room) -> Batch:
        round = tasks[0].round
        seed = self.job.root_seed
        party = Party(
            model=self.job.program.model,
            trainer=self.trainer,
            data=[self.data[task.party] for task in tasks],
            memory=Memory([task.memory for task in tasks]),
            seeds=[seed.child("party", round=round, party=task.party) for task in tasks],
            round=round,
            budgets=[task.budget for task in tasks],
            local_start=self.local_start,
            room=room,
        )
        contribution = self.job.program.at_party(sent, party)
        undeclared = set(party.memory.written) - set(self.job.exchange.memory) - {LOCAL}
        if undeclared:
            raise ConfigError(
                f"{sorted(undeclared)[0]!r} is remembered but not declared",
                where=f"{type(self.job.program).__name__}.at_party",
                mend="add it to `memory` in the program's exchange()",
            )
        contribution = encode(self._transforms, contribution, sent)
        verdicts = self.job.admission.check(contribution, self.job.exchange)
        faults = [None if verdict is None else Failure(*verdict) for verdict in verdicts]
        return Batch(tasks, contribution, party.memory.written, faults=faults)


def failure_of(error: BaseException) -> Failure:
    """An exception at a party as a reason that can be told."""
    if isinstance(error, DataError):
        return Failure(Reason.NO_DATA if isinstance(error, EmptyError) else Reason.DATA, str(error))
    if isinstance(error, ComityError):
        return Failure(Reason.ERROR, str(error))
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return Failure(Reason.ERROR, f"{type(error).__name__}: {error} ({frame.name}, line {frame.lineno})")
