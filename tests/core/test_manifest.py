"""Manifests: canonical, pinned by digest, and harmless to read."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core.errors import ManifestError
from comity.core.manifest import canonical, decode, digest, encode
from comity.learners.plan import LocalSGD
from comity.learners.schedules import Cosine
from comity.transforms.clip import Clip

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner).map(tuple) | st.dictionaries(st.from_regex(r"[a-hj-z]+", fullmatch=True), inner),
    max_leaves=12,
)


class Net:
    """Somebody's own class."""


@dataclass(frozen=True)
class OwnSchedule:
    """Somebody's own part."""

    every: int

    def factor(self, round: int) -> float:
        return 1.0 / (1 + round // self.every)


@dataclass
class Thawed:
    value: int


@given(json_values)
def test_plain_values_round_trip(value: Any) -> None:
    assert decode(encode(value)) == value


def test_parts_of_comity_round_trip() -> None:
    plan = LocalSGD(lr=0.1, epochs=2, batch_size=10, schedule=Cosine(rounds=100, warmup=5))
    assert decode(encode(plan)) == plan


def test_the_text_does_not_depend_on_the_order_of_keys() -> None:
    assert canonical({"b": 1, "a": 2.0}) == canonical({"a": 2.0, "b": 1}) == '{"a":2.0,"b":1}'


def test_the_digest_changes_with_any_field() -> None:
    assert digest(encode(Clip(1.0))) != digest(encode(Clip(1.5)))


def test_a_users_class_is_pinned_by_its_source_and_given_back() -> None:
    node = encode(Net)
    assert isinstance(node, dict)
    assert node["ref"] == "Net"
    assert decode(node, [Net]) is Net


def test_a_users_dataclass_round_trips_when_it_is_given() -> None:
    plan = LocalSGD(lr=0.1, schedule=OwnSchedule(every=3))
    assert decode(encode(plan), [OwnSchedule]) == plan


def test_an_array_is_pinned_by_its_content() -> None:
    array = np.arange(4, dtype=np.float32)
    node = encode(array)
    assert decode(node, [array + 1, array]) is array
    with pytest.raises(ManifestError, match="array it refers to was not given"):
        decode(node, [array + 1])


def test_a_class_that_was_not_given_is_not_looked_for() -> None:
    with pytest.raises(ManifestError, match=r"Net was not given[\s\S]*objects=\[Net\]"):
        decode(encode(Net))


def test_a_class_with_other_source_is_refused() -> None:
    node = encode(Net)
    assert isinstance(node, dict)
    with pytest.raises(ManifestError, match="differs from the one the manifest pins"):
        decode({**node, "source": "0" * 64}, [Net])


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "comity.core.manifest:decode",
        "comity.core.manifest:importlib",
        "comity.nowhere:Thing",
        "builtins:eval",
        "comity.core.errors:Rejection.__init__",
    ],
)
def test_nothing_but_comitys_own_parts_is_built(name: str) -> None:
    with pytest.raises(ManifestError):
        decode({"is": name})


def test_a_function_inside_comity_is_not_reachable_by_name() -> None:
    with pytest.raises(ManifestError, match="was not given"):
        decode({"ref": "comity.cli:main"})


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(ManifestError, match=r"unknown field 'nrom'[\s\S]*fields here: norm"):
        decode({"is": "comity.transforms.clip:Clip", "nrom": 1.0})


def test_deep_nesting_is_refused() -> None:
    node: Any = 1
    for _ in range(100):
        node = [node]
    with pytest.raises(ManifestError, match="nested deeper"):
        decode(node)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "nan cannot be written"),
        (object(), "a object cannot be written"),
        (Thawed(1), "Thawed is not frozen"),
        ({1: 2}, "no plain names"),
        ({"is": 2}, "no plain names"),
    ],
)
def test_what_cannot_be_written_is_named(value: Any, message: str) -> None:
    with pytest.raises(ManifestError, match=rf"job\.part.*{message}"):
        encode(value, "job.part")
