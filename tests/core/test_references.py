"""References: two functions or classes are one exactly if their source and all that they carry are the same."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from comity.core.errors import ManifestError
from comity.core.manifest import canonical, decode, encode

Make = Callable[[Any], Any]


def with_variable(value: Any) -> Any:
    def model() -> Any:
        return value

    return model


def with_default(value: Any) -> Any:
    def model(kept: Any = value) -> Any:
        return kept

    return model


def with_keyword_default(value: Any) -> Any:
    def model(*, kept: Any = value) -> Any:
        return kept

    return model


def with_lambda(value: Any) -> Any:
    return lambda: value


def with_class_attribute(value: Any) -> Any:
    class Model:
        kept = value

    return Model


def with_method(value: Any) -> Any:
    class Model:
        def __init__(self) -> None:
            super().__init__()
            self.kept = value

    return Model


def with_dataclass_default(value: Any) -> Any:
    @dataclass(frozen=True)
    class Model:
        kept: Any = value

    return Model


def with_static_method(value: Any) -> Any:
    class Model:
        @staticmethod
        def kept() -> Any:
            return value

    return Model


def with_property(value: Any) -> Any:
    class Model:
        @property
        def kept(self) -> Any:
            return value

    return Model


def with_base(value: Any) -> Any:
    base = with_method(value)

    class Heir(base):  # type: ignore[misc]
        pass

    return Heir


def with_decorator(value: Any) -> Any:
    inner = with_variable(value)

    @functools.wraps(inner)
    def model() -> Any:
        return inner()

    return model


MAKERS = [
    with_variable,
    with_default,
    with_keyword_default,
    with_lambda,
    with_class_attribute,
    with_method,
    with_static_method,
    with_property,
    with_dataclass_default,
    with_base,
    with_decorator,
]

VALUES: list[tuple[Any, Any]] = [
    (8, 16),
    (1, True),
    (1, 1.0),
    (math.inf, -math.inf),
    ("inf", math.inf),
    ((1, (2, 3)), (1, (2, 4))),
    ({"a": 1}, {"a": 2}),
    (np.arange(3), np.arange(3.0)),
    (np.float32(1), np.float32(2)),
    (with_variable(1), with_variable(2)),
    (math, functools),
    (math.sin, math.cos),
    (int, float),
]


@pytest.mark.parametrize("make", [make for make in MAKERS if make is not with_dataclass_default])
@pytest.mark.parametrize(("one", "other"), VALUES, ids=lambda value: type(value).__name__)
def test_what_is_carried_is_pinned(make: Make, one: Any, other: Any) -> None:
    assert canonical(encode(make(one))) == canonical(encode(make(one)))
    assert canonical(encode(make(one))) != canonical(encode(make(other)))


@pytest.mark.parametrize("make", MAKERS)
def test_reading_gives_back_the_one_that_carries_the_same(make: Make) -> None:
    one, other = make(8), make(16)
    assert decode(encode(one), [other, one]) is one
    with pytest.raises(
        ManifestError, match=r"differs from the one the manifest pins[\s\S]*version that the job was made"
    ):
        decode(encode(one), [other])


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (with_variable, "the variable 'value' of with_variable.<locals>.model"),
        (with_default, "the default 'kept' of with_default.<locals>.model"),
        (with_keyword_default, "the default 'kept'"),
        (with_class_attribute, "the attribute 'kept' of with_class_attribute.<locals>.Model"),
        (with_method, "the method '__init__'"),
        (with_base, "the base class 'with_method.<locals>.Model'"),
    ],
)
def test_what_differs_is_named(make: Make, what: str) -> None:
    with pytest.raises(ManifestError, match=what):
        decode(encode(make(8)), [make(16)])


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (with_variable, "the variable 'value' of with_variable.<locals>.model cannot be pinned: a object"),
        (with_default, "the default 'kept' of with_default.<locals>.model cannot be pinned: a object"),
        (with_class_attribute, "the attribute 'kept' of .*Model cannot be pinned: a object"),
        (with_property, "the variable 'value' of .*Model cannot be pinned: a object"),
    ],
)
def test_what_cannot_be_pinned_is_refused_by_name(make: Make, what: str) -> None:
    with pytest.raises(ManifestError, match=rf"job\.model: {what}"):
        encode(make(object()), "job.model")


def test_a_function_that_calls_itself_and_two_that_call_each_other_are_pinned() -> None:
    def make(step: int) -> Any:
        def even(n: int) -> bool:
            return n == 0 or odd(n - step)

        def odd(n: int) -> bool:
            return n != 0 and even(n - step)

        return even

    assert canonical(encode(make(1))) != canonical(encode(make(2)))
    assert decode(encode(even := make(1)), [make(2), even]) is even


def test_a_tensor_is_pinned_by_its_content() -> None:
    torch = pytest.importorskip("torch")
    ones = canonical(encode(with_variable(torch.ones(3))))
    assert ones == canonical(encode(with_variable(torch.ones(3, requires_grad=True))))
    assert ones != canonical(encode(with_variable(torch.zeros(3))))


def test_a_function_under_an_installed_decorator_is_pinned_as_the_users_own() -> None:
    torch = pytest.importorskip("torch")
    one, other = (torch.no_grad()(with_variable(value)) for value in (1, 2))
    assert canonical(encode(one)) != canonical(encode(other))
    assert decode(encode(one), [other, one]) is one


def test_functions_and_classes_of_installed_packages_are_named_and_not_pinned() -> None:
    assert encode(json_dumps := __import__("json").dumps) == {"ref": "json:dumps"}
    assert decode({"ref": "json:dumps"}, [json_dumps]) is json_dumps
    assert encode(np.random.Generator) == {"ref": "numpy.random._generator:Generator"}


@pytest.mark.parametrize(
    "source",
    [
        "def Net(): pass",
        "class Net: pass",
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Net: pass",
    ],
    ids=["function", "class", "dataclass"],
)
def test_what_is_defined_at_the_prompt_is_refused(source: str) -> None:
    at_the_prompt: dict[str, Any] = {"__name__": "prompt"}
    exec(source, at_the_prompt)
    with pytest.raises(ManifestError, match=r"source of Net cannot be found[\s\S]*in a file rather than at the prompt"):
        encode(at_the_prompt["Net"])


def test_an_instance_of_a_dataclass_at_the_prompt_is_refused() -> None:
    at_the_prompt: dict[str, Any] = {"__name__": "prompt"}
    exec("from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Part: pass", at_the_prompt)
    with pytest.raises(ManifestError, match="source of Part cannot be found"):
        encode(at_the_prompt["Part"]())
