"""Jobs as a node receives them: fetched once a run, held against the digest it was told, and kept on disk."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from comity.core.errors import ManifestError
from comity.core.files import replace_file
from comity.node.bundle import check_bundle, unpack
from comity.node.policy import read_manifest
from comity.wire.client import Session
from comity.wire.digests import source_digest
from comity.wire.messages import Assignment, JobText, Source


@dataclass(frozen=True, eq=False)
class ReceivedJob:
    """A run's job: its text and its manifest as JSON, and where both and the source lie."""

    text: JobText
    manifest: Any
    file: Path
    source: Path | None
    files: dict[str, str]


@dataclass(eq=False)
class Jobs:
    """The jobs in `folder`, one folder a run."""

    folder: Path
    session: Session

    async def of(self, assignment: Assignment) -> ReceivedJob:
        """The job of an assignment.

        Raises `ManifestError` where the server gives another than it has named, or a source that is none.
        """
        place = self.folder / assignment.run
        found = _read(place)
        if found is None:
            found = await self._receive(assignment.run)
            _check(found[0], found[1], assignment)
            _write(place, *found)
        text, files = found
        manifest = _check(text, files, assignment)
        os.utime(place)
        source = place / "source" if text.source is not None else None
        return ReceivedJob(text, manifest, place / "manifest.json", source, files)

    async def _receive(self, run: str) -> tuple[JobText, dict[str, str]]:
        text = await self.session.call("GET", f"/v1/runs/{run}/job", expect=JobText)
        assert text is not None
        if text.source is None:
            return text, {}
        source = await self.session.call("GET", f"/v1/runs/{run}/source", expect=Source)
        assert source is not None
        return text, dict(source.files)


def _read(place: Path) -> tuple[JobText, dict[str, str]] | None:
    """What was kept of a run; None where it was not, or not wholly, written."""
    try:
        text = JobText.model_validate_json((place / "job.json").read_bytes())
        files = Source.model_validate_json((place / "source.json").read_bytes()).files
    except (OSError, ValidationError):
        return None
    return text, dict(files)


def _write(place: Path, text: JobText, files: dict[str, str]) -> None:
    """Keep a job; `job.json` comes last and makes it whole."""
    place.mkdir(parents=True, exist_ok=True)
    if files:
        unpack(files, place / "source")
    replace_file(place / "manifest.json", text.manifest.encode(), mode=0o600)
    replace_file(place / "source.json", Source(files=files).model_dump_json().encode(), mode=0o600)
    replace_file(place / "job.json", text.model_dump_json().encode(), mode=0o600)


def _check(text: JobText, files: dict[str, str], assignment: Assignment) -> Any:
    """The manifest as JSON, once text and source are the ones that were named."""
    manifest = read_manifest(text.manifest, assignment.job)
    if text.source is not None:
        check_bundle(files)
        if source_digest(files) != text.source:
            what = "the server gave another source than it has named"
            raise ManifestError(what, where=f"run {assignment.run}", mend="ask its operator")
    return manifest
