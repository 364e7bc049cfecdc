"""TOML that people edit: what is read is exactly what was written, and a slip is named with its place and its mend."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core import tables
from comity.core.checks import closest
from comity.core.errors import ConfigError
from comity.core.tables import Reader

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.one_of(TEXTS, st.integers(-(1 << 60), 1 << 60), st.floats(allow_nan=False), st.lists(TEXTS).map(tuple))


@given(VALUES)
def test_what_is_written_reads_back(value: Any) -> None:
    found = tables.parse(f"key = {tables.written(value)}\n".encode(), "file")["key"]
    assert (tuple(found) if isinstance(value, tuple) else found) == value


@pytest.mark.parametrize("content", [b"key = ", b"key = 1\nkey = 2\n", b"\xff"])
def test_what_is_no_toml_is_named_by_its_file(content: bytes) -> None:
    with pytest.raises(ConfigError, match=r"^node\.toml: this is no TOML"):
        tables.parse(content, "node.toml")


def test_each_value_is_read_by_its_key() -> None:
    found = tables.read({"tasks": 3, "days": 2}, {"tasks": tables.count, "days": tables.positive}, "node.toml")
    assert found == {"tasks": 3, "days": 2.0}


def test_an_unknown_key_is_named_with_the_one_that_may_be_meant_or_with_all() -> None:
    readers = {"tasks": tables.count, "proxy": tables.line}
    with pytest.raises(ConfigError, match=r"^node\.toml, key task: unknown key 'task'") as raised:
        tables.read({"task": 3}, readers, "node.toml")
    assert raised.value.mend == "did you mean 'tasks'?"
    with pytest.raises(ConfigError) as raised:
        tables.read({"zzz": 3}, readers, "node.toml")
    assert raised.value.mend == "keys here: tasks, proxy"


@pytest.mark.parametrize(
    ("reader", "good", "bad"),
    [
        (tables.text, ["", "a\nb"], [1, None, ["a"]]),
        (tables.line, ["", "a b"], ["a\nb", "\x1b[2J", "\ud800", 1]),
        (tables.whole, [-1, 0, 7], [True, 1.0, "1"]),
        (tables.count, [1, 7], [0, -1, True, 1.5, "1"]),
        (tables.number, [0, -1.5], [True, "1", float("nan"), float("inf")]),
        (tables.positive, [1, 0.5], [0, -1, True, float("nan"), float("inf"), "1"]),
        (tables.one_of("none", "some"), ["none", "some"], ["non", "", 1, ["none"], None]),
    ],
)
def test_a_value_is_taken_as_it_is_or_refused_with_its_place(reader: Reader, good: list[Any], bad: list[Any]) -> None:
    assert [reader(value, "file, key k") for value in good] == good
    for value in bad:
        with pytest.raises(ConfigError, match=r"^file, key k: ") as raised:
            reader(value, "file, key k")
        assert raised.value.mend


def test_lists_of_texts_may_be_empty_and_lists_of_names_may_not() -> None:
    assert tables.texts([], "k") == ()
    assert tables.texts(["a", ""], "k") == ("a", "")
    assert tables.names(["a", "b"], "k") == ("a", "b")
    for value in ([], ["a", ""]):
        with pytest.raises(ConfigError, match="is no list of names"):
            tables.names(value, "k")
    for value in ("ab", [1], None, {"a": 1}):
        with pytest.raises(ConfigError, match="is no list of texts"):
            tables.texts(value, "k")


def test_the_closest_name_is_asked_for_and_none_where_none_is_close() -> None:
    assert closest("datasts", ["nodes", "datasets"]) == "did you mean 'datasets'?"
    assert closest("zzz", ["nodes", "datasets"]) == ""
