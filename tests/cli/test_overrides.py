"""`--set`: a field of a frozen tree replaced by its dotted path, its value checked against what the field takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import comity as ct
from comity.cli.overrides import override, split


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    steps: int | None = None
    on: bool = False
    kind: Literal["a", "b"] = "a"
    name: str = "x"
    many: Sequence[Any] = ()
    anything: Any = 3


@dataclass(frozen=True)
class Outer:
    inner: Inner = Inner()
    sizes: Mapping[str, int] = field(default_factory=lambda: {"hidden": 8})


def put(path: str, text: str) -> Any:
    return override(Outer(), path.split("."), text, under="job")


def refused(path: str, text: str) -> ct.ConfigError:
    with pytest.raises(ct.ConfigError) as caught:
        put(path, text)
    return caught.value


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("rate", "0.5", 0.5),
        ("rate", "1", 1.0),
        ("rate", "1e-3", 1e-3),
        ("steps", "7", 7),
        ("steps", "None", None),
        ("on", "True", True),
        ("kind", "b", "b"),
        ("kind", "'b'", "b"),
        ("name", "word", "word"),
        ("name", "12", "12"),
        ("many", "['accuracy', 'auroc']", ("accuracy", "auroc")),
        ("anything", "5", 5),
    ],
)
def test_a_field_takes_values_of_its_kind(name: str, text: str, value: object) -> None:
    renewed = getattr(put(f"inner.{name}", text).inner, name)
    assert renewed == value
    assert type(renewed) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rate", "fast"),
        ("rate", "True"),
        ("rate", "None"),
        ("steps", "0.5"),
        ("steps", "'7'"),
        ("on", "1"),
        ("on", "yes"),
        ("kind", "c"),
        ("many", "accuracy"),
        ("anything", "'text'"),
    ],
)
def test_other_values_are_refused_with_what_the_field_takes(name: str, text: str) -> None:
    error = refused(f"inner.{name}", text)
    assert error.where == f"--set job.inner.{name}"
    assert "give " in error.mend


def test_an_unknown_field_is_refused_with_the_fields_of_its_level() -> None:
    error = refused("inner.rat", "1")
    assert "job.inner has no field 'rat'" in error.what
    assert "did you mean 'rate'?" in error.mend
    assert "rate, steps, on, kind" in error.mend


def test_a_part_is_not_a_value_but_its_fields_are() -> None:
    assert "inner.rate=" in refused("inner", "1").mend


def test_a_path_ends_at_a_number() -> None:
    assert "has no field 'deeper'" in refused("inner.rate.deeper", "1").what


def test_entries_of_a_mapping_are_fields() -> None:
    assert put("sizes.hidden", "32").sizes == {"hidden": 32}
    assert "has no field 'width'" in refused("sizes.width", "32").what


def test_what_a_part_says_to_its_new_value_names_the_assignment() -> None:
    with pytest.raises(ct.ConfigError) as caught:
        override(ct.LocalSGD(lr=0.1), ["lr"], "-1", under="job")
    assert caught.value.where == "--set job.lr=-1: LocalSGD.lr"


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers())
def test_any_number_is_read_back(rate: float, steps: int) -> None:
    renewed = override(put("inner.rate", repr(rate)), ["inner", "steps"], repr(steps), under="job")
    assert (renewed.inner.rate, renewed.inner.steps) == (rate, steps)
    assert renewed.sizes == {"hidden": 8}


@pytest.mark.parametrize("text", ["lr", "=1", "a..b=1", ".a=1"])
def test_what_is_no_assignment_is_refused(text: str) -> None:
    with pytest.raises(ct.ConfigError, match="no assignment"):
        split(text)


def test_a_value_may_hold_an_equals_sign() -> None:
    assert split("a.b = x=1") == (["a", "b"], "x=1")
