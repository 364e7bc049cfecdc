"""Blobs: the parts of their owners, each known by its digest, in a folder or in a bucket."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from comity.store.doomed import Doomed
from comity.store.drafts import Draft, prepare
from comity.store.errors import Absent, Mismatch, StorageFull, StoreError
from comity.wire.messages import PART_BYTES, Blob

if TYPE_CHECKING:
    from obstore.store import ObjectStore, S3Config

_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_BUCKET = re.compile(r"QuotaExceeded|InsufficientStorage|StorageFull")
_HOLDS = ".holds"
"""No owner can be called so."""
_LONGEST_HOLD = timedelta(days=1)


@dataclass(frozen=True)
class Part:
    """A part as it lies in the store; when it was `written` is in seconds since 1970."""

    owner: str
    digest: str
    size: int
    written: float = field(default=0.0, compare=False)


class Blobs:
    """Parts by (owner, digest). Nobody sees half a part, and no owner another's.

    A part in a folder is on the disk, the power may go, when `put_part` returns; one in a bucket is when the bucket
    says so. Digests are verified when bytes come in. Every method raises `StoreError`: `StorageFull` where there is
    no room, `Absent` for a part that is not there, `Mismatch` for bytes and names that cannot be.
    """

    def __init__(self, store: ObjectStore, where: str, folder: Path | None = None) -> None:
        self.where = where
        self.folder = folder
        self._store = store
        self._doomed = Doomed()

    @classmethod
    def open(cls, url: str | Path) -> Blobs:
        """`url` is the path of a folder, which is made, or `s3://bucket/prefix?endpoint=…&region=…`.

        What a bucket needs beyond that, credentials among it, comes from the environment (`AWS_…`).
        """
        text = str(url)
        if text.startswith("s3://"):
            return cls(_bucket(text), text.partition("?")[0])
        if "://" in text:
            raise StoreError("blobs are kept in a folder or in s3://", where=text, mend="give a path or an s3:// URL")
        folder = Path(text)
        try:
            prepare(folder)
            return cls(LocalStore(folder), text, folder)
        except (OSError, BaseError) as error:
            raise StoreError(f"the folder cannot be used: {error}", where=text) from error

    def put_part(self, owner: str, digest: str, data: bytes) -> None:
        """Keep a part; one that is there already stays. Raises `Mismatch` where `data` has another digest."""
        with self.arriving(owner, digest) as arrival:
            arrival.add([data])
            arrival.keep()

    @contextlib.contextmanager
    def arriving(self, owner: str, digest: str) -> Iterator[Arrival]:
        """A part that comes in pieces. What was not kept when the context ends has never been there."""
        key = _key(owner, digest)
        if self.folder is None:
            yield Arrival(self, key, None)
            return
        with self._translated(digest):
            draft = Draft(self.folder)
        with draft:
            yield Arrival(self, key, draft)

    def missing(self, owner: str, digests: Sequence[str]) -> list[str]:
        """Those of `digests` that the owner has no part of, each once, in their order."""
        keys = {digest: _key(owner, digest) for digest in digests}
        with self._translated("parts"):
            if self.folder is not None or len(keys) < 2:
                found = [self._has(key) for key in keys.values()]
            else:
                with ThreadPoolExecutor(16) as pool:
                    found = list(pool.map(self._has, keys.values()))
        return [digest for digest, there in zip(keys, found, strict=True) if not there]

    def part(self, owner: str, digest: str) -> bytes:
        """The whole part."""
        key = _key(owner, digest)
        with self._translated(digest):
            # Files are read by themselves: a call of the store costs more than a small part.
            return (
                bytes(obstore.get(self._store, key).bytes())
                if self.folder is None
                else (self.folder / key).read_bytes()
            )

    def put(self, owner: str, chunks: Iterable[bytes]) -> Blob:
        """Keep a whole blob that comes in chunks of any size; at most one part of it is in memory."""
        whole, size = hashlib.sha256(), 0
        parts: list[str] = []
        for data in _cut(chunks):
            part = hashlib.sha256(data)
            digest = part.hexdigest()
            self._keep(_key(owner, digest), data)
            # What the first part was hashed to is the beginning of the whole.
            if parts:
                whole.update(data)
            else:
                whole = part
            size += len(data)
            parts.append(digest)
        return Blob(digest=whole.hexdigest(), size=size, parts=tuple(parts))

    def read(self, owner: str, blob: Blob, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop` of a blob of this store's own making (`put`): all its parts but the last are full."""
        if not 0 <= start <= stop <= blob.size:
            raise Mismatch(f"bytes {start} to {stop} of {blob.size}", where=f"blob {blob.digest[:12]}")
        pieces = []
        for number in range(start // PART_BYTES, -(-stop // PART_BYTES) if stop > start else 0):
            if number >= len(blob.parts):
                raise Mismatch("the blob has too few parts for its size", where=f"blob {blob.digest[:12]}")
            offset = number * PART_BYTES
            low, high = max(start - offset, 0), min(stop - offset, PART_BYTES)
            pieces.append(self._range(owner, blob.parts[number], low, high))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def drop(self, owner: str, digests: Iterable[str]) -> None:
        """Forget parts; those that are not there are no fault. While a backup is made they stay until a later call."""
        self.doom(owner, digests)
        self.clear()

    def doom(self, owner: str, digests: Iterable[str]) -> None:
        """Say that nobody needs these parts; `clear` removes those that nobody has asked for in between."""
        self._doomed.add({_key(owner, digest) for digest in digests})

    def clear(self) -> None:
        """Remove the parts that are doomed, unless a backup is made; for any thread."""
        with self._translated("parts"):
            if not self._is_held():
                self._doomed.carry_out(self._remove)

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Within, no part is dropped, by any process: all that a journal speaks of can be copied. For a day at most."""
        key = f"{_HOLDS}/{secrets.token_hex(8)}"
        with self._translated("hold"):
            obstore.put(self._store, key, b"hold")
        try:
            yield
        finally:
            with self._translated("hold"):
                obstore.delete(self._store, key)

    def each(self) -> Iterator[Part]:
        """All parts of all owners, in no order."""
        with self._translated("parts"):
            for batch in obstore.list(self._store):
                for found in batch:
                    owner, _, digest = found["path"].partition("/")
                    if _OWNER.fullmatch(owner) and _DIGEST.fullmatch(digest):
                        yield Part(owner, digest, found["size"], found["last_modified"].timestamp())

    def _range(self, owner: str, digest: str, start: int, stop: int) -> bytes:
        key = _key(owner, digest)
        with self._translated(digest):
            try:
                if self.folder is None:
                    data = bytes(obstore.get_range(self._store, key, start=start, end=stop))
                else:
                    data = _piece(self.folder, key, start, stop)
            except BaseError:
                if obstore.head(self._store, key)["size"] >= stop:
                    raise
                data = b""
        if len(data) != stop - start:
            raise Mismatch("the part is shorter than its blob says", where=f"part {digest[:12]}")
        return data

    def _keep(self, key: str, data: bytes) -> None:
        with self._translated(key.rpartition("/")[2]):
            if self._has(key):
                return
            if self.folder is None:
                obstore.put(self._store, key, data, use_multipart=False)
            else:
                with Draft(self.folder) as draft:
                    draft.file.write(data)
                    draft.place(key)

    def _remove(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, key)

    def _has(self, key: str) -> bool:
        """Whether the part is there; who was told so may count on it, so it is no longer one to be dropped."""
        self._doomed.spare(key)
        try:
            if self.folder is None:
                obstore.head(self._store, key)
            else:
                os.stat(self.folder / key)
        except FileNotFoundError:
            return False
        return True

    def _is_held(self) -> bool:
        newest = [found["last_modified"] for batch in obstore.list(self._store, _HOLDS) for found in batch]
        return any(datetime.now(UTC) - made < _LONGEST_HOLD for made in newest)

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        place = f"{self.where}, {what[:12]}"
        try:
            yield
        except FileNotFoundError as error:
            raise Absent("there is no such part", where=place) from error
        except (OSError, BaseError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            if getattr(error, "errno", None) in _FULL_DISK or _FULL_BUCKET.search(reason):
                mend = "free some space, then try again"
                raise StorageFull(f"the part cannot be kept: {reason}", where=place, mend=mend) from error
            raise StoreError(f"the store failed: {reason}", where=place) from error


class Arrival:
    """A part of which pieces have come. Its methods, one at a time, may be called in any thread."""

    def __init__(self, blobs: Blobs, key: str, draft: Draft | None) -> None:
        self._blobs, self._key, self._draft = blobs, key, draft
        self._digest = key.rpartition("/")[2]
        self._file: IO[bytes] = io.BytesIO() if draft is None else draft.file
        self._hash = hashlib.sha256()
        self.size = 0

    def add(self, pieces: Iterable[bytes]) -> None:
        """What comes next. Raises `Mismatch` where a part cannot be so long."""
        with self._blobs._translated(self._digest):
            for piece in pieces:
                self.size += len(piece)
                if self.size > PART_BYTES:
                    fault = f"{self.size} bytes are more than the {PART_BYTES} of a part"
                    raise Mismatch(fault, where=f"part {self._digest[:12]}")
                self._hash.update(piece)
                self._file.write(piece)

    def keep(self) -> None:
        """All has come. One that is there already stays. Raises `Mismatch` where the bytes have another digest."""
        if self._hash.hexdigest() != self._digest:
            place = f"part {self._digest[:12]}"
            raise Mismatch("the bytes are not those of this digest", where=place, mend="send it again")
        with self._blobs._translated(self._digest):
            if self._blobs._has(self._key):
                return
            if self._draft is not None:
                self._draft.place(self._key)
            else:
                self._file.seek(0)
                obstore.put(self._blobs._store, self._key, self._file, use_multipart=False)


def _key(owner: str, digest: str) -> str:
    """Where a part lies. Nothing but a name and a digest ever becomes a path."""
    if not _OWNER.fullmatch(owner):
        raise Mismatch("this is no name of an owner", where="parts")
    if not _DIGEST.fullmatch(digest):
        raise Mismatch("this is no SHA-256 in hexadecimal", where=f"parts of {owner}")
    return f"{owner}/{digest}"


def _piece(folder: Path, key: str, start: int, stop: int) -> bytes:
    with open(folder / key, "rb", buffering=0) as file:
        file.seek(start)
        return file.read(stop - start)


def _cut(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in full parts, the last one shorter."""
    part = bytearray()
    for chunk in chunks:
        rest = memoryview(chunk)
        while len(rest) > 0:
            taken = rest[: PART_BYTES - len(part)]
            part += taken
            rest = rest[len(taken) :]
            if len(part) == PART_BYTES:
                yield bytes(part)
                part.clear()
    if part:
        yield bytes(part)


def _bucket(url: str) -> S3Store:
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    unknown = options.keys() - {"endpoint", "region"}
    if unknown or not parts.hostname:
        fault = f"unknown options {sorted(unknown)}" if unknown else "no bucket is named"
        raise StoreError(fault, where=url, mend="give s3://bucket/prefix?endpoint=…&region=…")
    config: S3Config = {}
    if "endpoint" in options:
        config["endpoint"] = options["endpoint"]
    if "region" in options:
        config["region"] = options["region"]
    plain = options.get("endpoint", "").startswith("http://")
    try:
        return S3Store(
            parts.netloc,
            prefix=unquote(parts.path.strip("/")) or None,
            config=config,
            client_options={"allow_http": plain},
        )
    except BaseError as error:
        raise StoreError(f"the bucket cannot be used: {error}", where=url) from error
