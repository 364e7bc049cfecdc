"""The loop: the coordinator of a deployment, driven in virtual time, with engines in place of the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from comity.coordination.coordinator import Coordinator
from comity.coordination.effects import (
    Abandon,
    Accept,
    Assign,
    Commit,
    Effect,
    Finished,
    Refuse,
    Release,
    WakeAt,
)
from comity.coordination.events import Aggregated, Contributed, Event, Lost, Rejected, Start, Stop, Tick
from comity.core import manifest, states
from comity.core.arrays import Array
from comity.core.contribution import Aggregate
from comity.core.errors import CheckpointError, Rejection
from comity.core.vectors import Vectors
from comity.data.examples import FederatedData
from comity.jobs.job import Job
from comity.learners.plan import LocalPlan
from comity.simulation.ahead import Ahead, Answer
from comity.simulation.clock import Clock, Happening
from comity.simulation.devices import Devices, Outcome
from comity.simulation.rounds import Collecting
from comity.simulation.tasks import Engine, Task
from comity.transforms.chain import ChainState, begin, tell


@dataclass(frozen=True, eq=False)
class Assigned:
    """An assignment that has not ended: what to compute, and when its answer arrives (None: never)."""

    task: Task
    arrival: Happening | None


@dataclass(frozen=True, eq=False)
class Committed:
    """A round that has just become part of the model."""

    round: int
    time: float
    aggregate: Aggregate
    collected: Collecting


@dataclass(eq=False)
class Loop:
    """Everything that changes while a simulation runs; between two rounds it can be saved and restored.

    `state` is the program's, `learned` the chain's. `advance` goes on to the next commit. The same job, data and
    devices give the same commits on any engine.
    """

    job: Job
    data: FederatedData
    devices: Devices
    engine: Engine
    coordinator: Coordinator
    state: Any
    learned: ChainState
    clock: Clock = field(default_factory=Clock)
    memory: dict[str, dict[str, Array]] = field(default_factory=dict)
    finished: Finished | None = None
    last_rejection: Rejection | None = None

    def __post_init__(self) -> None:
        self._versions: dict[int, Vectors] = {}
        self._assigned: dict[int, Assigned] = {}
        self._answer: Answer | None = None
        self._commit: Commit | None = None
        self._ahead = Ahead(self.engine)
        self._collecting = Collecting.of(self.job, self.coordinator.round + 1)
        self._ideal = self.devices == Devices.ideal()
        self._devices_seed = self.job.root_seed.child("devices")
        moved = self.job.explain()
        self._bytes_down, self._bytes_up = moved.received_bytes, moved.sent_bytes

    @classmethod
    def start(
        cls,
        job: Job,
        data: FederatedData,
        devices: Devices,
        engine: Engine,
        memory: Mapping[str, Mapping[str, Array]],
    ) -> Loop:
        """A run from its beginning; `memory` is what parties keep from an earlier one."""
        coordinator = Coordinator(job.rounds, data.ids, job.root_seed.child("coordinator"))
        arrays = states.flatten(initial := job.program.init(job.root_seed))
        state = states.restore(initial, {path: _placed(engine, array) for path, array in arrays.items()})
        loop = cls(job, data, devices, engine, coordinator, state, begin(job.chain, job.exchange))
        loop.memory = {party: dict(kept) for party, kept in memory.items()}
        loop._publish(0)
        loop._handle(Start(0.0))
        return loop

    def advance(self) -> Committed | None:
        """Go on until the next commit; None when the run is over."""
        while self._commit is None and self.finished is None:
            happening = self.clock.next()
            if happening is None:
                raise AssertionError("the coordinator waits for nothing")
            self._happen(happening)
        if self._commit is None:
            return None
        return self._aggregate(self._commit)

    def proceed(self) -> None:
        """The commit is dealt with: let the coordinator go on to the next round."""
        assert self._commit is not None
        done, self._commit = self._commit.round, None
        self._handle(Aggregated(self.coordinator.now, done))

    def stop(self) -> None:
        """End the run gracefully."""
        self._handle(Stop(self.coordinator.now))

    def close(self) -> None:
        self._ahead.stop()

    def _happen(self, happening: Happening) -> None:
        time, _, kind, party, lease, detail = happening
        if kind == "tick":
            self._handle(Tick(time))
        elif lease not in self._assigned:
            return
        elif kind == "loss":
            self._handle(Lost(time, party, lease, detail))
        else:
            self._answer = answer = self._compute(lease)
            if answer.batch.contribution is not None:
                self._collecting.bytes_up += self._bytes_up
            if answer.fault is None:
                self._handle(Contributed(time, party, lease))
            else:
                self._handle(Rejected(time, party, lease, answer.fault.reason, answer.fault.detail))
            self._answer = None

    def _compute(self, lease: int) -> Answer:
        """The answer of `lease`; computed together with all others that train on the same version of the model."""
        if not self._ahead.holds(lease):
            self._collecting.flush()
        if not self._ahead.knows(lease):
            version = self._assigned[lease].task.round
            due = [
                (assigned.arrival, assigned.task)
                for number, assigned in self._assigned.items()
                if assigned.arrival is not None and assigned.task.round == version and not self._ahead.knows(number)
            ]
            self._ahead.start(self._versions[version], [task for _, task in sorted(due, key=lambda pair: pair[0][:2])])
        return self._ahead.take(lease)

    def _handle(self, event: Event) -> None:
        for effect in self.coordinator.handle(event):
            self._perform(effect)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Assign():
                self._assign(effect)
            case Accept():
                self._accept(effect)
            case Refuse():
                self._end(effect.lease)
                self.last_rejection = Rejection(effect.party, self._collecting.round, effect.reason, effect.detail)
                self._collecting.rejected.append(self.last_rejection)
            case Release():
                self._end(effect.lease)
            case Commit():
                self._commit = effect
            case Abandon():
                self._collecting = self._collecting.again()
            case WakeAt():
                self.clock.foresee(effect.time, "tick")
            case Finished():
                self.finished = effect

    def _assign(self, effect: Assign) -> None:
        party, lease = effect.party, effect.lease
        outcome = self._outcome(effect)
        # What a party wants to remember of an answer that waits for its commit is what it works with already.
        kept = {**self.memory.get(party, {}), **self._collecting.memory.get(party, {})}
        task = Task(party, lease, effect.round, outcome.budget, kept)
        arrival = None
        if not outcome.available:
            self.clock.foresee(effect.at, "loss", party, lease, "the device could not be reached")
        elif outcome.fails:
            self.clock.foresee(effect.at + outcome.delay, "loss", party, lease, "the device dropped out")
        else:
            arrival = self.clock.foresee(effect.at + outcome.delay, "arrival", party, lease)
        self._collecting.bytes_down += self._bytes_down if outcome.available else 0
        self._assigned[lease] = Assigned(task, arrival)

    def _outcome(self, effect: Assign) -> Outcome:
        """What becomes of an assignment; data and devices are looked at only where these take time or fail."""
        if self._ideal:
            return _DELIVERED
        return self.devices.outcome(
            self._devices_seed,
            effect.round,
            effect.party,
            attempt=effect.attempt,
            now=effect.at,
            examples=self._planned_examples(effect.party),
            bytes_down=self._bytes_down,
            bytes_up=self._bytes_up,
        )

    def _planned_examples(self, party: str) -> float:
        """Examples that the local plan goes through, counted once an epoch."""
        examples = len(self.data[party].train)
        plan: LocalPlan | None = getattr(self.job.program, "local", None)
        if plan is None or examples == 0:
            return float(examples)
        if plan.steps is None:
            return float((plan.epochs or 1) * examples)
        return float(plan.steps * min(plan.batch_size or examples, examples))

    def _accept(self, effect: Accept) -> None:
        answer = self._answer
        assert answer is not None
        self._end(effect.lease)
        self._collecting.accept(effect.party, answer, effect.factor)

    def _end(self, lease: int) -> None:
        self._assigned.pop(lease, None)
        self._ahead.forget(lease)

    def _aggregate(self, commit: Commit) -> Committed:
        collected, self._collecting = self._collecting, Collecting.of(self.job, commit.round + 2)
        aggregate, self.learned = collected.aggregate(self.learned, len(self.data))
        self.state = self.job.program.update(self.state, aggregate)
        for party, written in collected.memory.items():
            self.memory[party] = {**self.memory.get(party, {}), **written}
        self._publish(commit.round + 1)
        return Committed(commit.round, self.coordinator.now, aggregate, collected)

    def _publish(self, version: int) -> None:
        """Broadcast the current model as `version`; older ones are kept while a party is at work on them."""
        wanted = {assigned.task.round for assigned in self._assigned.values()}
        self._versions = {number: sent for number, sent in self._versions.items() if number in wanted}
        self._versions[version] = self._sent()

    def _sent(self) -> Vectors:
        """What is broadcast of the current state, the chain's among it."""
        sent = self.job.program.broadcast(self.state)
        told = tell(self.job.chain, self.learned)
        return Vectors(**sent, **{name: _placed(self.engine, array) for name, array in told.items()}) if told else sent

    def snapshot(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Arrays and JSON facts from which `restore` goes on; to be taken after `proceed`."""
        arrays = states.flatten(self.state, "state") | states.flatten(self.learned, "chain")
        for version, sent in self._versions.items():
            arrays |= states.flatten(sent, f"version.{version}")
        facts: dict[str, Any] = {
            "coordinator": self.coordinator.snapshot(),
            "clock": self.clock.snapshot(),
            "assigned": [
                [a.task.party, a.task.lease, a.task.round, a.task.budget, a.arrival and list(a.arrival)]
                for a in self._assigned.values()
            ],
            "versions": sorted(self._versions),
            "memory": [[party, sorted(kept)] for party, kept in self.memory.items()],
            "bytes_down": self._collecting.bytes_down,
            "devices": manifest.digest(manifest.encode(self.devices)),
        }
        for index, kept in enumerate(self.memory.values()):
            arrays |= {f"memory.{index}.{name}": row for name, row in states.flatten(kept).items()}
        return arrays, facts

    @classmethod
    def restore(
        cls,
        job: Job,
        data: FederatedData,
        devices: Devices,
        engine: Engine,
        arrays: Mapping[str, Any],
        facts: Mapping[str, Any],
    ) -> Loop:
        if facts["devices"] != manifest.digest(manifest.encode(devices)):
            raise CheckpointError(
                "the run was started with other devices",
                where="Simulation.devices",
                mend="resume with the devices that the run was started with",
            )
        seed = job.root_seed.child("coordinator")
        coordinator = Coordinator.restore(job.rounds, data.ids, seed, facts["coordinator"])
        placed = {path: _placed(engine, array) for path, array in arrays.items()}
        state = states.restore(job.program.init(job.root_seed), placed, "state")
        learned = states.restore(begin(job.chain, job.exchange), arrays, "chain")
        loop = cls(job, data, devices, engine, coordinator, state, learned, Clock.restore(facts["clock"]))
        for index, (party, names) in enumerate(facts["memory"]):
            loop.memory[party] = {name: placed[f"memory.{index}.{name}"] for name in names}
        current = loop._sent()
        for version in facts["versions"]:
            loop._versions[version] = states.restore(current, placed, f"version.{version}")
        for party, lease, round, budget, arrival in facts["assigned"]:
            task = Task(party, lease, round, budget, loop.memory.get(party, {}))
            loop._assigned[lease] = Assigned(task, arrival and Happening(*arrival))
        loop._collecting.bytes_down = facts["bytes_down"]
        loop.finished = coordinator.finished
        return loop


_DELIVERED = Outcome()


def _placed(engine: Engine, array: Any) -> Any:
    return engine.place(array) if array.ndim else array
