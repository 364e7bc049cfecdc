"""A party's batches: its own order, each example once an epoch, views of what was gathered."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from comity.core.errors import LearnerError
from comity.core.seeds import Seed
from comity.data.examples import Affine, Examples
from comity.learners.torch import batches
from comity.learners.torch.batches import DeviceColumns, Feeder, features
from comity.learners.torch.losses import resolve


def feeder() -> Feeder:
    return Feeder(resolve("cross_entropy"), torch.device("cpu"))


def numbered(count: int) -> Examples:
    """Examples whose features and labels tell which they are."""
    return Examples(np.arange(count, dtype=np.float32)[:, None], np.arange(count))


@given(st.integers(1, 40), st.integers(1, 15), st.integers(1, 30))
def test_every_epoch_sees_each_example_once(examples, size, count):
    found = [y.tolist() for _, y in feeder().epochs(numbered(examples), size, count, Seed.of(0))]
    assert len(found) == count
    per_epoch = -(-examples // size)
    for start in range(0, count - per_epoch + 1, per_epoch):
        epoch = found[start : start + per_epoch]
        assert sorted(row for batch in epoch for row in batch) == list(range(examples))
        assert all(len(batch) == size for batch in epoch[:-1])


def test_features_and_labels_stay_together():
    for x, y in feeder().epochs(numbered(17), 4, 9, Seed.of(0)):
        assert x[:, 0].tolist() == y.tolist()


def test_the_order_is_the_seeds_and_new_in_every_epoch():
    def orders(seed: int) -> list[list[int]]:
        return [y.tolist() for _, y in feeder().epochs(numbered(20), 19, 4, Seed.of(seed))]

    assert orders(1) == orders(1)
    assert orders(1) != orders(2)
    assert orders(1)[0] != orders(1)[2]


def test_large_parties_are_gathered_in_blocks(monkeypatch):
    whole = [y.tolist() for _, y in feeder().epochs(numbered(50), 4, 20, Seed.of(0))]
    monkeypatch.setattr(batches, "_BLOCK_BYTES", 32)
    assert [y.tolist() for _, y in feeder().epochs(numbered(50), 4, 20, Seed.of(0))] == whole


def test_rows_and_the_affine_map_are_those_of_the_examples():
    x = np.arange(60, dtype=np.uint8).reshape(10, 6)
    examples = Examples(x, np.arange(10), np.array([7, 2, 5]), Affine(np.float32(0.5), np.arange(6.0)))
    found, _ = feeder().rows(examples, np.array([2, 0]))
    assert np.allclose(found.numpy(), examples.features()[[2, 0]])
    assert x.max() == 59


@pytest.mark.parametrize(
    ("stored", "seen"),
    [("uint8", torch.int64), ("int32", torch.int64), ("float64", torch.float32), ("float16", torch.float32)],
)
def test_without_a_map_integers_are_token_ids(stored, seen):
    assert features(torch.from_numpy(np.ones(3, stored)), None).dtype is seen


def test_features_that_are_no_numbers():
    with pytest.raises(LearnerError, match="features of dtype object"):
        feeder().rows(Examples(np.array(["a"], dtype=object), np.zeros(1)), slice(0, 1))


class TestDeviceColumns:
    def test_on_a_cpu_nothing_is_held(self):
        assert DeviceColumns(torch.device("cpu")).get(np.ones(3)) is None

    def test_a_column_is_moved_once_and_let_go_with_its_host_array(self):
        columns = DeviceColumns(torch.device("meta"))
        column = np.ones((4, 2))
        assert columns.get(column) is columns.get(column)
        assert columns.get(np.ones((4, 2))) is not columns.get(column)
        del column
        gc.collect()
        assert not columns._held


def test_features_lie_at_an_address_as_torchs_own_wherever_the_column_does():
    """A product of matrices can differ in the last bit with the alignment of its operands."""
    for shift in range(1, 8):
        column = np.empty(40 * 5 + shift, dtype=np.float32)[shift:].reshape(40, 5)
        column[:] = 1
        x, _ = feeder().rows(Examples(column, np.zeros(40, dtype=np.int64)), slice(0, 40))
        assert x.data_ptr() % 64 == 0
