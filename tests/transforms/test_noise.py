"""Noise on a mean: as large as what one party can do demands, on every entry, and never the same twice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from comity.aggregation.mean import Mean
from comity.core.contribution import Aggregate, Contribution, Exchange, Value
from comity.core.errors import ConfigError
from comity.core.vectors import Vectors
from comity.transforms.chain import conclude, encode
from comity.transforms.clip import Clip
from comity.transforms.noise import GaussianNoise, noisy

MANY = 200_000
"""Of so many draws the standard deviation is within 2 % of what it should be but for one time in 10¹⁴."""

SENT = Vectors(a=np.zeros(4), b=np.zeros(2))
EXCHANGE = Exchange({}, {"a": Value(4, "a vector"), "b": Value(2, "another")})


def zeros(size: int, bound: float | None, weight: float = 10.0) -> Aggregate:
    vectors = Vectors(a=np.zeros(size, dtype=np.float32), b=np.zeros(size, dtype=np.float32))
    return Aggregate(vectors, weight, {}, 10, 100, bound)


def mean_of(a: np.ndarray, b: np.ndarray, clip: Clip) -> tuple[np.ndarray, float]:
    """The mean over an expected cohort of 4, and what it was divided by, as one vector."""
    reducer = Mean(weights="uniform", denominator=4.0, precision="float64")
    accumulator = reducer.start(EXCHANGE)
    if len(a):
        accumulator.add(encode((clip,), Contribution(Vectors(a=a, b=b), np.ones((len(a), 1))), SENT))
    aggregate, _ = conclude(clip >> reducer, {}, accumulator, population=100)
    assert aggregate.bound == clip.norm
    return np.concatenate(list(aggregate.vectors.values())), aggregate.weight


@given(
    arrays(np.float64, (5, 4), elements=st.floats(-50, 50)),
    arrays(np.float64, (5, 2), elements=st.floats(-50, 50)),
    st.floats(0.1, 50),
    st.integers(0, 4),
)
def test_a_party_that_comes_or_goes_moves_the_mean_by_no_more_than_the_noise_counts_on(
    a: np.ndarray, b: np.ndarray, bound: float, who: int
) -> None:
    whole, divisor = mean_of(a, b, Clip(bound))
    without, _ = mean_of(np.delete(a, who, axis=0), np.delete(b, who, axis=0), Clip(bound))
    assert np.linalg.norm(whole - without) <= bound / divisor * (1 + 1e-9)


@given(
    arrays(np.float32, (3, 4), elements=st.floats(-50, 50, width=32)),
    arrays(np.float32, (3, 2), elements=st.floats(-50, 50, width=32)),
    st.floats(0.125, 50, width=32),
)
def test_single_precision_moves_that_bound_by_rounding_alone(a: np.ndarray, b: np.ndarray, bound: float) -> None:
    whole, divisor = mean_of(a, b, Clip(bound))
    without, _ = mean_of(a[:2], b[:2], Clip(bound))
    assert np.linalg.norm(whole - without) <= bound / divisor * (1 + 1e-5)


@pytest.mark.parametrize(("multiplier", "bound", "weight"), [(1.0, 1.0, 1.0), (0.8, 0.5, 10.0), (4.0, 3.0, 1000.0)])
def test_its_standard_deviation_is_the_multiplier_times_what_one_party_can_do(
    multiplier: float, bound: float, weight: float
) -> None:
    released = GaussianNoise(multiplier).apply(zeros(MANY, bound, weight)).vectors
    for noise in released.values():
        assert noise.dtype == np.float32
        assert np.std(noise) == pytest.approx(multiplier * bound / weight, rel=0.02)
        assert abs(np.mean(noise)) < 7 * multiplier * bound / weight / MANY**0.5
    assert abs(np.corrcoef(released.a, released.b)[0, 1]) < 7 / MANY**0.5


def test_noise_is_added_to_what_is_there() -> None:
    vector = np.linspace(-1, 1, 1000, dtype=np.float32)
    assert np.allclose(noisy(vector, 1e-9), vector, atol=1e-6)
    assert np.array_equal(vector, np.linspace(-1, 1, 1000, dtype=np.float32))


def test_no_two_draws_are_the_same() -> None:
    drawn = {noisy(np.zeros(4), 1.0).tobytes() for _ in range(100)}
    assert len(drawn) == 100


def test_double_precision_has_noise_in_double_precision() -> None:
    noise = noisy(np.zeros(1000), 1.0)
    assert noise.dtype == np.float64
    assert not np.array_equal(noise, noise.astype(np.float32))


def test_long_vectors_have_noise_to_their_end() -> None:
    noise = noisy(np.zeros((1 << 20) + 1000, dtype=np.float32), 1.0)
    assert np.count_nonzero(noise[-1000:]) > 900
    assert not np.array_equal(noise[:1000], noise[1 << 20 :])


def test_torch_tensors_have_noise_where_they_are() -> None:
    torch = pytest.importorskip("torch")
    noise = noisy(torch.zeros(MANY), 2.0)
    assert noise.dtype == torch.float32
    assert float(noise.std()) == pytest.approx(2.0, rel=0.02)


def test_without_a_bound_there_is_nothing_to_hide_behind() -> None:
    with pytest.raises(ConfigError, match=r"nothing bounds[\s\S]*Clip\(1\.0\) >> Mean"):
        GaussianNoise(1.0).apply(zeros(4, None))


@pytest.mark.parametrize("multiplier", [0, -1, float("nan")])
def test_a_multiplier_that_is_none_is_refused(multiplier: float) -> None:
    with pytest.raises(ConfigError, match=r"GaussianNoise\.multiplier"):
        GaussianNoise(multiplier)
