"""What this party remembers of a run, by the lease with which it was computed.

A lease's memory is written before its contribution is sent, and means nothing until the server says that the lease is
part of the model (`Assignment.counted`). There is nothing to promote: the memory of a run is that lease's file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from comity.core.files import move_file


@dataclass(frozen=True)
class PartyMemory:
    """Files `<folder>/<run>/<lease>.safetensors`, each a whole memory."""

    folder: Path

    def of(self, run: str, lease: int | None) -> Path | None:
        """What is remembered when `lease` is the last one that counted; None where that is nothing."""
        if lease is None:
            return None
        file = self._file(run, lease)
        return file if file.is_file() else None

    def keep(self, run: str, lease: int, file: Path) -> None:
        """Take over `file` as the memory that goes with `lease`; it survives a crash from now on."""
        move_file(file, self._file(run, lease))

    def forget_before(self, run: str, counted: int | None) -> None:
        """Delete the memory of all leases before the one that counts."""
        if counted is None:
            return
        for file in (self.folder / run).glob("*.safetensors"):
            if file.stem.isdigit() and int(file.stem) < counted:
                file.unlink(missing_ok=True)

    def _file(self, run: str, lease: int) -> Path:
        return self.folder / run / f"{lease}.safetensors"
