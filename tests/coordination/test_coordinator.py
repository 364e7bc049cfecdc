"""What holds under both policies: restarts, replays, clocks, and a population of any size."""

from __future__ import annotations

import tracemalloc

import pytest
from coordination_driver import Driver, of

from comity.coordination import Buffered, Coordinator, Rounds
from comity.coordination.effects import Assign, Finished, Refuse
from comity.coordination.events import Aggregated, Start, Tick
from comity.core.errors import CheckpointError, Reason
from comity.data.examples import PartyNames

POLICIES = [Rounds(count=3, cohort=4, quorum=2, deadline=9.0, lease=4.0), Buffered(count=4, buffer=2, concurrency=5)]


def step(run: Driver) -> None:
    """One fixed way to go on: the newest lease answers, every third is lost, and time passes."""
    if run.coordinator.pending is not None:
        run.aggregated()
    elif run.coordinator.outstanding:
        assign = run.coordinator.outstanding[-1]
        (run.lose if assign.lease % 3 == 2 else run.contribute)(assign)
    run.tick(run.now + 0.5)


@pytest.mark.parametrize("policy", POLICIES, ids=["rounds", "buffered"])
@pytest.mark.parametrize("crash", range(0, 24, 3))
def test_a_run_that_is_restored_anywhere_ends_like_an_uninterrupted_one(policy: Rounds | Buffered, crash: int) -> None:
    whole, broken = Driver(policy), Driver(policy)
    whole.start()
    broken.start()
    for index in range(40):
        step(whole)
        step(broken)
        if index == crash:
            broken.reload()
    assert whole.coordinator.finished is not None
    assert broken.effects == whole.effects
    assert broken.coordinator.snapshot() == whole.coordinator.snapshot()


def test_after_a_restart_it_says_what_is_outstanding_and_what_is_to_be_aggregated() -> None:
    run = Driver(Buffered(count=4, buffer=2, concurrency=3))
    busy = run.start()
    run.contribute(*busy[:2])
    run.reload()
    assert run.coordinator.pending == run.commits()[0]
    assert set(run.coordinator.outstanding) == {busy[2], of(Assign, run.effects)[-1]}


def test_a_snapshot_of_another_population_is_refused() -> None:
    run = Driver(Rounds(count=1, cohort=2), parties=5)
    snapshot = run.coordinator.snapshot()
    with pytest.raises(CheckpointError, match="parties is 5, expected 6"):
        Coordinator.restore(run.policy, PartyNames(6), run.seed, snapshot)


def test_the_seed_decides_who_is_asked() -> None:
    cohorts = {tuple(a.party for a in Driver(Rounds(1, 3), 1000, seed).start()) for seed in range(20)}
    assert len(cohorts) == 20
    assert Driver(Rounds(1, 3), 1000, 4).start() == Driver(Rounds(1, 3), 1000, 4).start()


def test_starting_twice_and_confirming_twice_changes_nothing() -> None:
    run = Driver(Rounds(count=2, cohort=2))
    run.contribute(*run.start())
    assert run.send(Start(0.0)) == []
    run.aggregated()
    assert run.send(Aggregated(0.0, 0)) == []


def test_a_clock_that_goes_backwards_stands_still() -> None:
    run = Driver(Rounds(count=1, cohort=2, lease=5.0))
    run.tick(100.0)
    run.now = 40.0
    assert {assign.expires for assign in run.start()} == {105.0}
    assert run.send(Tick(50.0)) == []


def test_nothing_happens_after_the_end_but_refusals() -> None:
    run = Driver(Rounds(count=1, cohort=2, over_select=0.5))
    first, second, third = run.start()
    run.contribute(first, second)
    run.aggregated()
    assert of(Finished, run.effects)
    assert [refuse.reason for refuse in of(Refuse, run.contribute(third, first))] == [Reason.LATE, Reason.DUPLICATE]
    assert run.lose(second) + run.stop() + run.tick(1e9) + run.start() == []


@pytest.mark.parametrize(
    "policy",
    [Rounds(count=5, cohort=100, over_select=0.3), Buffered(count=5, buffer=100, concurrency=130)],
    ids=["rounds", "buffered"],
)
def test_memory_does_not_grow_with_the_population(policy: Rounds | Buffered) -> None:
    def peak(parties: int) -> int:
        population = PartyNames(parties)
        tracemalloc.start()
        run = Driver(policy, population)
        run.start()
        while run.coordinator.finished is None:
            run.contribute(*run.coordinator.outstanding)
            run.aggregated()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1000)
    assert peak(1_000_000) < 1.2 * peak(1000)
    assert peak(1_000_000) < 2_000_000
