"""The array rule, and vectors that are too large for memory."""

import numpy as np
import pytest

from comity.core.arrays import column_chunks, empty, namespace, to_numpy


def test_a_large_vector_lies_in_a_file_and_behaves_like_any_other() -> None:
    vector = empty(1000, np.float64, large=8000)
    assert isinstance(vector, np.memmap)
    vector[:] = np.arange(1000)
    assert vector.sum() == 499_500
    assert not isinstance(empty(999, np.float64, large=8000), np.memmap)


def test_chunks_cover_every_column_once() -> None:
    assert column_chunks(10, 4) == [slice(0, 4), slice(4, 8), slice(8, 10)]
    assert column_chunks(0) == []


def test_the_namespace_follows_the_arrays() -> None:
    torch = pytest.importorskip("torch")
    assert "numpy" in namespace(np.zeros(1)).__name__
    assert "torch" in namespace(torch.zeros(1)).__name__


def test_a_tensor_is_read_without_a_copy() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.zeros(3)
    to_numpy(tensor)[:] = 1
    assert tensor.tolist() == [1, 1, 1]
