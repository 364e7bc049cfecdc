"""Device profiles: what they draw, how long work takes, and what becomes of an assignment."""

from __future__ import annotations

from math import inf, log
from statistics import fmean, median, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core.errors import ConfigError
from comity.core.seeds import Seed
from comity.simulation.devices import DAY, Daily, Device, Devices, Outcome

SEED = Seed.of(11)
PARTIES = [f"party-{i}" for i in range(2000)]


def outcomes(devices: Devices, **work: float) -> list[Outcome]:
    return [devices.outcome(SEED, 3, party, **work) for party in PARTIES]  # type: ignore[arg-type]


def test_ideal_devices_take_no_time_and_never_fail() -> None:
    outcome = Devices.ideal().outcome(SEED, 0, "a", examples=1e9, bytes_down=10**9, bytes_up=10**9)
    assert outcome == Outcome(available=True, fails=False, budget=1.0, delay=0.0)


def test_a_duration_is_download_and_training_and_upload() -> None:
    assert Device(speed=10.0, down=100.0, up=50.0).duration(30, bytes_down=200, bytes_up=100) == 3 + 2 + 2
    assert Device(up=50.0).duration(30, bytes_down=200, bytes_up=100) == 2


def test_a_device_depends_on_the_seed_and_the_name_alone() -> None:
    phones = Devices.phones()
    assert phones.draw(SEED, "a") == phones.draw(SEED, "a")
    assert phones.draw(SEED, "a") != phones.draw(SEED, "b")
    assert phones.draw(SEED, "a") != phones.draw(Seed.of(12), "a")


def test_speed_and_bandwidth_are_log_normal_around_their_medians() -> None:
    devices = Devices(speed=50.0, speed_spread=0.5, down=1e6, up=1e5, bandwidth_spread=1.0)
    drawn = [devices.draw(SEED, party) for party in PARTIES]
    speeds = [device.speed for device in drawn if device.speed is not None]
    assert median(speeds) == pytest.approx(50.0, rel=0.05)
    assert stdev(map(log, speeds)) == pytest.approx(0.5, rel=0.06)
    downs = [device.down for device in drawn if device.down is not None]
    assert stdev(map(log, downs)) == pytest.approx(1.0, rel=0.06)
    assert all(device.up == pytest.approx(device.down / 10) for device in drawn if device.down is not None)


def test_without_spread_all_devices_are_alike() -> None:
    devices = Devices(speed=50.0, down=1e6)
    assert {devices.draw(SEED, party) for party in PARTIES[:20]} == {Device(speed=50.0, down=1e6)}


def test_availability_is_a_share_of_the_parties() -> None:
    away = [outcome for outcome in outcomes(Devices(availability=0.7)) if not outcome.available]
    assert len(away) / len(PARTIES) == pytest.approx(0.3, abs=0.04)
    assert all(outcome.fails and outcome.delay == 0.0 for outcome in away)


def test_failures_come_somewhere_along_the_way() -> None:
    found = outcomes(Devices(speed=1.0, failure=0.4), examples=100.0)
    failed = [outcome.delay for outcome in found if outcome.fails]
    assert len(failed) / len(PARTIES) == pytest.approx(0.4, abs=0.04)
    assert fmean(failed) == pytest.approx(50.0, rel=0.08)
    assert max(failed) < 100.0
    assert {outcome.delay for outcome in found if not outcome.fails} == {100.0}


def test_stragglers_do_a_uniform_share_of_the_work_and_are_done_sooner() -> None:
    found = outcomes(Devices(speed=1.0, stragglers=0.5), examples=100.0)
    partial = [outcome.budget for outcome in found if outcome.budget < 1.0]
    assert len(partial) / len(PARTIES) == pytest.approx(0.5, abs=0.04)
    assert fmean(partial) == pytest.approx(0.5, abs=0.03)
    assert all(outcome.delay == pytest.approx(100.0 * outcome.budget) for outcome in found)


