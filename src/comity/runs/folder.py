"""The folder of a run: `job.json`, `checkpoint.safetensors`, `history.json`, `model.safetensors`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comity.core.errors import RunError
from comity.core.files import replace_file
from comity.jobs.job import Job
from comity.runs.checkpoint import Checkpoint, read, write
from comity.runs.history import History
from comity.runs.model import TrainedModel


@dataclass(frozen=True)
class RunFolder:
    """Where a run leaves what must outlive its process. Every file is replaced as a whole or not at all."""

    path: Path
    job: Job

    def begin(self) -> None:
        """Claim the folder for a new run. Raises `RunError` where a run has left something in it."""
        for name in ("checkpoint.safetensors", "model.safetensors"):
            if (self.path / name).exists():
                raise RunError(
                    f"there is a run in this folder already ({name})",
                    where=str(self.path),
                    mend="resume it (resume=True, --resume) or choose another folder",
                )
        replace_file(self.path / "job.json", self.job.to_json().encode())

    def checkpoint(self, arrays: Mapping[str, Any], facts: Mapping[str, Any], history: History) -> None:
        """Save the run between two rounds. Raises `CheckpointError`; an earlier checkpoint stays whole."""
        facts = {**facts, "history": history.to_facts()}
        write(self.path / "checkpoint.safetensors", Checkpoint(self.job.id, arrays, facts))
        replace_file(self.path / "history.json", history.to_json().encode())

    def resume(self) -> tuple[Checkpoint, History]:
        """The last checkpoint and the history up to it. Raises `CheckpointError`."""
        checkpoint = read(self.path / "checkpoint.safetensors", self.job.id)
        return checkpoint, History.from_facts(checkpoint.facts["history"])

    def note(self, history: History) -> None:
        """Write the history alone: of a run that fails."""
        replace_file(self.path / "history.json", history.to_json().encode())

    def finish(self, model: TrainedModel, history: History) -> None:
        replace_file(self.path / "history.json", history.to_json().encode())
        model.save(self.path / "model.safetensors")
