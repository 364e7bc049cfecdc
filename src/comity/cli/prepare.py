"""From a job file and the options of the command line to a job and a federation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from comity.cli.jobfile import JobFile, federation_of, load
from comity.cli.overrides import override, split
from comity.core.errors import ConfigError
from comity.jobs.job import Job


@dataclass(frozen=True, eq=False)
class Prepared:
    """A job, and the federation that its file defines (None where it defines none)."""

    file: JobFile
    job: Job
    federation: Any


def prepare(path: Path, assignments: Sequence[str] = (), options: Mapping[str, Any] | None = None) -> Prepared:
    """Load the job file, then apply `--set` and the options of the federation, in this order."""
    file = load(path)
    job, federation = file.job, file.federation
    for assignment in assignments:
        keys, text = split(assignment)
        if keys[0] == "federation" and len(keys) > 1:
            federation = override(
                federation_of(file) if federation is None else federation, keys[1:], text, under="federation"
            )
        else:
            job = override(job, keys[1:] if keys[0] == "job" and len(keys) > 1 else keys, text, under="job")
    chosen = {name: value for name, value in (options or {}).items() if value is not None}
    if chosen:
        federation = _with_options(federation_of(replace(file, federation=federation)), chosen)
    return Prepared(replace(file, job=job, federation=federation), job, federation)


def _with_options(federation: Any, chosen: Mapping[str, Any]) -> Any:
    for name in chosen:
        if not hasattr(federation, name):
            raise ConfigError(
                f"a {type(federation).__name__} has no {name}", where=f"--{name}", mend="leave the option out"
            )
    return replace(federation, **chosen)
