"""Text by speaker: windows and the character that follows."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.core.errors import DataError
from comity.data import Dataset, Natural, from_text, load
from comity.data.text import speeches


def spelled(data: Dataset, tokens: np.ndarray) -> str:
    return "".join(data.labels[token] for token in tokens)


@settings(max_examples=40, deadline=None)
@given(
    texts=st.lists(st.text("abcé \n", min_size=10, max_size=60), min_size=1, max_size=5),
    window=st.integers(1, 5),
    stride=st.integers(1, 4),
)
def test_every_example_is_a_window_of_one_speaker_and_what_follows(texts: list[str], window: int, stride: int) -> None:
    spoken = {f"s{i}": text for i, text in enumerate(texts)}
    data = from_text(spoken, window=window, stride=stride)
    column = data.party["speaker"]
    found = [
        (column.names[code], spelled(data, x) + data.labels[y])
        for code, x, y in zip(column.codes, data.train.features(), data.train.labels(), strict=True)
    ]
    cut = {name: int(len(text) * 0.8) for name, text in spoken.items()}
    assert found == [
        (name, text[i : i + window + 1])
        for name, text in sorted(spoken.items())
        for i in range(0, len(text) - window, stride)
        if i + window < cut[name]
    ]
    assert data.test is not None
    positions = sum(len(range(0, len(text) - window, stride)) for text in texts)
    assert len(data.train) + len(data.test) == positions


def test_windows_are_never_copied() -> None:
    data = from_text({"a": "to be or not to be " * 50}, window=20)
    assert data.train.x.strides == (1, 1)
    assert data.train.features().dtype == np.uint8


def test_held_out_examples_are_the_last_of_each_party() -> None:
    parties = from_text({"a": "abcd" * 60, "b": "abdc" * 90}, window=10).split(Natural())
    for name in parties:
        assert parties[name].train.rows.max() < parties[name].heldout.rows.min()


def test_speakers_of_too_few_characters_are_left_out() -> None:
    assert from_text({"a": "x" * 20, "b": "y" * 19}, window=10).party["speaker"].names == ("a",)
    with pytest.raises(DataError, match="no speaker has 160 characters"):
        from_text({"a": "too short"})
    with pytest.raises(DataError, match="window 0"):
        from_text({"a": "x"}, window=0)


SCRIPT = """First Citizen:
Before we proceed any further, hear me speak.

All:
Speak, speak.

First Citizen:
You are all resolved rather to die than to famish?
"""


def test_a_script_is_cut_into_speeches() -> None:
    assert speeches(SCRIPT) == {
        "First Citizen": "Before we proceed any further, hear me speak.\n"
        "You are all resolved rather to die than to famish?\n",
        "All": "Speak, speak.\n",
    }


def test_text_files_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "north.txt").write_text("hear me speak " * 20, encoding="utf-8")
    (tmp_path / "south.txt").write_text("speak, speak " * 20, encoding="utf-8")
    assert load("shakespeare", folder=tmp_path).party["speaker"].names == ("north", "south")
    script = tmp_path / "script"
    script.write_text(SCRIPT, encoding="utf-8")
    assert from_text(script, window=20).party["speaker"].names == ("First Citizen",)
    with pytest.raises(DataError, match="cannot be read"):
        from_text(tmp_path / "nothing")
    (tmp_path / "west.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(DataError, match="give UTF-8"):
        from_text(tmp_path)
