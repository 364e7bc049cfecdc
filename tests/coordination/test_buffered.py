"""Buffered asynchronous training: slots, staleness, and its meeting with synchronous rounds."""

from __future__ import annotations

from itertools import permutations

import pytest
from coordination_driver import Driver, of
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.coordination import Buffered, Coordinator, Rounds
from comity.coordination.effects import Abandon, Accept, Assign, Commit, Ending, Finished, Refuse, Release
from comity.coordination.staleness import Constant
from comity.core.errors import ConfigError, Reason
from comity.core.seeds import Seed


def test_concurrency_parties_train_at_any_time() -> None:
    run = Driver(Buffered(count=5, buffer=2, concurrency=4))
    busy = run.start()
    assert len(busy) == 4
    (refill,) = of(Assign, run.contribute(busy[0]))
    assert refill.round == 0
    assert refill.party not in {assign.party for assign in busy}
    assert len(run.coordinator.outstanding) == 4


def test_a_full_buffer_commits_and_those_who_are_busy_go_on() -> None:
    run = Driver(Buffered(count=5, buffer=2, concurrency=4))
    busy = run.start()
    effects = run.contribute(busy[3], busy[1])
    assert [counted.lease for counted in of(Commit, effects)[0].contributions] == [1, 3]
    assert of(Release, effects) == []
    refills = of(Assign, run.aggregated())
    assert [assign.round for assign in refills] == [1], "nobody is asked on a model that is about to change"
    assert len(run.coordinator.outstanding) == 4


def test_a_contribution_counts_less_for_every_version_it_missed() -> None:
    run = Driver(Buffered(count=5, buffer=1, concurrency=3))
    slow, *_ = run.start()
    for _ in range(3):
        run.contribute(run.coordinator.outstanding[-1])
        run.aggregated()
    (accept,) = of(Accept, run.contribute(slow))
    assert accept.factor == pytest.approx(4**-0.5)
    assert run.commits()[-1].contributions[0].version == 0


def test_a_contribution_that_is_too_stale_is_refused_and_its_slot_refilled() -> None:
    run = Driver(Buffered(count=5, buffer=1, concurrency=3, max_staleness=1))
    slow, *_ = run.start()
    for _ in range(2):
        run.contribute(run.coordinator.outstanding[-1])
        run.aggregated()
    effects = run.contribute(slow)
    assert of(Refuse, effects)[0].reason is Reason.STALE
    assert len(of(Assign, effects)) == 1
    assert of(Accept, effects) == []


def test_what_arrives_while_the_server_aggregates_joins_the_next_buffer_at_its_staleness() -> None:
    run = Driver(Buffered(count=5, buffer=1, concurrency=3))
    first, second, _ = run.start()
    run.contribute(first)
    (accept,) = of(Accept, run.contribute(second))
    assert (accept.round, accept.factor) == (1, pytest.approx(2**-0.5))
    (commit,) = of(Commit, run.aggregated())
    assert [counted.lease for counted in commit.contributions] == [second.lease]


def test_lost_and_rejected_parties_are_followed_by_others() -> None:
    run = Driver(Buffered(count=5, buffer=2, concurrency=4))
    first, second, *_ = run.start()
    assert len(of(Assign, run.lose(first))) == 1
    assert len(of(Assign, run.reject(second))) == 1


def test_a_lease_that_runs_out_frees_the_slot() -> None:
    run = Driver(Buffered(count=5, buffer=2, concurrency=3, lease=5.0))
    first = run.start()
    effects = run.tick(5.0)
    assert [release.lease for release in of(Release, effects)] == [assign.lease for assign in first]
    assert len(of(Assign, effects)) == 3


def test_no_party_is_given_a_version_twice() -> None:
    run = Driver(Buffered(count=5, buffer=3, concurrency=2), parties=3)
    first, second = run.start()
    (third,) = of(Assign, run.contribute(first))
    assert of(Assign, run.lose(second)) == [], "all three have been given version 0"
    assert len(of(Commit, run.contribute(third))[0].contributions) == 2, "nobody is left to wait for"


@pytest.mark.parametrize("how", ["contribute", "reject", "lose", "expire"])
def test_a_party_that_was_busy_when_a_version_came_is_given_it_once_it_is_free(how: str) -> None:
    run = Driver(Buffered(count=5, buffer=2, concurrency=3, lease=9.0), parties=3)
    first, second, slow = run.start()
    run.tick(4.0)
    run.contribute(first, second)
    run.aggregated()
    effects = run.tick(9.0) if how == "expire" else getattr(run, how)(slow)
    assert [(assign.party, assign.round) for assign in of(Assign, effects)] == [(slow.party, 1)]