def test_a_straggler_stays_one_within_a_round_and_not_for_ever() -> None:
    devices = Devices(stragglers=0.5)
    again = [devices.outcome(SEED, 3, party, attempt=1).budget for party in PARTIES[:50]]
    other = [devices.outcome(SEED, 4, party).budget for party in PARTIES[:50]]
    first = [devices.outcome(SEED, 3, party).budget for party in PARTIES[:50]]
    assert again == first != other


def test_a_failure_is_drawn_anew_for_every_attempt() -> None:
    devices = Devices(failure=0.5)
    fails = [[devices.outcome(SEED, 3, party, attempt=i).fails for party in PARTIES[:50]] for i in (0, 1)]
    assert fails[0] != fails[1]


class TestDaily:
    night = Devices(speed=1.0, availability=Daily(start=22.0, hours=8.0))

    @pytest.mark.parametrize(
        ("hour", "hours_left"), [(22, 8), (23.5, 6.5), (5, 1), (6, 0), (12, 0), (21.9, 0), (22 + 24, 8), (4 + 48, 2)]
    )
    def test_a_window_repeats_every_day_and_may_pass_midnight(self, hour: float, hours_left: float) -> None:
        assert self.night.draw(SEED, "a").reachable_for(hour * 3600) == pytest.approx(hours_left * 3600)

    def test_who_is_asked_outside_the_window_is_away(self) -> None:
        assert not self.night.outcome(SEED, 0, "a", now=12 * 3600.0, examples=1.0).available

    def test_who_leaves_the_window_before_delivering_is_lost_then(self) -> None:
        outcome = self.night.outcome(SEED, 0, "a", now=5 * 3600.0, examples=7200.0)
        assert outcome == Outcome(available=True, fails=True, budget=1.0, delay=3600.0)

    def test_all_day_is_always(self) -> None:
        assert Devices(availability=Daily(hours=24.0)).draw(SEED, "a").reachable_for(1e9) == inf

    def test_spread_moves_each_partys_own_window(self) -> None:
        spread = Devices(availability=Daily(start=12.0, hours=8.0, spread=12.0))
        for hour in (0, 6, 12, 18):
            awake = [spread.draw(SEED, party).reachable_for(hour * 3600.0) > 0 for party in PARTIES]
            assert fmean(awake) == pytest.approx(1 / 3, abs=0.05)


@given(
    st.sampled_from(
        [Devices.ideal(), Devices.phones(), Devices.silos(), Devices(speed=5.0, stragglers=0.9, failure=0.5)]
    ),
    st.integers(0, 50),
    st.text(max_size=8),
    st.floats(0, 10 * DAY),
    st.floats(0, 1e6),
)
def test_outcomes_are_in_range_and_repeat(
    devices: Devices, round: int, party: str, now: float, examples: float
) -> None:
    outcome = devices.outcome(SEED, round, party, now=now, examples=examples, bytes_down=10**6, bytes_up=10**6)
    assert outcome == devices.outcome(SEED, round, party, now=now, examples=examples, bytes_down=10**6, bytes_up=10**6)
    assert 0 < outcome.budget <= 1
    assert 0 <= outcome.delay <= devices.draw(SEED, party).reachable_for(now)
    assert outcome.available or outcome.fails


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (lambda: Devices(speed=0.0), "Devices.speed"),
        (lambda: Devices(up=-1.0), "Devices.up"),
        (lambda: Devices(down=inf), "Devices.down"),
        (lambda: Devices(speed_spread=-0.1), "Devices.speed_spread"),
        (lambda: Devices(bandwidth_spread=float("nan")), "Devices.bandwidth_spread"),
        (lambda: Devices(availability=1.5), "Devices.availability"),
        (lambda: Devices(failure=-0.1), "Devices.failure"),
        (lambda: Devices(stragglers=2.0), "Devices.stragglers"),
        (lambda: Daily(hours=0.0), "Daily.hours"),
        (lambda: Daily(start=25.0), "Daily.start"),
        (lambda: Daily(spread=13.0), "Daily.spread"),
    ],
)
def test_a_profile_out_of_range_names_the_field_and_the_mend(build: object, field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build()  # type: ignore[operator]
    assert caught.value.where == field
    assert caught.value.mend
