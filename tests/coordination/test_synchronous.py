"""Synchronous rounds: when a round closes, who is replaced, and what a late answer gets."""

from __future__ import annotations

import pytest
from coordination_driver import Driver, of
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.coordination import Coordinator, Rounds
from comity.coordination.effects import Abandon, Assign, Commit, Ending, Finished, Refuse, Release, WakeAt
from comity.core.errors import ConfigError, Reason
from comity.core.seeds import Seed


def test_a_round_asks_its_cohort_and_commits_when_all_have_answered() -> None:
    run = Driver(Rounds(count=1, cohort=3))
    cohort = run.start()
    assert len({assign.party for assign in cohort}) == 3
    assert of(Commit, run.contribute(*cohort[:2])) == []
    (commit,) = of(Commit, run.contribute(cohort[2]))
    assert [counted.party for counted in commit.contributions] == [assign.party for assign in cohort]
    assert of(Finished, run.effects) == []
    (finished,) = of(Finished, run.aggregated())
    assert finished.ending is Ending.COMPLETED


def test_the_next_round_starts_when_the_server_has_aggregated() -> None:
    run = Driver(Rounds(count=2, cohort=3))
    first = run.start()
    assert of(Assign, run.contribute(*first)) == []
    second = of(Assign, run.aggregated())
    assert [assign.round for assign in second] == [1, 1, 1]
    assert [assign.lease for assign in second] == [3, 4, 5]


def test_a_counted_party_rests_until_its_separation_is_over() -> None:
    run = Driver(Rounds(count=9, cohort=2, separation=3), parties=6)
    asked = [run.start()]
    for _ in range(8):
        run.contribute(*asked[-1])
        asked.append(of(Assign, run.aggregated()))
        run.reload()
    cohorts = [{assign.party for assign in cohort} for cohort in asked]
    assert all(cohorts[k] | cohorts[k + 1] | cohorts[k + 2] == set(run.population) for k in range(7))
    assert cohorts[3:] == cohorts[:6]


def test_only_those_that_were_counted_rest() -> None:
    run = Driver(Rounds(count=2, cohort=2, separation=2), parties=4)
    first, second = run.start()
    (third,) = of(Assign, run.lose(first))
    run.contribute(second, third)
    then = {assign.party for assign in of(Assign, run.aggregated())}
    assert then == set(run.population) - {second.party, third.party}
    assert first.party in then


def test_an_abandoned_attempt_lets_nobody_rest() -> None:
    run = Driver(Rounds(count=2, cohort=2, quorum=2, separation=2, deadline=1.0), parties=4)
    run.contribute(run.start()[0])
    again = of(Assign, run.tick(1.0))
    assert len(again) == 2
    run.contribute(*again)
    then = {assign.party for assign in of(Assign, run.aggregated())}
    assert then == set(run.population) - {assign.party for assign in again}


def test_without_a_cohort_everyone_takes_part() -> None:
    run = Driver(Rounds(count=1), parties=5)
    assert {assign.party for assign in run.start()} == set(run.population)


@pytest.mark.parametrize(
    ("cohort", "over_select", "asked"), [(10, 0.3, 13), (10, 0.05, 11), (18, 0.3, 20), (10, 0.1, 11)]
)
def test_over_selection_asks_more_than_the_cohort_and_never_more_than_there_are(
    cohort: int, over_select: float, asked: int
) -> None:
    assert len(Driver(Rounds(1, cohort, over_select)).start()) == asked


def test_the_round_closes_with_the_cohort_and_releases_the_rest() -> None:
    run = Driver(Rounds(count=2, cohort=2, over_select=0.5))
    first, second, third = run.start()
    effects = run.contribute(third, first)
    assert [counted.lease for counted in of(Commit, effects)[0].contributions] == [first.lease, third.lease]
    assert [release.lease for release in of(Release, effects)] == [second.lease]
    (refuse,) = of(Refuse, run.contribute(second))
    assert refuse.reason is Reason.LATE


def test_a_rejected_party_costs_its_seat_and_the_round_commits_with_the_rest() -> None:
    run = Driver(Rounds(count=1, cohort=3))
    cohort = run.start()
    effects = run.reject(cohort[0])
    assert of(Assign, effects) == []
    assert of(Refuse, effects)[0].reason is Reason.NOT_FINITE
    (commit,) = of(Commit, run.contribute(*cohort[1:]))
    assert [counted.lease for counted in commit.contributions] == [1, 2]


def test_a_lost_party_is_replaced_by_one_not_asked_before() -> None:
    run = Driver(Rounds(count=1, cohort=3), parties=4)
    cohort = run.start()
    (replacement,) = of(Assign, run.lose(cohort[0]))
    assert replacement.party not in {assign.party for assign in cohort}
    assert of(Assign, run.lose(cohort[1])) == [], "all four have been asked"