def test_when_every_party_is_lost_all_are_asked_again_after_a_pause_and_then_the_run_fails() -> None:
    run = Driver(Buffered(count=5, buffer=2, concurrency=2, attempts=2, pause=30.0), parties=2)
    effects = run.lose(*run.start())
    assert len(of(Abandon, effects)) == 1
    again = of(Assign, run.tick(30.0))
    assert [assign.attempt for assign in again] == [1, 1]
    assert of(Finished, run.lose(*again))[0].ending is Ending.FAILED


def test_after_the_last_commit_everyone_is_released() -> None:
    run = Driver(Buffered(count=1, buffer=2, concurrency=4))
    busy = run.start()
    effects = run.contribute(*busy[:2])
    assert len(of(Release, effects)) == 4 - 2 + 1, "two that were busy, and the one that followed the first arrival"
    (finished,) = of(Finished, run.aggregated())
    assert finished.ending is Ending.COMPLETED
    assert run.coordinator.outstanding == ()


def test_stopping_during_a_commit_drops_the_next_buffer_and_sees_the_commit_through() -> None:
    run = Driver(Buffered(count=5, buffer=1, concurrency=3))
    first, second, third = run.start()
    run.contribute(first, second)
    effects = run.stop()
    assert of(Abandon, effects)[0].round == 1
    assert [release.lease for release in of(Release, effects)] == [third.lease]
    assert of(Finished, run.aggregated())[0].ending is Ending.STOPPED


@given(st.integers(1, 8), st.integers(8, 40), st.integers(0, 9), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_with_buffer_equal_to_concurrency_it_is_the_synchronous_algorithm(
    cohort: int, parties: int, seed: int, random: object
) -> None:
    synchronous = Driver(Rounds(count=4, cohort=cohort), parties, seed)
    asynchronous = Driver(Buffered(count=4, buffer=cohort, concurrency=cohort), parties, seed)
    for run in (synchronous, asynchronous):
        waiting = run.start()
        while waiting:
            random.shuffle(waiting)  # type: ignore[attr-defined]
            run.contribute(*waiting)
            waiting = of(Assign, run.aggregated())
    assert of(Assign, asynchronous.effects) == of(Assign, synchronous.effects)
    assert asynchronous.commits() == synchronous.commits()
    assert {counted.factor for commit in asynchronous.commits() for counted in commit.contributions} == {1.0}


def test_the_order_of_arrival_does_not_change_the_commit() -> None:
    commits, assigned = set(), set()
    for order in permutations((0, 2, 3)):
        run = Driver(Buffered(count=2, buffer=3, concurrency=5))
        busy = run.start()
        run.contribute(*(busy[i] for i in order))
        run.aggregated()
        commits.add(run.commits()[0])
        assigned.add(tuple(of(Assign, run.effects)))
    assert len(commits) == 1
    assert len(assigned) == 1


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"count": 0}, "Buffered.count"),
        ({"buffer": 0}, "Buffered.buffer"),
        ({"buffer": None}, "Buffered.buffer"),
        ({"concurrency": -1}, "Buffered.concurrency"),
        ({"max_staleness": -1}, "Buffered.max_staleness"),
        ({"lease": 0.0}, "Buffered.lease"),
        ({"attempts": 0}, "Buffered.attempts"),
        ({"pause": float("inf")}, "Buffered.pause"),
    ],
)
def test_a_policy_out_of_range_names_the_field_and_the_mend(fields: dict[str, object], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Buffered(**{"count": 1, "buffer": 2, "concurrency": 3, "staleness": Constant()} | fields)  # type: ignore[arg-type]
    assert caught.value.where == field
    assert caught.value.mend


@pytest.mark.parametrize(("buffer", "concurrency", "named"), [(2, 11, "concurrency"), (11, 2, "buffer")])
def test_more_than_the_population_is_refused(buffer: int, concurrency: int, named: str) -> None:
    policy = Buffered(count=1, buffer=buffer, concurrency=concurrency)
    with pytest.raises(ConfigError, match=f"a {named} of 11 in a population of 10"):
        Coordinator(policy, [f"p{i}" for i in range(10)], Seed.of(1))
