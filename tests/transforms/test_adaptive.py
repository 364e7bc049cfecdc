"""Adaptive clipping: the norm goes to the quantile that was asked for; noise hides how many were within it."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.aggregation.mean import Mean
from comity.core.contribution import Aggregate, Contribution, Exchange, Value, norms
from comity.core.errors import ConfigError
from comity.core.vectors import Vectors
from comity.transforms.adaptive import NORM, WITHIN, Adapted, AdaptiveClip
from comity.transforms.chain import begin, conclude, encode, tell

EXCHANGE = Exchange({"weights": Value(2, "the model")}, {"weights": Value(2, "its change")})


def contributions(lengths: Sequence[float]) -> Contribution:
    rows = np.array([[length, 0.0] for length in lengths], dtype=np.float32)
    return Contribution(Vectors(weights=rows), np.full((len(rows), 1), 7.0), {"loss": np.ones((len(rows), 2))})


def norms_over(clip: AdaptiveClip, lengths: Sequence[float], rounds: int) -> list[float]:
    """The clipping norm of each round, when the same parties take part in all."""
    chain = clip >> Mean(weights="uniform")
    before, reducer, _ = chain.split()
    states, course = begin(chain, EXCHANGE), []
    for _ in range(rounds):
        sent = Vectors(weights=np.zeros(2), **tell(chain, states))
        course.append(float(sent[NORM][0]))
        encoded = encode(before, contributions(lengths), sent)
        accumulator = reducer.start(EXCHANGE)
        accumulator.add(encoded)
        aggregate, states = conclude(chain, states, accumulator, population=100)
        assert aggregate.bound == course[-1]
        assert set(aggregate.metrics) == {"loss"}
    return course


def counted(within: float, count: int, weight: float) -> Aggregate:
    return Aggregate(Vectors(weights=np.zeros(2)), weight, {WITHIN: np.array([within])}, count, 100)


@pytest.mark.parametrize("quantile", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("start", [0.01, 100.0])
def test_the_norm_goes_to_the_quantile(quantile: float, start: float) -> None:
    lengths = np.linspace(1, 10, 100).tolist()
    course = norms_over(AdaptiveClip(quantile, start=start), lengths, 400)
    assert course[0] == pytest.approx(start)
    assert course[-1] == pytest.approx(np.quantile(lengths, quantile), rel=0.15)


def test_one_step_is_that_of_the_paper() -> None:
    """Three of four are within: exp(−0.2 · (0.75 − 0.5))."""
    assert norms_over(AdaptiveClip(start=3.5), [1.0, 2.0, 3.0, 4.0], 2)[1] == pytest.approx(3.5 * np.exp(-0.05))


@given(st.lists(st.floats(0, 100, width=32), min_size=1, max_size=6), st.floats(0.125, 50, width=32))
def test_parties_are_clipped_to_the_norm_that_they_were_told(lengths: list[float], norm: float) -> None:
    sent = Vectors(**{NORM: np.array([norm], dtype=np.float32)})
    encoded = encode((AdaptiveClip(),), contributions(lengths), sent)
    assert (norms(encoded.vectors) <= norm * (1 + 1e-6)).all()
    assert encoded.metrics[WITHIN].tolist() == [[float(length <= norm)] for length in lengths]
    within = np.array(lengths, dtype=np.float32) <= norm
    assert np.array_equal(encoded.vectors.weights[within], contributions(lengths).vectors.weights[within])


def test_the_norm_of_the_next_round_is_the_number_that_parties_are_told() -> None:
    clip = AdaptiveClip()
    _, state = clip.decode(counted(3, 4, 4.0), Adapted(0.1))
    assert float(clip.tell(state)[NORM][0]) == state.norm


def test_the_number_within_has_noise_of_the_width_that_was_asked_for() -> None:
    clip, rounds = AdaptiveClip(step=1.0, count_noise=5.0), 20_000
    shares = [0.5 - np.log(clip.decode(counted(50, 100, 100.0), Adapted(1.0))[1].norm) for _ in range(rounds)]
    # A standard deviation of so many draws is off by 6 % one time in 10¹⁸.
    assert np.std(shares) == pytest.approx(5.0 / 100, rel=0.06)
    assert abs(np.mean(shares) - 0.5) < 7 * 0.05 / rounds**0.5


def test_one_party_moves_the_share_by_half_of_its_part_of_a_fixed_denominator() -> None:
    """It is there and within, or not there: its bit is +½ or nothing."""
    clip = AdaptiveClip(step=1.0)
    with_it = np.log(clip.decode(counted(6, 10, 20.0), Adapted(1.0))[1].norm)
    without = np.log(clip.decode(counted(5, 9, 20.0), Adapted(1.0))[1].norm)
    assert abs(with_it - without) == pytest.approx(0.5 / 20, rel=1e-4)


def test_a_bound_that_was_tighter_stays() -> None:
    aggregate = Aggregate(Vectors(weights=np.zeros(2)), 4.0, {WITHIN: np.array([2.0])}, 4, 9, bound=0.05)
    assert AdaptiveClip().decode(aggregate, Adapted(0.1))[0].bound == 0.05


@pytest.mark.parametrize(
    "fields", [{"quantile": 0.0}, {"quantile": 1.0}, {"step": 0.0}, {"start": -1.0}, {"count_noise": -1.0}]
)
def test_fields_out_of_range_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=rf"AdaptiveClip\.{next(iter(fields))}"):
        AdaptiveClip(**fields)
