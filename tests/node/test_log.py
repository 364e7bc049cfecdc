"""The node's log: nothing in it can be changed unseen, and what a crash tears is set aside."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.node.log import START, LogError, NodeLog, _canonical, _hash, entries, verify


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


def filled(path: Path, count: int = 5) -> NodeLog:
    log = NodeLog(path, now=iter(range(1000, 2000)).__next__)
    for number in range(count):
        log.append("left", {"round": number, "bytes": 10 * number, "to": ("server",)})
    return log


def test_entries_are_numbered_timed_and_chained(path: Path) -> None:
    filled(path, 3)
    first, second, third = entries(path)
    assert [first.seq, second.seq, third.seq] == [0, 1, 2]
    assert [first.at, second.at, third.at] == [1000, 1001, 1002]
    assert (first.before, second.before, third.before) == (START, first.hash, second.hash)
    assert third.facts == {"round": 2, "bytes": 20, "to": ["server"]}
    checked = verify(path)
    assert checked.sound
    assert (checked.entries, checked.head) == (3, third.hash)


def test_no_log_is_an_empty_one(path: Path) -> None:
    assert verify(path).sound
    assert verify(path).entries == 0


def test_only_the_owner_can_read_it(path: Path) -> None:
    filled(path, 1)
    assert path.stat().st_mode & 0o077 == 0


def test_another_process_goes_on_where_the_first_one_stopped(path: Path) -> None:
    log = filled(path, 2)
    NodeLog(path, now=lambda: 5.0).append("decided", {"who": "analyst"})
    log.append("left", {})
    assert [entry.kind for entry in entries(path)] == ["left", "left", "decided", "left"]
    assert verify(path).sound


def test_processes_that_append_at_the_same_time_take_turns(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from comity.node.log import NodeLog\n"
        "log = NodeLog(Path(sys.argv[1]), now=lambda: 1.0)\n"
        "for n in range(20): log.append('n', {'n': n})"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(3)]
    assert [process.wait(timeout=60) for process in running] == [0, 0, 0]
    assert verify(path) == verify(path, head=next(entries(path)).hash)
    assert verify(path).entries == 60


def swapped(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


def changed(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b'"bytes":10', b'"bytes":11'), *lines[2:]]


def rehashed(lines: list[bytes]) -> list[bytes]:
    node = json.loads(lines[1])
    node["facts"]["bytes"] = 11
    node["hash"] = _hash(node["seq"], node["at"], node["kind"], node["facts"], node["before"])
    return [lines[0], _canonical(node) + b"\n", *lines[2:]]


def removed(lines: list[bytes]) -> list[bytes]:
    return [lines[0], *lines[2:]]


def repeated(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[0], *lines[1:]]


def respelt(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b'"bytes":10', b'"bytes": 10'), *lines[2:]]


def doubled_key(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b'"bytes":10', b'"bytes":9,"bytes":10'), *lines[2:]]


@pytest.mark.parametrize(
    ("tamper", "line"),
    [(swapped, 2), (changed, 2), (rehashed, 3), (removed, 2), (repeated, 2), (respelt, 2), (doubled_key, 2)],
)
def test_verify_names_the_first_bad_line(path: Path, tamper: Callable[[list[bytes]], list[bytes]], line: int) -> None:
    filled(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(tamper(lines)))
    checked = verify(path)
    assert not checked.sound
    assert checked.line == line
    assert checked.entries == line - 1
    assert f"line {line}: " in str(checked)


@pytest.mark.parametrize("line", [b"{}\n", b"[]\n", b"1e999\n", b"NaN\n", b"\xff\n", b"[" * 100_000 + b"\n", b"\n"])
def test_lines_that_are_no_entries_are_named(path: Path, line: bytes) -> None:
    filled(path, 2)
    with path.open("ab") as file:
        file.write(line)
    assert verify(path).line == 3
    assert len(list(entries(path))) == 2
    with pytest.raises(LogError, match="no entry"):
        NodeLog(path, now=lambda: 1.0).append("left", {})


def test_a_known_head_shows_that_the_end_was_cut_off(path: Path) -> None:
    filled(path)
    head = verify(path).head
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    assert verify(path).sound
    assert verify(path, head).line == 5


@given(data=st.data())
def test_any_changed_byte_is_found(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        filled(path, 3)
        text = bytearray(path.read_bytes())
        place = data.draw(st.integers(0, len(text) - 1))
        text[place] ^= data.draw(st.integers(1, 255))
        path.write_bytes(text)
        assert not verify(path).sound


@given(cut=st.integers(1, 400))
def test_a_crash_in_the_middle_of_a_line_costs_that_line_alone(cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        log = filled(path, 3)
        text = path.read_bytes()
        last = text.splitlines(keepends=True)[-1]
        torn = last[: cut % len(last)]
        path.write_bytes(text.removesuffix(last) + torn)
        assert verify(path).sound == (not torn)
        log.append("left", {"after": True})
        kinds = [entry.kind for entry in entries(path)]
        assert verify(path).sound
        assert kinds == ["left", "left", *(["torn"] if torn else []), "left"]
        if torn:
            assert (Path(folder) / "log.jsonl.torn-2").read_bytes() == torn


def test_a_first_line_can_be_torn_as_well_and_long_ones_too(path: Path) -> None:
    torn = b'{"at":1,"facts":"' + b"x" * 200_000
    path.write_bytes(torn)
    log = NodeLog(path, now=lambda: 1.0)
    log.append("left", {"text": "y" * 200_000})
    log.append("left", {})
    assert [entry.kind for entry in entries(path)] == ["torn", "left", "left"]
    assert path.with_name("log.jsonl.torn-0").read_bytes() == torn
    assert verify(path).sound


def test_a_disk_that_refuses_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogError, match="cannot be written"):
        NodeLog(tmp_path / "file" / "log.jsonl", now=lambda: 1.0).append("left", {})


FACTS = st.dictionaries(
    st.text(max_size=5), st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)


@given(facts=st.lists(FACTS, max_size=4))
def test_whatever_is_written_verifies_and_reads_back(facts: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        log = NodeLog(path, now=lambda: 1.5)
        for fact in facts:
            log.append("kind", fact)
        assert verify(path).sound
        assert [entry.facts for entry in entries(path)] == facts
