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

    A file that an earlier process has left is looked through before it is used: it may never have reached the disk.
    """

    folder: Path
    session: Session
    limit: int
    _used: Counter[str] = field(default_factory=Counter)
    _known: set[str] = field(default_factory=set)
    _fetching: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    @contextlib.contextmanager
    def pinned(self, blobs: Iterable[Blob]) -> Iterator[None]:
        """The files of these blobs stay while the context is open."""
        digests = [blob.digest for blob in blobs]
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
        """Delete the files that were used longest ago, begun downloads among them, until the rest fits."""
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
                file.unlink(missing_ok=True)
                self._known.discard(file.name)
                total -= size
