"""The source that a job needs beyond Comity: the files in which its classes and functions are written."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from comity.core.errors import ConfigError
from comity.core.manifest import encode
from comity.jobs.job import Job


def source_of(job: Job) -> dict[str, str]:
    """Files by path, as a party's task will import them; empty where everything is installed.

    Raises `ConfigError` for something whose file cannot be found.
    """
    files: dict[str, str] = {}
    for target in _own(job):
        files |= _files(target)
    return files


def _own(value: Any) -> Iterator[Any]:
    """The classes and functions of the user's own that a job is made of."""
    if isinstance(value, type) or inspect.isfunction(value):
        node: Any = encode(value)
        if "source" in node:
            yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _own(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _own(item)
    elif is_dataclass(value):
        if not type(value).__module__.startswith("comity."):
            yield from _own(type(value))
        for entry in fields(value):
            if entry.init:
                yield from _own(getattr(value, entry.name))


def _files(target: Any) -> dict[str, str]:
    """The file of `target`'s module, and the `__init__.py` files of the packages around it."""
    module = sys.modules.get(target.__module__)
    file = inspect.getsourcefile(target) if module is None else getattr(module, "__file__", None)
    if file is None:
        raise ConfigError(
            f"{target.__qualname__} is in no file, so it cannot be sent to the parties",
            where="job",
            mend="define it in a file rather than at the prompt",
        )
    path = Path(file)
    packages = target.__module__.split(".")[:-1] if module is not None else []
    place = "/".join([*packages, path.name])
    files = {place: path.read_text("utf-8")}
    folder = path.parent
    for depth in range(len(packages), 0, -1):
        init = folder / "__init__.py"
        if init.exists():
            files["/".join([*packages[:depth], "__init__.py"])] = init.read_text("utf-8")
        folder = folder.parent
    return files
