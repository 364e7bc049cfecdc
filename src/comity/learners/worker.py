"""What a worker process does before it computes anything."""

from __future__ import annotations

import ctypes
import sys

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
_KEPT_BYTES = 256 << 20


def enter_worker() -> None:
    """Compute on one thread, whatever the parent did, and keep freed memory for the next party.

    A forked process inherits the books of its parent's thread pools but none of their threads: a library that then
    starts a parallel region waits for ever. One thread has no such region, and gives the same sums on every machine.
    """
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if "sklearn" in sys.modules:
        from threadpoolctl import threadpool_limits

        threadpool_limits(1)
    if sys.platform == "linux":
        _keep_memory()


def _keep_memory() -> None:
    """Ask glibc not to give freed vectors back to the system, which would fill them with zeros again for each party."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_MMAP_THRESHOLD, _KEPT_BYTES)
        library.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
