"""The classes, functions and arrays that a job refers to, found in its approved source and in packages installed here.

Importing a module runs it: this happens in a task's process only.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from comity.core import manifest
from comity.core.errors import ManifestError
from comity.core.manifest import Json
from comity.jobs.job import Job
from comity.node.bundle import module_names

_MODULE_LEVEL = "in a job for a deployment, define classes and functions at the top level of a file that is submitted"


def read_job(text: str, source: Path | None, packages: Sequence[str]) -> Job:
    """The job of a manifest, with its own objects from the folder `source` and installed ones out of `packages`.

    Raises `ManifestError` for what is not there, not allowed, or not the one that the manifest pins.
    """
    objects = _installed_objects(manifest.parse(text), packages)
    faults: list[str] = []
    if source is not None:
        for name, file in module_names(source):
            module, fault = _load(name, file, source)
            objects += _own_objects(module)
            faults += [f"{file.relative_to(source)}: {fault}"] if fault else []
    try:
        # An evaluation's weights do not travel in the manifest: they are what the party is sent in the round.
        return Job.from_json(text, objects, stand_ins={"job.program.start": None})
    except ManifestError as error:
        told = f"; of the source, this did not load: {'; '.join(faults)}" if faults else ""
        mend = f"{error.mend}; {_MODULE_LEVEL}" if error.mend else _MODULE_LEVEL
        raise ManifestError(error.what + told, where=error.where, mend=mend) from error


def _load(name: str, file: Path, source: Path) -> tuple[ModuleType, str]:
    """A module of the bundle, as far as it runs, and what stopped it.

    What follows the definitions in a job file (reading data, the federation) is of no use here and may fail.
    """
    if str(source) not in sys.path:
        sys.path.insert(0, str(source))
    there = sys.modules.get(name)
    if there is not None and getattr(there, "__file__", None) == str(file):
        return there, ""
    if there is not None:
        name = f"comity_source_{name.replace('.', '_')}"
    folders = [str(file.parent)] if file.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=folders)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        return module, f"{type(error).__name__}: {error}"
    return module, ""


def _own_objects(module: ModuleType) -> list[Any]:
    return [
        value
        for value in vars(module).values()
        if isinstance(value, np.ndarray)
        or ((isinstance(value, type) or inspect.isfunction(value)) and value.__module__ == module.__name__)
    ]


def _installed_objects(node: Json, packages: Sequence[str]) -> list[Any]:
    found = []
    for name in sorted(set(_installed_names(node))):
        path, _, qualname = name.partition(":")
        if not any(path == package or path.startswith(f"{package}.") for package in (*packages, "comity")):
            raise ManifestError(
                f"{name} is outside the packages that may be used here",
                where="manifest",
                mend=f"the owner can allow it: add {path.partition('.')[0]!r} to `packages` in node.toml",
            )
        try:
            target: Any = importlib.import_module(path)
            for part in qualname.split("."):
                target = getattr(target, part)
        except (ImportError, AttributeError, ValueError):
            raise ManifestError(
                f"{name} is not installed here",
                where="manifest",
                mend=f"install the version of {path.partition('.')[0]} that the job was made with",
            ) from None
        found.append(target)
    return found


def _installed_names(node: Json) -> Iterator[str]:
    """`module:name` of each installed class or function that the job takes; not what the user's own ones carry."""
    if isinstance(node, list):
        for item in node:
            yield from _installed_names(item)
    elif isinstance(node, dict) and "ref" in node:
        if isinstance(name := node["ref"], str) and ":" in name and "source" not in node:
            yield name
        yield from _installed_names(node.get("fields"))
    elif isinstance(node, dict):
        for item in node.values():
            yield from _installed_names(item)
