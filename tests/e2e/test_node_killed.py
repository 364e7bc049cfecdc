"""A node that is killed by `kill -9` while it trains, while it uploads, and between two assignments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from sklearn.neural_network import MLPClassifier

import comity as ct
from comity.demo.processes import Processes
from comity.node.home import NodeHome
from comity.wire.messages import PART_BYTES
from support.forwarder import Forwarder
from support.live import Live, digits, serve, until
from support.submitted import carry_out

POLICY = """
[[allow]]
program = "FedAvg"
datasets = ["digits"]
"""
WIDTH, PARTS = 120_000, 3
"""So many neurons make a contribution of so many parts."""
BYTES_A_SECOND = 12e6
ROUNDS = 2

JOB = ct.Job(
    ct.FedAvg(
        ct.sklearn.Estimator(MLPClassifier((WIDTH,)), features=64, classes=10),
        ct.LocalSGD(lr=0.01, epochs=6, batch_size=4),
    ),
    ct.Rounds(count=ROUNDS),
)


@dataclass(frozen=True, eq=False)
class World:
    """A federation, each node's way to the server, and the model of a run that was left alone."""

    live: Live
    ways: dict[str, Forwarder]
    expected: bytes

    @property
    def north(self) -> NodeHome:
        return NodeHome(self.live.folder / "north")

    @contextmanager
    def runs(self) -> Iterator[Running]:
        """The run once more; after the block it has to end with the same model."""
        before = len(entries(self.north))
        with ThreadPoolExecutor(1) as pool:
            ending = pool.submit(carry_out, self.live.operator, JOB, self.live.folder / "again")
            yield Running(self, before)
            rounds, model = ending.result(200)
        assert rounds.run.state == "completed"
        assert [set(facts.parties) for facts in rounds.rounds] == [{"north", "south"}] * ROUNDS
        assert model.tobytes() == self.expected


@dataclass(frozen=True, eq=False)
class Running:
    """A run as it is seen at the node `north`, whose log had `before` entries when it began."""

    world: World
    before: int

    def leases(self, kind: str) -> list[int]:
        """Of which leases the log says this, in its order."""
        told = entries(self.world.north)[self.before :]
        return [entry["facts"]["lease"] for entry in told if entry["kind"] == kind]

    def is_training(self, lease: int) -> bool:
        """The broadcast is here, the task was given to the child, and nothing has come of it."""
        home = self.world.north
        given = any(home.scratch.glob(f"*/{lease}")) and not any(home.cache.glob("*.part"))
        return given and lease not in self.leases("leaving") and not any(home.outbox.glob(f"*-{lease}"))

    def parts_there(self) -> int:
        """So many parts of what `north` sends have arrived."""
        folder = self.world.live.folder / "server" / "blobs" / "north"
        return len(list(folder.iterdir())) if folder.is_dir() else 0

    def rounds(self) -> int:
        """So many rounds are over at the server."""
        newest = json.loads(self.world.live.asks("runs", "list", "--json").stdout)[0]
        return int(newest["rounds"])


def entries(home: NodeHome) -> list[Any]:
    """A node's log; what a killed node was writing is no entry."""
    lines = home.log_file.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("killed")
    (folder / "policy.toml").write_text(POLICY)
    files = digits(folder, rows=20)
    with Processes(folder) as processes:
        live = serve(folder, processes)
        until(lambda: live.asks("nodes", "list").exit_code == 0)
        with Forwarder([live.port]) as one, Forwarder([live.port]) as other:
            ways = {"north": one, "south": other}
            for (name, way), file in zip(ways.items(), files, strict=True):
                live.party(name, file, folder / "policy.toml", way.address)
            until(lambda: live.asks("nodes", "list").stdout.count("digits") == 2)
            _, model = carry_out(live.operator, JOB, folder / "left_alone")
            yield World(live, ways, model.tobytes())


@pytest.mark.long
def test_while_it_trains_the_task_is_begun_anew(world: World) -> None:
    with world.runs() as run:
        # In the second round, for then the child has everything loaded and trains at once.
        until(lambda: len(run.leases("ruling")) == 2)
        lease = run.leases("ruling")[1]
        until(lambda: run.is_training(lease))
        world.live.kill("north")
        assert run.is_training(lease), "it was killed in the middle of it"
        world.live.start_node("north")
    assert run.leases("ruling")[1:] == [lease, lease]
    assert run.leases("verdict").count(lease) == 1


@pytest.mark.long
def test_while_it_uploads_nothing_is_computed_or_sent_twice(world: World) -> None:
    way = world.ways["north"]
    with world.runs() as run:
        way.rate = BYTES_A_SECOND
        until(lambda: run.parts_there() > 0)
        world.live.kill("north")
        way.rate = None
        there, sent = run.parts_there(), way.up
        assert 0 < there < PARTS
        assert (len(run.leases("leaving")), run.leases("verdict")) == (1, [])
        world.live.start_node("north")
        until(lambda: len(run.leases("verdict")) == 1)
        assert way.up - sent < (PARTS - there) * PART_BYTES
    first = run.leases("ruling")[0]
    assert run.leases("ruling").count(first) == 1
    assert run.leases("leaving").count(first) == 2, "the log says each time what is about to leave"


@pytest.mark.long
def test_between_two_rounds_it_finds_the_next_one(world: World) -> None:
    way = world.ways["south"]
    with world.runs() as run:
        way.rate = BYTES_A_SECOND / 3
        until(lambda: len(run.leases("verdict")) == 1)
        world.live.kill("north")
        assert run.rounds() == 0, "the other one has not answered yet"
        assert len(run.leases("ruling")) == 1
        way.rate = None
        until(lambda: run.rounds() == 1)
        world.live.start_node("north")
    assert len(run.leases("ruling")) == len(run.leases("verdict")) == ROUNDS
