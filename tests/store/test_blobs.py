"""Parts: each is whole, verified, its owner's alone, and there once it was taken."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comity.store import blobs as module
from comity.store.blobs import Blobs, Part
from comity.store.errors import Absent, Mismatch, StoreError
from comity.wire.messages import PART_BYTES, Blob


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(blobs: Blobs, data: bytes, owner: str = "north") -> str:
    blobs.put_part(owner, digest(data), data)
    return digest(data)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> int:
    """Parts of eight bytes, so that a short text is a blob of many."""
    monkeypatch.setattr(module, "PART_BYTES", 8)
    return 8


def test_a_part_is_read_back_after_opening_again(blob_url: str) -> None:
    name = put(Blobs.open(blob_url), b"vectors")
    assert Blobs.open(blob_url).part("north", name) == b"vectors"


def test_a_part_that_comes_again_is_the_same_part(blobs: Blobs) -> None:
    assert put(blobs, b"vectors") == put(blobs, b"vectors")
    assert list(blobs.each()) == [Part("north", digest(b"vectors"), 7)]


def test_only_missing_parts_are_asked_for_each_once_and_in_order(blobs: Blobs) -> None:
    there = [put(blobs, bytes([number])) for number in range(5)]
    absent = [digest(b"b"), digest(b"a")]
    assert blobs.missing("north", [absent[0], *there, absent[1], absent[0]]) == absent
    assert blobs.missing("north", there) == []
    assert blobs.missing("north", []) == []


def test_bytes_of_another_digest_are_refused(blobs: Blobs) -> None:
    with pytest.raises(Mismatch, match="digest"):
        blobs.put_part("north", digest(b"announced"), b"sent")
    assert blobs.missing("north", [digest(b"announced"), digest(b"sent")]) == [digest(b"announced"), digest(b"sent")]
    assert list(blobs.each()) == []


def test_a_part_may_come_in_pieces(blobs: Blobs) -> None:
    with blobs.arriving("north", digest(b"vectors")) as arrival:
        arrival.add([b"vec", b"to"])
        arrival.add([b"rs"])
        assert blobs.missing("north", [digest(b"vectors")]) == [digest(b"vectors")]
        arrival.keep()
    assert blobs.part("north", digest(b"vectors")) == b"vectors"


def test_a_part_of_which_not_all_comes_leaves_nothing_behind(blobs: Blobs) -> None:
    with blobs.arriving("north", digest(b"vectors")) as arrival:
        arrival.add([b"vec"])
        with pytest.raises(Mismatch, match="digest"):
            arrival.keep()
    assert list(blobs.each()) == []
    assert blobs.folder is None or not list((blobs.folder / ".drafts").iterdir())


def test_a_part_has_a_greatest_size(blobs: Blobs, small_parts: int) -> None:
    put(blobs, b"x" * small_parts)
    with pytest.raises(Mismatch, match="more than"):
        put(blobs, b"x" * (small_parts + 1))


def test_a_part_that_is_not_there_is_absent(blobs: Blobs) -> None:
    with pytest.raises(Absent):
        blobs.part("north", digest(b"never"))
    blob = Blob(digest=digest(b"never"), size=5, parts=(digest(b"never"),))
    with pytest.raises(Absent):
        blobs.read("north", blob, 0, 5)


def test_owners_do_not_reach_each_others_parts(blobs: Blobs) -> None:
    name = put(blobs, b"mine", "north")
    assert blobs.missing("south", [name]) == [name]
    with pytest.raises(Absent):
        blobs.part("south", name)
    with pytest.raises(Absent):
        blobs.read("south", Blob(digest=name, size=4, parts=(name,)), 0, 4)
    blobs.drop("south", [name])
    assert blobs.part("north", name) == b"mine"


WRONG_OWNERS = [
    "",
    ".",
    "..",
    "../north",
    "a/b",
    "/etc",
    "north/../south",
    "a\\b",
    "a\0",
    "a\n",
    ".drafts",
    "-x",
    "é",
    "a" * 65,
]
WRONG_DIGESTS = [
    "",
    "..",
    "../" + "a" * 61,
    "A" * 64,
    "a" * 63,
    "a" * 65,
    "a" * 64 + "\n",
    "g" * 64,
    "a" * 31 + "/" + "a" * 32,
]


@pytest.mark.parametrize(
    ("owner", "name"),
    [(owner, digest(b"x")) for owner in WRONG_OWNERS] + [("north", name) for name in WRONG_DIGESTS],
    ids=repr,
)
def test_nothing_but_a_name_and_a_digest_becomes_a_path(blobs: Blobs, owner: str, name: str) -> None:
    with pytest.raises(Mismatch):
        blobs.put_part(owner, name, b"x")
    with pytest.raises(Mismatch):
        blobs.part(owner, name)
    with pytest.raises(Mismatch):
        blobs.missing(owner, [name])
    with pytest.raises(Mismatch):
        blobs.drop(owner, [name])
    assert list(blobs.each()) == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text() | st.from_regex(r"[./\\]+[a-z]*(/\.\.)*", fullmatch=True))
def test_no_owner_reaches_out_of_the_folder(tmp_path: Path, text: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(exist_ok=True)
    blobs = Blobs.open(tmp_path / "inside" / "blobs")
    try:
        put(blobs, b"x", text)
    except Mismatch:
        pass
    else:
        assert (tmp_path / "inside" / "blobs" / text / digest(b"x")).exists()
    assert {path.name for path in tmp_path.iterdir()} == {"outside", "inside"}
    assert not list(outside.iterdir())
    assert [path.name for path in (tmp_path / "inside").iterdir()] == ["blobs"]


def test_a_blob_is_cut_into_full_parts(blobs: Blobs, small_parts: int) -> None:
    blob = blobs.put("north", [b"abc", b"", b"defgh" + b"ijklmnop" + b"q", b"rs"])
    pieces = [b"abcdefgh", b"ijklmnop", b"qrs"]
    whole = b"".join(pieces)
    assert blob == Blob(digest=digest(whole), size=19, parts=tuple(map(digest, pieces)))
    assert [blobs.part("north", name) for name in blob.parts] == pieces


def test_an_empty_blob_has_no_parts(blobs: Blobs) -> None:
    blob = blobs.put("north", [])
    assert blob == Blob(digest=digest(b""), size=0, parts=())
    assert blobs.read("north", blob, 0, 0) == b""


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=4),
    bounds=st.tuples(*[st.integers(0, 40)] * 2),
)
def test_any_range_of_a_blob_is_what_was_put(
    blobs: Blobs, small_parts: int, data: bytes, cuts: list[int], bounds: tuple[int, int]
) -> None:
    edges = sorted(min(edge, len(data)) for edge in [0, *cuts, len(data)])
    blob = blobs.put("north", [data[a:b] for a, b in pairwise(edges)])
    start, stop = sorted(min(bound, blob.size) for bound in bounds)
    assert (blob.size, blob.digest) == (len(data), digest(data))
    assert blobs.read("north", blob, start, stop) == data[start:stop]


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (3, 2), (0, 20)])
def test_a_range_outside_of_the_blob_is_refused(blobs: Blobs, start: int, stop: int) -> None:
    blob = blobs.put("north", [b"abc"])
    with pytest.raises(Mismatch):
        blobs.read("north", blob, start, stop)


def test_a_blob_that_lies_about_its_parts_is_refused(blobs: Blobs, small_parts: int) -> None:
    short, full = put(blobs, b"abc"), put(blobs, b"abcdefgh")
    for parts, start in (((short, full), 0), ((full, short), 0), ((full, short), 12), ((full,), 0), ((full,), 12)):
        with pytest.raises(Mismatch):
            blobs.read("north", Blob(digest=full, size=16, parts=parts), start, 16)


def test_dropped_parts_are_gone_and_dropping_again_is_no_fault(blobs: Blobs) -> None:
    kept, gone = put(blobs, b"kept"), put(blobs, b"gone")
    blobs.drop("north", [gone, digest(b"never")])
    blobs.drop("north", [gone])
    assert blobs.missing("north", [kept, gone]) == [gone]
    assert put(blobs, b"gone") == gone
    assert blobs.part("north", gone) == b"gone"


def test_while_parts_are_held_dropping_waits(blobs: Blobs, blob_url: str) -> None:
    gone, later, again = put(blobs, b"gone"), put(blobs, b"later"), put(blobs, b"again")
    with Blobs.open(blob_url).hold():
        blobs.drop("north", [gone, again])
        assert sorted(part.digest for part in blobs.each()) == sorted([gone, later, again])
        put(blobs, b"again")
    blobs.drop("north", [later])
    assert [part.digest for part in blobs.each()] == [again], "what came again in between is kept"


def test_a_holder_that_died_does_not_hold_for_ever(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    name = put(blobs, b"old")
    with blobs.hold():
        monkeypatch.setattr(module, "_LONGEST_HOLD", -module._LONGEST_HOLD)
        blobs.drop("north", [name])
        assert list(blobs.each()) == []


def test_all_parts_of_all_owners_are_listed(blobs: Blobs) -> None:
    expected = {Part(owner, put(blobs, owner.encode(), owner), len(owner)) for owner in ("north", "0" * 16, "a.b-c_d")}
    assert set(blobs.each()) == expected


def test_a_reader_sees_a_whole_part_or_none(blobs: Blobs) -> None:
    data = os.urandom(1 << 20)
    name = digest(data)
    seen: list[bytes] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            try:
                seen.append(blobs.part("north", name))
            except Absent:
                continue

    with ThreadPoolExecutor(3) as pool:
        reader = pool.submit(look)
        for _ in range(5):
            for written in [pool.submit(blobs.put_part, "north", name, data) for _ in range(2)]:
                written.result()
            blobs.drop("north", [name])
        done.set()
        reader.result()
    assert all(part == data for part in seen)


def test_a_failure_while_a_blob_is_made_reaches_the_caller(blobs: Blobs, small_parts: int) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"x" * (3 * small_parts)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        blobs.put("north", chunks())


def test_parts_are_of_the_size_that_travels(blobs: Blobs) -> None:
    blob = blobs.put("north", [bytes(PART_BYTES), b"x"])
    assert blob.parts == (digest(bytes(PART_BYTES)), digest(b"x"))
    assert blobs.read("north", blob, PART_BYTES - 1, PART_BYTES + 1) == b"\0x"


def test_what_a_killed_writer_left_is_swept_after_a_while(tmp_path: Path) -> None:
    Blobs.open(tmp_path)
    old, new = tmp_path / ".drafts" / "old", tmp_path / ".drafts" / "new"
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert list(Blobs.open(tmp_path).each()) == []
    assert [draft.name for draft in (tmp_path / ".drafts").iterdir()] == ["new"]


def test_a_part_is_on_the_disk_before_its_name_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os,
        "fsync",
        lambda handle: (done.append(Path(os.readlink(f"/proc/self/fd/{handle}")).parent.name), sync(handle))[1],
    )
    monkeypatch.setattr(os, "replace", lambda old, new: (done.append("named"), replace(old, new))[1])
    put(Blobs.open(tmp_path / "blobs"), b"vectors")
    assert done == [tmp_path.name, ".drafts", "named", "blobs"]


@pytest.mark.parametrize("url", ["gs://bucket/x", "s3://", "s3://bucket?secret=x", "http://host/x"])
def test_a_url_that_leads_nowhere_is_an_error(url: str) -> None:
    with pytest.raises(StoreError):
        Blobs.open(url)


def test_a_bucket_that_is_not_there_is_an_error(s3_endpoint: str) -> None:
    blobs = Blobs.open(f"s3://nowhere/x?endpoint={s3_endpoint}&region=us-east-1")
    with pytest.raises(StoreError):
        put(blobs, b"vectors")
