"""Digests: of bodies, blobs, parts and sources."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.wire import digests
from comity.wire.digests import (
    DigestError,
    as_content_digest,
    blob_of,
    blob_of_file,
    content_digest,
    part_sizes,
    sha256,
    source_digest,
)
from comity.wire.messages import PART_BYTES, Blob

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_content_digest_is_that_of_rfc_9530() -> None:
    body = b'{"hello": "world"}\n'
    assert content_digest(body) == "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
    assert as_content_digest(sha256(body)) == content_digest(body)


def test_an_empty_blob_has_no_parts() -> None:
    assert blob_of(b"") == Blob(digest=EMPTY, size=0, parts=())


def test_a_blob_of_one_part_has_its_digest() -> None:
    blob = blob_of(b"abc")
    assert blob.parts == (blob.digest,) == (hashlib.sha256(b"abc").hexdigest(),)


@given(st.binary(max_size=40), st.integers(1, 9))
def test_parts_follow_one_another_and_the_digest_is_that_of_the_whole(data: bytes, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digests, "PART_BYTES", size)
        blob = blob_of(data)
        assert blob.digest == hashlib.sha256(data).hexdigest()
        assert blob.size == len(data)
        assert list(blob.parts) == [sha256(data[start : start + size]) for start in range(0, len(data), size)]
        assert sum(part_sizes(blob)) == len(data)


def test_a_file_has_the_blob_of_its_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * (PART_BYTES // 256) + b"and a little more"
    (tmp_path / "vectors").write_bytes(data)
    blob = blob_of_file(tmp_path / "vectors")
    assert blob == blob_of(data)
    assert part_sizes(blob) == [PART_BYTES, 17]


class TestLyingBlobs:
    """A description that contradicts itself is refused before anything is fetched or allotted."""

    @pytest.mark.parametrize(
        ("size", "parts"), [(0, 1), (1, 0), (1, 2), (PART_BYTES, 2), (PART_BYTES + 1, 1), (1 << 40, 3)]
    )
    def test_a_size_that_does_not_fit_the_parts(self, size: int, parts: int) -> None:
        blob = Blob(digest="a" * 64, size=size, parts=("a" * 64,) * parts)
        with pytest.raises(DigestError, match="parts"):
            part_sizes(blob)

    def test_a_whole_that_is_not_its_only_part(self) -> None:
        with pytest.raises(DigestError, match="only part"):
            part_sizes(Blob(digest="a" * 64, size=5, parts=("b" * 64,)))


def test_sources_have_one_digest_in_whatever_order_and_another_for_whatever_change() -> None:
    one = source_digest({"a.py": "x", "b.py": "y"})
    assert one == source_digest({"b.py": "y", "a.py": "x"})
    others = [{"a.py": "x"}, {"a.py": "xb.py", "": "y"}, {"a.py": "y", "b.py": "x"}, {}]
    assert len({one, *map(source_digest, others)}) == 5
