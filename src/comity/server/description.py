"""A job as the server knows it: everything but the model, of which it has the layout."""

from __future__ import annotations

from typing import Any

from comity.core import manifest
from comity.core.errors import ManifestError
from comity.jobs.job import Job
from comity.learners.described import Described


def described(text: str, layout: str) -> Job:
    """The job of a manifest with a described model in the place of the real one, so that no library is needed.

    Raises `ManifestError` for a program that is not a part of Comity: nobody's code comes over the network.
    """
    node: Any = manifest.parse(text)
    program = node["job"].get("program") if isinstance(node, dict) and isinstance(node.get("job"), dict) else None
    if not isinstance(program, dict):
        raise ManifestError("the manifest describes no job with a program", where="manifest")
    if "is" not in program:
        raise ManifestError(
            f"the program {program.get('ref')} is not a part of Comity, so the server cannot run its half",
            where="job.program",
            mend="use a program of Comity, or run the job in a simulation",
        )
    model = Described.of(program.get("model"), layout)
    # The arrays that a manifest pins do not travel in it: an evaluation's weights come as the run's first state.
    return Job.from_json(text, stand_ins={"job.program.model": model, "job.program.start": None})


def job_digest(text: str) -> str:
    """The id of the job that `text` describes: the digest of its canonical form."""
    return manifest.digest(manifest.parse(text))
