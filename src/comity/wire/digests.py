"""SHA-256 of bodies, of blobs and of the parts that blobs travel in."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from comity.core.errors import ComityError
from comity.wire.messages import PART_BYTES, Blob


class DigestError(ComityError):
    """Bytes that are not the ones that were named, or a description of a blob that contradicts itself."""


def sha256(data: bytes | memoryview) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def content_digest(body: bytes) -> str:
    """The Content-Digest of a body (RFC 9530)."""
    return as_content_digest(sha256(body))


def as_content_digest(digest: str) -> str:
    """The Content-Digest of a body whose SHA-256 is known in hexadecimal."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(digest)).decode('ascii')}:"


def blob_of(data: bytes) -> Blob:
    """What describes `data`."""
    view = memoryview(data)
    return _described(view[start : start + PART_BYTES] for start in range(0, len(data), PART_BYTES))


def blob_of_file(path: Path) -> Blob:
    """What describes a file, read part by part."""
    return _described(parts_of_file(path))


def parts_of_file(path: Path) -> Iterator[bytes]:
    """The parts of a file in order."""
    with path.open("rb") as file:
        while part := file.read(PART_BYTES):
            yield part


def source_digest(files: Mapping[str, str]) -> str:
    """SHA-256 of source files by path, in whatever order they come: what an owner approves."""
    return sha256(json.dumps(dict(files), sort_keys=True, separators=(",", ":")).encode("ascii"))


def part_sizes(blob: Blob) -> list[int]:
    """The size of each part: all are `PART_BYTES` long but the last, which may be shorter.

    Raises `DigestError` where a blob's size, the number of its parts and its digests contradict each other.
    """
    whole, rest = divmod(blob.size, PART_BYTES)
    count = whole + (rest > 0)
    if count != len(blob.parts):
        raise DigestError(
            f"a blob of {blob.size} bytes has {count} parts, and {len(blob.parts)} are named",
            where=f"blob {blob.digest[:12]}",
            mend=f"cut blobs into parts of {PART_BYTES} bytes",
        )
    if count == 1 and blob.parts[0] != blob.digest:
        raise DigestError("the digest of the whole is not that of its only part", where=f"blob {blob.digest[:12]}")
    return [PART_BYTES] * whole + [rest] * (count - whole)


def _described(parts: Iterable[bytes | memoryview]) -> Blob:
    digests: list[str] = []
    size, whole = 0, hashlib.sha256()
    for part in parts:
        own = hashlib.sha256(part)
        digests.append(own.hexdigest())
        # What the first part was hashed to is the beginning of the whole.
        if size:
            whole.update(part)
        else:
            whole = own
        size += len(part)
    return Blob(digest=whole.hexdigest(), size=size, parts=tuple(digests))
