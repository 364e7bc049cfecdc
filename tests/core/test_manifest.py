"""Manifests: canonical, pinned by digest, and harmless to read."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core.errors import ManifestError
from comity.core.manifest import canonical, decode, digest, encode, parse
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


@dataclass(frozen=True)
class Touchy:
    text: Any

    def __post_init__(self) -> None:
        self.text.upper()


@dataclass(frozen=True)
class Labelled:
    """A part whose fields have the names that references use."""

    source: str
    ref: int


def reference_of(target: Any) -> dict[str, Any]:
    node = encode(target)
    assert isinstance(node, dict)
    return dict(node)


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


def test_fields_may_have_any_name() -> None:
    assert decode(encode(Labelled("a", 1)), [Labelled]) == Labelled("a", 1)


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
        "comity.programs.party:Memory",
        "comity.\0:Thing",
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


def test_a_manifest_calls_no_function_of_the_users() -> None:
    called = []

    def dangerous(path: str = "x") -> None:
        called.append(path)

    with pytest.raises(ManifestError, match="dangerous is no frozen dataclass"):
        decode({**reference_of(dangerous), "fields": {"path": "/everything"}}, [dangerous])
    assert called == []


@pytest.mark.parametrize("kind", [Net, Thawed])
def test_a_manifest_builds_no_class_of_the_users_that_is_not_a_frozen_dataclass(kind: type) -> None:
    with pytest.raises(ManifestError, match=f"{kind.__name__} is no frozen dataclass"):
        decode({**reference_of(kind), "fields": {}}, [kind])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"every": 3, "zzz": 5}, r"job\.part: unknown field 'zzz'[\s\S]*fields here: every"),
        ({}, r"job\.part: OwnSchedule cannot be built: .*missing 1 required"),
        (5, r"job\.part: the fields are no mapping"),
    ],
)
def test_a_users_dataclass_with_other_fields_is_refused(fields: Any, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        decode({**reference_of(OwnSchedule), "fields": fields}, [OwnSchedule], "job.part")


def test_what_a_constructor_raises_becomes_a_manifest_error() -> None:
    with pytest.raises(ManifestError, match=r"Touchy cannot be built: 'int' object has no attribute 'upper'"):
        decode({**reference_of(Touchy), "fields": {"text": 5}}, [Touchy])


def test_depth_is_counted_through_a_users_own_parts() -> None:
    node: Any = 1
    for _ in range(40):
        node = {**reference_of(OwnSchedule), "fields": {"every": node}}
    with pytest.raises(ManifestError, match="nested deeper"):
        decode(node, [OwnSchedule])


@pytest.mark.parametrize(
    ("text", "message"),
    [("[" * 5000 + "]" * 5000, "nested deeper"), ("[NaN]", "NaN is no number"), ("{", "no JSON")],
    ids=["deep", "nan", "cut"],
)
def test_a_text_that_is_no_json_of_a_manifest_is_refused(text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        decode(parse(text))


def test_a_number_beyond_the_floats_is_refused() -> None:
    with pytest.raises(ManifestError, match=r"job\[0\]: inf is no number"):
        decode(parse("[1e999]"))


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
        (np.array([object()]), "an array of Python objects"),
        (Thawed(1), "Thawed is not frozen"),
        ({1: 2}, "no plain names"),
        ({"is": 2}, "no plain names"),
    ],
)
def test_what_cannot_be_written_is_named(value: Any, message: str) -> None:
    with pytest.raises(ManifestError, match=rf"job\.part.*{message}"):
        encode(value, "job.part")
