"""Job files: Python files of the user's own that define `job` and `federation`."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from comity.core.errors import ComityError, ConfigError
from comity.jobs.job import Job

_EXAMPLE = "job = ct.Job(program=ct.FedAvg(model, local), rounds=ct.Rounds(count=20))"


@dataclass(frozen=True, eq=False)
class JobFile:
    """What a job file defines; `federation` is None where it defines none."""

    path: Path
    job: Job
    federation: Any


def load(path: Path) -> JobFile:
    """Run the file as a module, with its folder importable, and take `job` and `federation` from it.

    Raises `ConfigError` that names the file and the line, for an error inside it and for a missing or unfit `job`;
    a `ComityError` raised inside keeps its kind and its mend.
    """
    if not path.is_file():
        raise ConfigError("there is no such file", where=str(path), mend="give the path of a Python file")
    module = _run(path)
    job = getattr(module, "job", None)
    if job is None:
        raise ConfigError("it defines no `job`", where=str(path), mend=f"write at the top level: {_EXAMPLE}")
    if not isinstance(job, Job):
        kind = type(job).__name__
        raise ConfigError(f"`job` is of type {kind}, not a ct.Job", where=str(path), mend=_EXAMPLE)
    return JobFile(path, job, getattr(module, "federation", None))


def federation_of(file: JobFile) -> Any:
    """Where the job runs. Raises `ConfigError` where the file says nothing of it."""
    if not hasattr(file.federation, "carry_out") or isinstance(file.federation, type):
        raise ConfigError(
            "it defines no `federation`" if file.federation is None else "its `federation` is not one",
            where=str(file.path),
            mend="write at the top level: federation = ct.Simulation(data)",
        )
    return file.federation


def _run(path: Path) -> ModuleType:
    """The file as a module under its own name, so that worker processes that start afresh can import it too."""
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    name = (
        path.stem
        if path.stem.isidentifier() and path.stem not in sys.modules
        else f"comity_job_{abs(hash(str(path.resolve())))}"
    )
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError("this is no Python file", where=str(path), mend="give a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise _syntax(path, error) from error
    except (Exception, SystemExit) as error:
        raise _raised(path, error) from error
    return module


def _syntax(path: Path, error: SyntaxError) -> ConfigError:
    shown = (error.text or "").rstrip()
    return ConfigError(
        f"Python cannot read it: {error.msg}",
        where=f"{error.filename or path}, line {error.lineno}",
        mend=f"mend this line: {shown.strip()}" if shown else "",
    )


def _raised(path: Path, error: BaseException) -> ComityError:
    """The error with the place in the job file where it was raised."""
    place = str(path)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).resolve() == path.resolve()]
    if frames:
        place = f"{path}, line {frames[-1].lineno}: {frames[-1].line}"
    if isinstance(error, ComityError):
        inner = f"; {error.where}" if error.where else ""
        return type(error)(error.what, where=f"{place}{inner}", mend=error.mend)
    if isinstance(error, ModuleNotFoundError):
        return ConfigError(str(error), where=place, mend=f"install it: pip install {error.name}")
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return ConfigError(what, where=place, mend="mend this line; --debug shows the whole traceback")
