"""Files under way into a folder of blobs: each is there whole, on the disk, or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from pathlib import Path
from types import TracebackType

from comity.core.files import move_file, sync

_FOLDER = ".drafts"
"""No owner can be called so."""
_STALE = 3600.0
"""Seconds after which a draft is what a killed process left."""


class Draft:
    """A file that survives a crash once it is placed: obstore's own folder store syncs nothing, so that a power cut
    would take parts.

    Every writer has a draft of its own: two with one part do not meet before the name is there. What was not placed
    goes when the context ends. Methods raise `OSError`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        handle, self._path = tempfile.mkstemp(dir=folder / _FOLDER)
        self.file = os.fdopen(handle, "wb")

    def place(self, name: str) -> None:
        """Put it at `name`, a path below the folder, in one step."""
        self.file.close()
        target = self._folder / name
        if not target.parent.exists():
            target.parent.mkdir(exist_ok=True)
            if os.name == "posix":
                sync(self._folder)
        move_file(Path(self._path), target)

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            self.file.close()
        with contextlib.suppress(OSError):
            os.unlink(self._path)


def prepare(folder: Path) -> None:
    """Make room for drafts, and remove those that killed processes have left. Raises `OSError`."""
    drafts = folder / _FOLDER
    drafts.mkdir(parents=True, exist_ok=True)
    for draft in drafts.iterdir():
        with contextlib.suppress(OSError):
            if draft.stat().st_mtime < time.time() - _STALE:
                draft.unlink()
