"""Checks on fields: what passes, what does not, and what the error says."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from comity.core.checks import described, fraction, nonnegative, offers, one_of, positive, whole
from comity.core.errors import ConfigError


@dataclass
class Part:
    value: Any

    def act(self) -> None: ...


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (positive, [1, 0.5, np.float64(2.0)], [0, -1.0, "1", None, True, float("inf"), float("nan")]),
        (nonnegative, [0, 1.5], [-1e-9, "0", None, False, float("nan")]),
        (fraction, [0, 0.999], [1, 1.5, -0.1, "0.5", None]),
    ],
)
def test_numbers(check: Any, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        check(Part(value), "value")
    for value in bad:
        with pytest.raises(ConfigError, match=r"Part\.value: value is"):
            check(Part(value), "value")


def test_whole_numbers() -> None:
    whole(Part(2), "value", 2)
    for value in (1, 2.0, "2", True, None):
        with pytest.raises(ConfigError, match="give a whole number of 2 or more"):
            whole(Part(value), "value", 2)


def test_an_optional_field_may_be_none_and_the_mend_says_so() -> None:
    positive(Part(None), "value", optional=True)
    with pytest.raises(ConfigError, match="give a number of seconds above 0, or None"):
        positive(Part(0), "value", optional=True, unit="of seconds")


def test_words() -> None:
    one_of(Part("up"), "value", ("up", "down"))
    with pytest.raises(ConfigError, match="one of 'up', 'down'"):
        one_of(Part("left"), "value", ("up", "down"))


def test_an_object_offers_methods_and_its_class_does_not() -> None:
    assert offers(Part(1), "act")
    assert not offers(Part, "act")
    assert not offers(Part(1), "act", "rest")


def test_values_in_words() -> None:
    assert [described(value) for value in (Part, test_words, 1, 1.0, None)] == [
        "the class Part",
        "the function test_words",
        "an int",
        "a float",
        "None",
    ]
