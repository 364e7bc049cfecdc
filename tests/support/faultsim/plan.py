"""What goes wrong in one schedule, drawn from its seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import comity as ct
from support.faultsim.network import Weather
from support.quadratic import Points, Quadratic

PLAN = ct.LocalSGD(lr=0.1, epochs=1, batch_size=2)
PROGRAMS = (
    ct.FedAvg(Quadratic(), PLAN),
    ct.FedAvg(Quadratic(), PLAN, ct.optim.Adam(lr=0.1)),
    ct.Scaffold(Quadratic(), PLAN),
    ct.FedDyn(Quadratic(), PLAN, alpha=0.1),
)
RUNS = ("00000000000000aa", "00000000000000bb")
MENDED = 600.0
"""Seconds after which nothing fails any more."""


@dataclass(frozen=True)
class Trouble:
    """Something that happens to one machine from `start` to `end` (seconds of the schedule)."""

    kind: str
    machine: str
    start: float
    end: float


@dataclass(frozen=True)
class Plan:
    """Jobs by their runs and who takes part, the weather until everything is mended, and what befalls each machine.

    `fuses` are, for each machine, the numbers of operations on its disk after which it loses its power, one after
    another; `downtimes` the seconds until it is started again; `skews` what its clock is off by at each start.
    """

    seed: int
    jobs: dict[str, ct.Job]
    data: Points
    weather: Weather
    fuses: dict[str, list[int]]
    downtimes: dict[str, list[float]]
    skews: dict[str, list[float]]
    troubles: Sequence[Trouble]
    absence: float
    seconds: float
    stopped: float | None

    def complete(self, run: str) -> bool:
        """Whether every round needs everybody, so that there is one right model."""
        rounds = self.jobs[run].rounds
        return isinstance(rounds, ct.Rounds) and rounds.quorum == len(self.data) and self.stopped is None


def plan(seed: int) -> Plan:
    """The schedule of this number: always the same."""
    random = Random(seed)
    parties = random.randint(2, 4)
    jobs = {run: _job(random, parties) for run in RUNS[: random.choice([1, 1, 1, 2])]}
    data = Points.random(parties, seed=seed % 7)
    machines = ["server", *data.ids]
    fuses = {
        name: [random.randint(1, 150 if name == "server" else 80) for _ in range(_few(random))] for name in machines
    }
    return Plan(
        seed=seed,
        jobs=jobs,
        data=data,
        weather=_weather(random),
        fuses=fuses,
        downtimes={name: [_long(random) for _ in fuses[name]] for name in machines},
        skews={name: [_skew(random, name) for _ in range(len(fuses[name]) + 1)] for name in machines},
        troubles=[_trouble(random, machines) for _ in range(_few(random))],
        absence=random.choice([40.0, 120.0]),
        seconds=random.choice([0.1, 1.0, 20.0]),
        stopped=random.uniform(0.0, 30.0) if random.random() < 0.1 else None,
    )


def _job(random: Random, parties: int) -> ct.Job:
    count, seed = random.randint(2, 4), random.randint(0, 3)
    if random.random() < 0.2:
        buffer = random.randint(1, parties)
        policy = ct.Buffered(count=count, buffer=buffer, concurrency=parties, attempts=10_000, pause=2.0)
        return ct.Job(PROGRAMS[0], policy, seed=seed)
    program = random.choice(PROGRAMS)
    quorum = random.choice([None, parties, parties])
    deadline = random.choice([None, None, 60.0])
    lease = random.choice([None, None, 30.0])
    rounds = ct.Rounds(count=count, quorum=quorum, deadline=deadline, lease=lease, attempts=10_000, pause=2.0)
    return ct.Job(program, rounds, seed=seed)


def _weather(random: Random) -> Weather:
    if random.random() < 0.2:
        return Weather()
    worst = random.choice([0.02, 0.1, 0.3])
    lost, answer_lost, repeated, late, cut, answer_cut = (random.uniform(0.0, worst) for _ in range(6))
    return Weather(lost, answer_lost, repeated, late, cut, answer_cut, random.choice([0.005, 0.05, 0.5]))


def _few(random: Random) -> int:
    return random.choice([0, 0, 1, 1, 2, 3])


def _long(random: Random) -> float:
    return random.choice([0.1, 3.0, 200.0]) * random.uniform(0.5, 1.5)


def _skew(random: Random, machine: str) -> float:
    """Mostly none; of a server little, of a node also more than a member may be wrong by."""
    kind = random.random()
    if kind < 0.6:
        return 0.0
    if machine == "server":
        return random.uniform(-20.0, 20.0)
    return random.uniform(-270.0, 270.0) if kind < 0.97 else random.choice([-1e5, 1e5])


def _trouble(random: Random, machines: Sequence[str]) -> Trouble:
    start = random.uniform(0.0, 20.0)
    kind = random.choice(["cut off", "full"])
    machine = random.choice(machines[1:] if kind == "cut off" else machines)
    return Trouble(kind, machine, start, start + random.choice([2.0, 30.0, 300.0]) * random.uniform(0.5, 1.5))
