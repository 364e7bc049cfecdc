"""What can go wrong with what must outlive a process."""

from __future__ import annotations

from comity.core.errors import ComityError


class StoreError(ComityError):
    """The journal or the blobs could not be read or written; nothing of the step that failed was kept."""


class StorageFull(StoreError):
    """The disk, the quota or the database takes no more."""


class Absent(StoreError):
    """There is no such part of this owner's."""


class Mismatch(StoreError):
    """Bytes that are not what was announced: another digest, too many, or a name that could be no name."""
