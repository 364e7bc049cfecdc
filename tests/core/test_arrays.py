"""The array rule, and vectors that are too large for memory."""

from typing import Any

import numpy as np
import pytest

from comity.core.arrays import StoredRow, column_chunks, empty, namespace, release, to_numpy


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


def test_a_mapped_vector_begins_as_zeros_and_keeps_what_it_holds_when_it_is_let_go() -> None:
    vector = empty(100_000, large=0)
    assert not vector.any()
    vector[:] = np.arange(100_000)
    for view in (vector, np.asarray(vector), vector[10:20]):
        release(view)
        np.testing.assert_array_equal(vector, np.arange(100_000))


def test_memory_that_is_not_mapped_is_left_alone() -> None:
    vector = np.arange(100_000, dtype=np.float32)
    release(vector, None)
    np.testing.assert_array_equal(vector, np.arange(100_000))


def test_a_stored_row_is_read_run_by_run() -> None:
    content = np.arange(200_000, dtype=np.float32)
    asked: list[tuple[int, int]] = []

    def read(start: int, stop: int) -> np.ndarray[Any, Any]:
        asked.append((start, stop))
        return content[start:stop]

    row = StoredRow(len(content), content.dtype, read)
    assert row.shape == (1, 200_000)
    np.testing.assert_array_equal(np.concatenate(list(row.runs())), content)
    assert len(asked) > 1
    assert max(stop - start for start, stop in asked) < len(content)
    np.testing.assert_array_equal(row[0:1][0, 5:7], [5, 6])