def test_over_selection_covers_losses_before_anyone_is_replaced() -> None:
    run = Driver(Rounds(count=1, cohort=4, over_select=0.5))
    cohort = run.start()
    assert of(Assign, run.lose(*cohort[:2])) == []
    assert len(of(Assign, run.lose(cohort[2]))) == 1


def test_a_round_of_which_everyone_is_rejected_is_tried_again_and_then_the_run_fails() -> None:
    run = Driver(Rounds(count=1, cohort=2, attempts=2))
    effects = run.reject(*run.start())
    assert [abandon.attempt for abandon in of(Abandon, effects)] == [0]
    second = of(Assign, effects)
    assert [assign.attempt for assign in second] == [1, 1]
    (finished,) = of(Finished, run.reject(*second))
    assert finished.ending is Ending.FAILED
    assert "round 1 was abandoned 2 times" in finished.detail


def test_a_pause_lies_between_two_attempts() -> None:
    run = Driver(Rounds(count=1, cohort=2, pause=60.0, deadline=90.0))
    effects = run.reject(*run.start())
    assert of(Assign, effects) == []
    assert of(WakeAt, effects) == [WakeAt(60.0)]
    assert of(Assign, run.tick(59.0)) == []
    assert len(of(Assign, run.tick(60.0))) == 2


class TestQuorum:
    policy = Rounds(count=1, cohort=4, quorum=3, deadline=10.0)

    def test_the_deadline_commits_what_reaches_the_quorum(self) -> None:
        run = Driver(self.policy)
        cohort = run.start()
        run.contribute(*cohort[:3])
        effects = run.tick(10.0)
        assert len(of(Commit, effects)[0].contributions) == 3
        assert [release.party for release in of(Release, effects)] == [cohort[3].party]

    def test_the_deadline_abandons_what_does_not(self) -> None:
        run = Driver(self.policy)
        run.contribute(*run.start()[:2])
        effects = run.tick(10.0)
        assert of(Commit, effects) == []
        assert of(Abandon, effects)[0].detail == "the deadline has passed: 2 contributions, at least 3 needed"
        assert {assign.expires for assign in of(Assign, effects)} == {20.0}

    def test_at_the_deadline_a_result_is_late(self) -> None:
        run = Driver(self.policy)
        cohort = run.start()
        run.contribute(*cohort[:3])
        run.now = 10.0
        effects = run.contribute(cohort[3])
        assert len(of(Commit, effects)[0].contributions) == 3
        assert [refuse.reason for refuse in of(Refuse, effects)] == [Reason.LATE]

    def test_without_a_quorum_the_deadline_commits_whatever_is_there(self) -> None:
        run = Driver(Rounds(count=1, cohort=4, deadline=10.0))
        run.contribute(run.start()[2])
        assert len(of(Commit, run.tick(10.0))[0].contributions) == 1

    def test_a_round_that_cannot_reach_it_is_abandoned_at_once(self) -> None:
        run = Driver(self.policy)
        cohort = run.start()
        assert of(Abandon, run.reject(cohort[0])) == []
        assert len(of(Abandon, run.reject(cohort[1]))) == 1

    def test_a_new_attempt_draws_a_fresh_cohort_and_forgets_what_was_accepted(self) -> None:
        run = Driver(self.policy, parties=1000)
        first = run.start()
        run.contribute(first[0])
        second = of(Assign, run.tick(10.0))
        assert {assign.party for assign in first} != {assign.party for assign in second}
        (commit,) = of(Commit, run.contribute(*second))
        assert [counted.lease for counted in commit.contributions] == [4, 5, 6, 7]


class TestLease:
    policy = Rounds(count=1, cohort=2, lease=5.0, deadline=8.0)

    def test_work_whose_lease_runs_out_goes_to_another_party(self) -> None:
        run = Driver(self.policy)
        first, second = run.start()
        assert first.expires == 5.0
        run.now = 3.0
        run.contribute(first)
        effects = run.tick(5.0)
        assert [release.lease for release in of(Release, effects)] == [second.lease]
        (replacement,) = of(Assign, effects)
        assert replacement.party not in (first.party, second.party)
        assert replacement.expires == 8.0, "no lease outlasts the deadline"
        assert of(Refuse, run.contribute(second))[0].reason is Reason.LATE
        assert len(of(Commit, run.contribute(replacement))[0].contributions) == 2

    def test_it_asks_to_be_woken_for_what_comes_first(self) -> None:
        run = Driver(self.policy)
        first, second = run.start()
        assert of(WakeAt, run.effects) == [WakeAt(5.0)]
        run.contribute(first)
        assert of(WakeAt, run.tick(5.0)) == [WakeAt(8.0)]
        assert second.lease not in {assign.lease for assign in run.coordinator.outstanding}


