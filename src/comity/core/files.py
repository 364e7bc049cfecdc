"""Files that are replaced as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from comity.core.errors import CheckpointError


def replace_file(path: Path, content: bytes | Callable[[Path], None], *, mode: int | None = None) -> None:
    """Put `content`, or what it writes to the path it is given, at `path` in one step that survives a crash.

    Either the old file is there or the new one; with `mode` nobody can ever read it who is not meant to. Raises
    `CheckpointError` where the disk does not take it.
    """
    draft = path.with_name(f".{path.name}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if mode is not None:
            draft.unlink(missing_ok=True)
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        if isinstance(content, bytes):
            draft.write_bytes(content)
        else:
            content(draft)
        move_file(draft, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise CheckpointError(
            f"writing failed: {error.strerror or error}; what was there before is unchanged",
            where=str(path),
            mend="free some space or choose a folder that can be written, then resume from the last checkpoint",
        ) from error


def move_file(draft: Path, path: Path) -> None:
    """Put a finished file at `path`, on the same file system, in one step that survives a crash. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sync(draft)
    draft.replace(path)
    if os.name == "posix":
        sync(path.parent)


def sync(path: Path) -> None:
    """Wait until the disk has a file's content, or a folder's names. Raises `OSError`."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
