"""Partitions: every example goes to exactly one party, the same one for the same seed, and no party gets too few."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from comity.core.errors import DataError
from comity.data import (
    IID,
    Dataset,
    Dirichlet,
    FeatureShift,
    LabelCount,
    Natural,
    Partition,
    QuantityLogNormal,
    QuantityPowerLaw,
    Shards,
    from_arrays,
)

Make = Callable[[int, int], Partition]

MAKERS: dict[str, Make] = {
    "iid": lambda parties, minimum: IID(parties, minimum),
    "dirichlet": lambda parties, minimum: Dirichlet(parties, 0.3, minimum),
    "extreme dirichlet": lambda parties, minimum: Dirichlet(parties, 1e-4, minimum),
    "shards": lambda parties, minimum: Shards(parties, 2, minimum),
    "label count": lambda parties, minimum: LabelCount(parties, 2, minimum),
    "log-normal": lambda parties, minimum: QuantityLogNormal(parties, 2.0, minimum),
    "power law": lambda parties, minimum: QuantityPowerLaw(parties, 1.5, minimum),
    "feature shift": lambda parties, minimum: FeatureShift(parties, minimum=minimum),
}


def table(examples: int, classes: int, parties: int = 5) -> Dataset:
    rng = np.random.default_rng(examples + classes)
    return from_arrays(
        rng.normal(size=(examples, 3)),
        rng.integers(classes, size=examples),
        party=rng.integers(parties, size=examples),
        classes=classes,
    )


def rows_of(data: Dataset, partition: Partition, seed: int = 7) -> list[list[int]]:
    parties = data.split(partition, seed=seed)
    pairs = [parties[name] for name in parties.ids]
    return [
        [*(() if p.train.rows is None else p.train.rows), *(() if p.heldout.rows is None else p.heldout.rows)]
        for p in pairs
    ]


@pytest.mark.parametrize("kind", [kind for kind in MAKERS if kind != "label count"])
@example(examples=24, classes=1, parties=8, minimum=3, seed=0)
@settings(max_examples=30, deadline=None)
@given(
    examples=st.integers(1, 300),
    classes=st.integers(1, 8),
    parties=st.integers(1, 25),
    minimum=st.integers(1, 4),
    seed=st.integers(0, 2**32),
)
def test_every_example_goes_to_one_party_and_every_party_has_the_minimum(
    kind: str, examples: int, classes: int, parties: int, minimum: int, seed: int
) -> None:
    data, partition = table(examples, classes), MAKERS[kind](parties, minimum)
    least = max(minimum, 2) if kind == "shards" else minimum
    if parties * least > examples:
        with pytest.raises(DataError, match=f"{parties} parties need"):
            data.split(partition, seed=seed)
        return
    rows = rows_of(data, partition, seed)
    assert len(rows) == parties
    assert sorted(row for party in rows for row in party) == list(range(examples))
    assert min(len(party) for party in rows) >= minimum


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_the_seed_decides_alone(make: Make) -> None:
    data = table(400, 5)
    assert rows_of(data, make(8, 1), seed=1) == rows_of(data, make(8, 1), seed=1)
    assert rows_of(data, make(8, 1), seed=1) != rows_of(data, make(8, 1), seed=2)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_more_parties_than_examples_are_refused_with_a_mend(make: Make) -> None:
    with pytest.raises(DataError, match=r"ask for at most|fewer"):
        table(10, 5).split(make(11, 1))


def test_equal_parts_differ_by_one_at_most() -> None:
    sizes = table(103, 4).split(IID(10)).sizes
    assert sizes.max() - sizes.min() == 1


@settings(max_examples=30, deadline=None)
@given(alpha=st.floats(0.05, 100), seed=st.integers(0, 1000))
def test_a_smaller_alpha_gives_fewer_labels_a_party(alpha: float, seed: int) -> None:
    data = table(1000, 10)
    skewed = data.split(Dirichlet(10, alpha / 50), seed=seed).describe().entropy.mean()
    even = data.split(Dirichlet(10, alpha * 50), seed=seed).describe().entropy.mean()
    assert skewed < even


def test_a_large_alpha_comes_near_iid() -> None:
    report = table(4000, 10).split(Dirichlet(4, 1e6)).describe()
    assert report.distances.max() < 0.02


def test_two_shards_of_balanced_labels_hold_two_labels() -> None:
    labels = np.repeat(np.arange(10), 60)
    report = from_arrays(np.zeros((600, 1), np.float32), labels).split(Shards(100)).describe()
    assert report.labels.max() <= 2
    assert (report.sizes == 6).all()


def test_shards_sort_a_regression_target_too() -> None:
    target = np.random.default_rng(0).normal(size=90)
    parties = from_arrays(np.zeros((90, 1), np.float32), target).split(Shards(9, shards_per_party=1), heldout=0)
    spans = sorted((p.train.labels().min(), p.train.labels().max()) for p in map(parties.__getitem__, parties.ids))
    assert all(low[1] <= high[0] for low, high in pairwise(spans))


@settings(max_examples=40, deadline=None)
@given(parties=st.integers(1, 20), labels=st.integers(1, 6), classes=st.integers(1, 6), seed=st.integers(0, 99))
def test_label_count_is_exact_and_leaves_no_label_out(parties: int, labels: int, classes: int, seed: int) -> None:
    assume(labels <= classes <= parties * labels)
    y = np.repeat(np.arange(classes), 40)
    data, partition = from_arrays(np.zeros((len(y), 1), np.float32), y), LabelCount(parties, labels)
    assert (data.split(partition, seed=seed).describe().labels == labels).all()
    assert sorted(row for party in rows_of(data, partition, seed) for row in party) == list(range(len(y)))


def test_label_count_refuses_what_it_cannot_share() -> None:
    y = np.array([0] * 30 + [1] * 3)
    with pytest.raises(DataError, match=r"3 examples of a label that 5 parties share(.|\n)*fewer parties"):
        from_arrays(np.zeros((33, 1)), y).split(LabelCount(5, 2))
    with pytest.raises(DataError, match="below the minimum of 4"):
        from_arrays(np.zeros((33, 1)), y).split(LabelCount(4, 1, minimum=4))


def test_label_count_refuses_labels_without_an_owner() -> None:
    with pytest.raises(DataError, match="5 labels, but the parties take 4"):
        table(200, 5).split(LabelCount(2, 2))


def test_quantities_follow_their_law() -> None:
    data = table(10_000, 3)
    sizes = data.split(QuantityPowerLaw(4, 1.0)).sizes
    assert np.allclose(sizes, 10_000 * np.array([1, 1 / 2, 1 / 3, 1 / 4]) / (25 / 12), atol=4)
    assert np.ptp(data.split(QuantityLogNormal(10, 0.0)).sizes) == 0
    assert np.ptp(data.split(QuantityLogNormal(10, 2.0)).sizes) > 1000


def test_shifted_features_are_an_affine_change_of_the_stored_ones() -> None:
    data = table(200, 3)
    parties = data.split(FeatureShift(4, scale=0.5, offset=0.5))
    slopes = []
    for name in parties.ids:
        train = parties[name].train
        stored, seen = train.x[train.rows].ravel(), train.features().ravel()
        slope, offset = np.polyfit(stored, seen, 1)
        assert np.allclose(stored * slope + offset, seen, atol=1e-5)
        assert slope > 0
        assert train.x is data.train.x
        slopes.append(round(float(slope), 4))
    assert len(set(slopes)) == 4
    assert parties.test is data.test


def test_token_ids_are_not_shifted() -> None:
    with pytest.raises(DataError, match="token ids"):
        from_arrays(np.zeros((9, 4), np.int64), np.arange(9) % 2).split(FeatureShift(3))


def test_natural_parties_are_the_values_of_the_column() -> None:
    party = np.array(["b", "a", "b", "c", "b", "a"])
    data = from_arrays(np.arange(6.0)[:, None], np.zeros(6, int), party=party)
    parties = data.split(Natural(), heldout=0)
    assert list(parties.ids) == ["a", "b", "c"]
    assert parties["b"].train.features().ravel().tolist() == [0, 2, 4]


def test_natural_parties_below_the_minimum_are_left_out() -> None:
    data = from_arrays(np.zeros((6, 1)), np.zeros(6, int), party=["b", "a", "b", "c", "b", "a"])
    parties = data.split(Natural(minimum=2))
    assert list(parties.ids) == ["a", "b"]
    assert parties.sizes.tolist() == [2, 3]
    with pytest.raises(DataError, match="the largest has 3"):
        data.split(Natural(minimum=4))


def test_natural_needs_a_column_that_is_there() -> None:
    with pytest.raises(DataError, match=r"no party column 'school'(.|\n)*use one of: party"):
        table(20, 2).split(Natural("school"))
    with pytest.raises(DataError, match="the data have no party column"):
        from_arrays(np.zeros((5, 1)), np.zeros(5, int)).split(Natural())


@pytest.mark.parametrize("partition", [Dirichlet(2, 1.0), LabelCount(2, 1)])
def test_partitions_by_label_refuse_a_regression(partition: Partition) -> None:
    with pytest.raises(DataError, match="a partition by label, but the targets are float32"):
        from_arrays(np.zeros((8, 1)), np.arange(8.0)).split(partition)


@pytest.mark.parametrize(
    "partition",
    [IID(0), Dirichlet(2, 0.0), Shards(2, 0), LabelCount(2, 9), QuantityLogNormal(2, -1.0), QuantityPowerLaw(2, -1.0)],
)
def test_parameters_out_of_range_are_refused(partition: Partition) -> None:
    with pytest.raises(DataError, match="→"):
        table(50, 3).split(partition)
