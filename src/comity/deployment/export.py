"""A run as files: what the server knows of it, in the form in which a run on this machine leaves it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from comity.core.errors import RunError
from comity.core.files import replace_file
from comity.core.layout import TRAVELS
from comity.deployment.client import Client
from comity.deployment.following import check_job, described_job, final_weights
from comity.jobs.job import Job
from comity.runs.checkpoint import save_tensors
from comity.runs.history import History
from comity.runs.model import TrainedModel
from comity.wire.messages import RunFacts


async def export(client: Client, facts: RunFacts, history: History, folder: Path) -> tuple[str, ...]:
    """Write `run.json`, `job.json`, `source/`, `history.json` and `model.safetensors`; returns what was written.

    Raises `RunError` where the folder holds another run.
    """
    note = folder / "run.json"
    if note.exists() and RunFacts.model_validate_json(note.read_bytes()).id != facts.id:
        raise RunError("this folder holds another run", where=str(folder), mend="choose another: --folder DIR")
    text = await client.job(facts.id)
    files = {"run.json": facts.model_dump_json(indent=1), "job.json": text.manifest, "history.json": history.to_json()}
    if text.source is not None:
        source = await client.source(facts.id)
        files |= {f"source/{path}": code for path, code in source.files.items() if _inside(path)}
    for name, content in files.items():
        replace_file(folder / name, content.encode())
    if facts.model is None:
        return tuple(files)
    await save_model(client, facts, folder / "model.safetensors")
    return *files, "model.safetensors"


async def save_model(client: Client, facts: RunFacts, path: Path, job: Job | None = None) -> tuple[str, ...]:
    """Write the model of a run as named arrays; returns the names of those that the server never had.

    With the job itself, which is where arrays come from that are not trained, none is missing. Raises `RunError` where
    it is another job.
    """
    if job is not None:
        check_job(job, facts)
    known = job or await described_job(client, facts.id)
    with tempfile.TemporaryDirectory(prefix="comity-") as scratch:
        vector = await final_weights(client, facts, known, Path(scratch))
    if job is not None:
        TrainedModel(job.program.model, vector).save(path)
        return ()
    layout = known.program.model.layout
    save_tensors(path, layout.unpack(vector))
    return tuple(entry.name for entry in layout.entries if entry.part not in TRAVELS)


def _inside(path: str) -> bool:
    """Whether a file of a bundle stays in the folder that it is written to."""
    parts = Path(path).parts
    return not Path(path).is_absolute() and ".." not in parts and bool(parts)
