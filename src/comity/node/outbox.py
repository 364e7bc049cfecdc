"""Answers that were computed and are not acknowledged yet: kept, so that a crash costs no second computation."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from comity.core.files import replace_file, sync
from comity.wire.digests import blob_of_file
from comity.wire.messages import Contributed, Refused

_FOLDER = re.compile(r"([0-9a-f]{16})-([0-9]{1,18})")

Lease = tuple[str, int]
"""A run and the number of a lease in it."""


@dataclass(frozen=True)
class Answer:
    """What is to be sent: a contribution with the file of its vectors, or a refusal."""

    contributed: Contributed | None = None
    vectors: Path | None = None
    refused: Refused | None = None


@dataclass(frozen=True)
class Outbox:
    """A folder `<run>-<lease>` for each answer; `answer.json` is written last, so an answer is whole or not there."""

    folder: Path

    def contribute(self, lease: Lease, vectors: Path, weight: float, metrics: dict[str, tuple[float, ...]]) -> Answer:
        """Take over the file of a contribution. Raises `ValueError` for a weight or metrics that cannot be sent."""
        contributed = Contributed(vectors=blob_of_file(vectors), weight=weight, metrics=metrics)
        place = self._place(lease)
        place.mkdir(parents=True, exist_ok=True)
        sync(vectors)
        vectors.replace(place / "vectors.safetensors")  # its name is on the disk with that of the answer
        self._write(place, "contributed", contributed)
        return Answer(contributed, place / "vectors.safetensors")

    def refuse(self, lease: Lease, refused: Refused) -> Answer:
        self._write(self._place(lease), "refused", refused)
        return Answer(refused=refused)

    def get(self, lease: Lease) -> Answer | None:
        """The answer, None where there is none or the disk has lost a part of it."""
        place = self._place(lease)
        try:
            node = json.loads((place / "answer.json").read_bytes())
            if "refused" in node:
                return Answer(refused=Refused.model_validate(node["refused"], strict=False))
            contributed = Contributed.model_validate(node["contributed"], strict=False)
            vectors = place / "vectors.safetensors"
            return Answer(contributed, vectors) if blob_of_file(vectors) == contributed.vectors else None
        except (OSError, ValueError, KeyError, TypeError, ValidationError):
            return None

    def drop(self, lease: Lease) -> None:
        shutil.rmtree(self._place(lease), ignore_errors=True)

    def leases(self) -> list[Lease]:
        """Whose answers lie here."""
        names = [_FOLDER.fullmatch(entry.name) for entry in self.folder.iterdir()] if self.folder.is_dir() else []
        return sorted((name[1], int(name[2])) for name in names if name)

    def _place(self, lease: Lease) -> Path:
        run, number = lease
        return self.folder / f"{run}-{number}"

    def _write(self, place: Path, kind: str, message: Contributed | Refused) -> None:
        replace_file(place / "answer.json", json.dumps({kind: message.model_dump(mode="json")}).encode())
