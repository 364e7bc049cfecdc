"""When files get their names in folders: the kernel says so (Linux), and nobody has to look."""

from __future__ import annotations

import ctypes
import os
import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_MOVED_TO = 0x80
_EVENT = struct.Struct("iIII")
_BUFFER = 1 << 16


@contextmanager
def arrivals(folders: Sequence[Path]) -> Iterator[Mapping[str, float]]:
    """The names that files are moved to in `folders` while the context is open, and when first (seconds since 1970)."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = libc.inotify_init()
    for folder in folders:
        if libc.inotify_add_watch(handle, os.fsencode(folder), _MOVED_TO) < 0:
            raise OSError(ctypes.get_errno(), "the folder cannot be watched", str(folder))
    found: dict[str, float] = {}
    watching = threading.Thread(target=_listen, args=(handle, found), daemon=True)
    watching.start()
    yield found


def _listen(handle: int, found: dict[str, float]) -> None:
    while events := os.read(handle, _BUFFER):
        now, start = time.time(), 0
        while start < len(events):
            size = _EVENT.unpack_from(events, start)[3]
            start += _EVENT.size + size
            found.setdefault(os.fsdecode(events[start - size : start].rstrip(b"\0")), now)
