"""Layouts: how named arrays lie in a flat vector, and what never enters it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core.errors import LearnerError
from comity.core.layout import Layout

MIXED = Layout.build(
    [
        ("norm.mean", (3,), "float32", "buffer"),
        ("body.weight", (2, 3), "bfloat16", "shared"),
        ("norm.batches", (), "int64", "fixed"),
        ("head.weight", (4,), "float32", "local"),
        ("body.bias", (2,), "float32", "shared"),
    ],
    ties={"decoder.weight": "body.weight"},
)

shapes = st.lists(st.lists(st.integers(0, 4), max_size=3).map(tuple), min_size=1, max_size=6)


def test_what_is_trained_comes_before_buffers_and_nothing_else_travels() -> None:
    assert MIXED.size == 6 + 2 + 3
    assert MIXED.shared_size == 6 + 2
    assert MIXED.local_size == 4
    assert [entry.name for entry in MIXED.entries if entry.part in ("shared", "buffer")] == [
        "body.weight",
        "body.bias",
        "norm.mean",
    ]


def test_bytes_on_the_wire_follow_each_entrys_own_precision() -> None:
    assert MIXED.wire_bytes == 6 * 2 + 2 * 4 + 3 * 4


def test_a_tied_array_lies_once_and_is_read_under_both_names() -> None:
    views = MIXED.unpack(np.arange(11, dtype=np.float32))
    assert views["decoder.weight"] is views["body.weight"]
    assert views["body.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_unpacked_arrays_are_views() -> None:
    vector = np.zeros(11, dtype=np.float32)
    MIXED.unpack(vector)["body.bias"][:] = 7
    assert vector.tolist() == [0] * 6 + [7, 7] + [0] * 3


@given(shapes)
def test_packing_then_unpacking_gives_the_same_arrays(shapes: list[tuple[int, ...]]) -> None:
    layout = Layout.build([(f"a{i}", shape, "float32", "shared") for i, shape in enumerate(shapes)])
    rng = np.random.default_rng(0)
    arrays = {f"a{i}": rng.normal(size=shape).astype(np.float32) for i, shape in enumerate(shapes)}
    vector = layout.pack(arrays)
    assert vector.shape == (layout.size,)
    assert all(np.array_equal(arrays[name], view) for name, view in layout.unpack(vector).items())


def test_buffers_can_be_left_out_of_a_change() -> None:
    rows = np.ones((2, 11), dtype=np.float32)
    assert MIXED.without_buffers(rows).tolist() == [[1] * 8 + [0] * 3] * 2
    assert rows.min() == 1


def test_a_missing_array_is_named() -> None:
    with pytest.raises(LearnerError, match=r"'body\.bias'.*missing"):
        MIXED.pack({"body.weight": np.zeros((2, 3))})


def test_a_wrong_shape_is_named_with_the_right_one() -> None:
    with pytest.raises(LearnerError, match=r"shape \(3, 2\), expected \(2, 3\)"):
        MIXED.pack({"body.weight": np.zeros((3, 2))})


def test_a_vector_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(LearnerError, match=r"expected \(11,\)"):
        MIXED.unpack(np.zeros(10))


def test_two_arrays_of_one_name_are_refused() -> None:
    with pytest.raises(LearnerError, match="one name"):
        Layout.build([("a", (1,), "float32", "shared"), ("a", (2,), "float32", "shared")])
