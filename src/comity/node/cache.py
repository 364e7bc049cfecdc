"""Vectors received, kept by their digest so that what has not changed is not fetched again; bounded."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakValueDictionary

from comity.wire.client import Session
from comity.wire.digests import blob_of_file
from comity.wire.messages import Blob


@dataclass(eq=False)
class Cache:
    """Files named by digest in `folder`, at most `limit` bytes of them beside those in use; the oldest go first.

    What a run sent before its newest vectors goes at once: nobody asks for it again, and a model that is not there any
    more never has to be written to the disk. A file that an earlier process has left is looked through before it is
    used: it may never have reached the disk.
    """

    folder: Path
    session: Session
    limit: int
    _used: Counter[str] = field(default_factory=Counter)
    _known: set[str] = field(default_factory=set)
    _newest: dict[str, frozenset[str]] = field(default_factory=dict)
    _outdated: set[str] = field(default_factory=set)
    _fetching: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    @contextlib.contextmanager
    def pinned(self, run: str, blobs: Iterable[Blob]) -> Iterator[None]:
        """The files of these blobs, the newest of a run, stay while the context is open."""
        digests = frozenset(blob.digest for blob in blobs)
        self._outdated |= self._newest.get(run, digests)
        self._newest[run] = digests
        self._outdated -= frozenset().union(*self._newest.values())
        self._used.update(digests)
        try:
            yield
        finally:
            self._used.subtract(digests)
            self._used += Counter()
            self._evict()

    async def fetch(self, run: str, blob: Blob) -> Path:
        """The file of a blob of a run, from here or from the server."""
        file = self.folder / blob.digest
        async with self._fetching.setdefault(blob.digest, asyncio.Lock()):
            if not self._has(file, blob):
                await self.session.download(f"/v1/runs/{run}/blobs/{blob.digest}", blob, file)
            self._known.add(blob.digest)
        os.utime(file)
        return file

    def _has(self, file: Path, blob: Blob) -> bool:
        if not file.is_file():
            return False
        return file.stat().st_size == blob.size if blob.digest in self._known else blob_of_file(file) == blob

    def _evict(self) -> None:
        """Delete what is outdated, then the files used longest ago, begun downloads among them, until the rest fits."""
        for digest in self._outdated - self._used.keys():
            self._delete(self.folder / digest)
        self._outdated &= self._used.keys()
        found = []
        for file in self.folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                facts = file.stat()
                found.append((facts.st_mtime_ns, facts.st_size, file))
        total = sum(size for _, size, _ in found)
        for _, size, file in sorted(found):
            if total <= self.limit:
                return
            if not any(file.name.lstrip(".").startswith(digest) for digest in self._used):
                self._delete(file)
                total -= size

    def _delete(self, file: Path) -> None:
        file.unlink(missing_ok=True)
        self._known.discard(file.name)
