"""What a demo leaves behind."""

from __future__ import annotations

from pathlib import Path

from comity.core.files import replace_file
from comity.runs.folder import RunFolder
from comity.runs.run import Run


def leave(run: Run, folder: Path) -> None:
    """Put the job, the history and the model in `folder`, in the place of those of an earlier demo."""
    replace_file(folder / "job.json", run.job.to_json().encode())
    RunFolder(folder, run.job).finish(run.model, run.history)