class TestRepeatedAndStrayMessages:
    def test_a_repeated_upload_is_the_same_upload(self) -> None:
        run = Driver(Rounds(count=2, cohort=2))
        first, second = run.start()
        run.contribute(first)
        assert of(Refuse, run.contribute(first))[0].reason is Reason.DUPLICATE
        run.contribute(second)
        run.aggregated()
        assert of(Refuse, run.contribute(second))[0].reason is Reason.DUPLICATE
        assert len(run.commits()) == 1

    def test_a_lease_works_for_the_party_that_holds_it_alone(self) -> None:
        run = Driver(Rounds(count=1, cohort=2))
        first, second = run.start()
        swapped = Assign(second.party, first.lease, 0, 0, 0.0, None)
        assert of(Refuse, run.contribute(swapped))[0].reason is Reason.UNKNOWN
        run.contribute(first)
        assert of(Refuse, run.contribute(swapped))[0].reason is Reason.UNKNOWN

    def test_a_lease_that_was_never_issued_is_unknown(self) -> None:
        run = Driver(Rounds(count=1, cohort=2))
        party = run.start()[0].party
        assert of(Refuse, run.contribute(Assign(party, 99, 0, 0, 0.0, None)))[0].reason is Reason.UNKNOWN

    def test_losing_a_party_after_its_contribution_costs_nothing(self) -> None:
        run = Driver(Rounds(count=1, cohort=2))
        first, second = run.start()
        run.contribute(first)
        assert run.lose(first) == []
        assert len(of(Commit, run.contribute(second))[0].contributions) == 2


class TestStop:
    def test_a_round_under_way_is_dropped(self) -> None:
        run = Driver(Rounds(count=3, cohort=2))
        first, second = run.start()
        run.contribute(first)
        effects = run.stop()
        assert [type(effect) for effect in effects] == [Abandon, Release, Finished]
        assert of(Release, effects)[0].lease == second.lease
        assert of(Finished, effects)[0].ending is Ending.STOPPED

    def test_a_commit_under_way_is_seen_through(self) -> None:
        run = Driver(Rounds(count=3, cohort=2))
        run.contribute(*run.start())
        assert run.stop() == []
        assert of(Finished, run.aggregated())[0].detail == "stopped after 1 rounds"


@given(st.integers(0, 5), st.sets(st.integers(0, 5), max_size=4), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_arrival_does_not_change_the_commit(seed: int, lost: set[int], random: object) -> None:
    def commit(shuffled: bool) -> Commit:
        run = Driver(Rounds(count=1, cohort=6), parties=30, seed=seed)
        waiting = run.start()
        while waiting:
            assign = waiting.pop(random.randrange(len(waiting)) if shuffled else 0)  # type: ignore[attr-defined]
            send = run.lose if assign.lease in lost else run.contribute
            waiting += of(Assign, send(assign))
        return run.commits()[0]

    assert commit(shuffled=True) == commit(shuffled=False)


@given(st.integers(1, 15), st.integers(1, 5))
def test_a_larger_cohort_contains_the_smaller_one(cohort: int, more: int) -> None:
    small = [assign.party for assign in Driver(Rounds(1, cohort)).start()]
    large = [assign.party for assign in Driver(Rounds(1, cohort + more)).start()]
    assert large[:cohort] == small


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"count": 0}, "Rounds.count"),
        ({"count": 2.5}, "Rounds.count"),
        ({"count": True}, "Rounds.count"),
        ({"cohort": 0}, "Rounds.cohort"),
        ({"cohort": 10, "over_select": -0.1}, "Rounds.over_select"),
        ({"over_select": 0.3}, "Rounds.over_select"),
        ({"cohort": 10, "quorum": 11}, "Rounds.quorum"),
        ({"quorum": 0}, "Rounds.quorum"),
        ({"deadline": 0}, "Rounds.deadline"),
        ({"deadline": float("nan")}, "Rounds.deadline"),
        ({"lease": float("inf")}, "Rounds.lease"),
        ({"attempts": 0}, "Rounds.attempts"),
        ({"pause": -1.0}, "Rounds.pause"),
        ({"pause": None}, "Rounds.pause"),
        ({"separation": 0}, "Rounds.separation"),
        ({"separation": 2}, "Rounds.separation"),
    ],
)
def test_a_policy_out_of_range_names_the_field_and_the_mend(fields: dict[str, object], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Rounds(**{"count": 1} | fields)  # type: ignore[arg-type]
    assert caught.value.where == field
    assert caught.value.mend


def test_a_cohort_larger_than_the_population_is_refused() -> None:
    with pytest.raises(ConfigError, match="a cohort of 11 in a population of 10") as caught:
        Coordinator(Rounds(count=1, cohort=11), [f"p{i}" for i in range(10)], Seed.of(1))
    assert "at most 10" in caught.value.mend


def test_more_separation_than_there_are_parties_for_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Rounds\.separation[\s\S]*a separation of at most 2"):
        Coordinator(Rounds(count=1, cohort=3, separation=3), [f"p{k}" for k in range(8)], Seed.of(0))


def test_an_empty_population_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no party"):
        Coordinator(Rounds(count=1), [], Seed.of(1))
