"""The mean: weighted, streamed, and independent of how contributions are batched."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.aggregation.mean import Mean
from comity.core.arrays import StoredRow
from comity.core.contribution import Contribution, Exchange, Value
from comity.core.errors import ConfigError, RunError
from comity.core.seeds import Seed
from comity.core.vectors import Vectors

EXCHANGE = Exchange(broadcast={}, contribution={"w": Value(5, "weights")})


def contributions(count: int, seed: int = 0) -> Contribution:
    rng = Seed.of(seed).rng()
    return Contribution(
        Vectors(w=rng.normal(size=(count, 5)).astype(np.float32)),
        rng.integers(1, 100, (count, 1)).astype(np.float32),
        {"loss": rng.random((count, 2))},
    )


def test_the_mean_is_weighted_by_the_contributions_weights() -> None:
    whole = contributions(20)
    total = Mean().start(EXCHANGE)
    total.add(whole)
    aggregate = total.finish(population=50)
    expected = np.average(whole.vectors.w, axis=0, weights=whole.weight[:, 0])
    assert np.allclose(aggregate.vectors.w, expected, atol=1e-6)
    assert aggregate.weight == whole.weight.sum()
    assert aggregate.metrics["loss"].tolist() == pytest.approx(whole.metrics["loss"].sum(axis=0).tolist())
    assert aggregate.participation == 20 / 50


def test_uniform_weights_ignore_what_parties_claim() -> None:
    whole = contributions(20)
    total = Mean(weights="uniform").start(EXCHANGE)
    total.add(whole)
    assert np.allclose(total.finish(20).vectors.w, whole.vectors.w.mean(axis=0), atol=1e-6)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(0, 99))
def test_the_result_does_not_depend_on_batches_bit_for_bit(sizes: list[int], seed: int) -> None:
    whole = contributions(sum(sizes), seed)
    at_once, in_parts = Mean().start(EXCHANGE), Mean().start(EXCHANGE)
    at_once.add(whole)
    start = 0
    for size in sizes:
        in_parts.add(whole.rows(slice(start, start + size)))
        start += size
    once, parts = at_once.finish(99), in_parts.finish(99)
    assert np.array_equal(once.vectors.w, parts.vectors.w)
    assert np.array_equal(once.metrics["loss"], parts.metrics["loss"])


def test_a_row_in_a_store_counts_like_one_in_memory_and_is_read_run_by_run() -> None:
    vector = Seed.of(0).rng().normal(size=150_000).astype(np.float32)
    reads: list[tuple[int, int]] = []

    def read(start: int, stop: int) -> np.ndarray:
        reads.append((start, stop))
        return vector[start:stop]

    stored, held = Mean().start(EXCHANGE), Mean().start(EXCHANGE)
    stored.add(Contribution(Vectors(w=StoredRow(len(vector), vector.dtype, read)), np.array([[3.0]])))
    held.add(Contribution(Vectors(w=vector[None]), np.array([[3.0]])))
    assert np.array_equal(stored.finish(1).vectors.w, held.finish(1).vectors.w)
    assert len(reads) > 1
    assert [start for start, _ in reads[1:]] == [stop for _, stop in reads[:-1]]


def test_a_factor_damps_what_is_added_and_not_the_weight() -> None:
    total = Mean().start(EXCHANGE)
    total.add(Contribution(Vectors(w=np.ones((1, 5), np.float32)), np.array([[3.0]])), factor=0.5)
    total.add(Contribution(Vectors(w=np.ones((1, 5), np.float32)), np.array([[1.0]])))
    assert total.finish(2).vectors.w.tolist() == [0.625] * 5


def test_torch_tensors_are_averaged_where_they_are() -> None:
    torch = pytest.importorskip("torch")
    whole = contributions(7)
    total = Mean().start(EXCHANGE)
    total.add(Contribution(Vectors(w=torch.from_numpy(whole.vectors.w)), torch.from_numpy(whole.weight)))
    mean = total.finish(7).vectors.w
    assert isinstance(mean, torch.Tensor)
    assert np.allclose(mean.numpy(), np.average(whole.vectors.w, axis=0, weights=whole.weight[:, 0]), atol=1e-6)


def test_double_precision_on_request() -> None:
    total = Mean(precision="float64").start(EXCHANGE)
    total.add(contributions(3))
    assert total.finish(3).vectors.w.dtype == np.float64


def test_nothing_to_average_is_an_error_and_not_nan() -> None:
    with pytest.raises(RunError, match="nothing to average"):
        Mean().start(EXCHANGE).finish(3)


def test_unknown_weights_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"Mean\.weights"):
        Mean(weights="size")  # type: ignore[arg-type]


def test_a_fixed_denominator_divides_the_sum_however_many_there_are() -> None:
    total = Mean(weights="uniform", denominator=8.0).start(EXCHANGE)
    total.add(Contribution(Vectors(w=np.ones((2, 5), np.float32)), np.array([[3.0], [1.0]])))
    aggregate = total.finish(20)
    assert aggregate.vectors.w.tolist() == [0.25] * 5
    assert (aggregate.weight, aggregate.count) == (8.0, 2)


@pytest.mark.parametrize("fields", [{"denominator": 8.0}, {"weights": "uniform", "denominator": 0.0}])
def test_a_denominator_that_is_none_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"Mean\.denominator"):
        Mean(**fields)
