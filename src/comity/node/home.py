"""The folder of a node: what lies where, and its settings in `node.toml`."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from comity.core import tables
from comity.core.errors import ConfigError
from comity.core.files import replace_file
from comity.core.tables import Reader
from comity.identity.renewal import KeyFiles

Isolation: TypeAlias = Literal["required", "optional"]


@dataclass(frozen=True)
class NodeConfig:
    """What `node.toml` says: who this node is and where its server is, and how much it takes on.

    `tasks` run at the same time, each in a process that ends after `idle_seconds` without work; vectors received are
    kept up to `cache_mb`; what is left of a run is deleted `keep_days` after its last round here. `packages` are the
    installed ones, beside Comity, whose classes and functions a job may name, and call with arguments of its choice: so
    name no more than the jobs need, `torch.nn` rather than `torch`, which can load code.

    `isolation` says what becomes of jobs that bring code, or may name `packages`, where the system allows no
    namespaces, so that they could read this node's keys: "required" refuses them, "optional" runs them all the same.
    Jobs of nothing but Comity's own code run either way.
    """

    name: str
    address: str
    deployment: str
    registrar: str
    proxy: str = ""
    tasks: int = 2
    cache_mb: int = 4096
    keep_days: float = 30.0
    idle_seconds: float = 120.0
    packages: tuple[str, ...] = ()
    isolation: Isolation = "required"

    @classmethod
    def of(cls, text: str, where: str) -> NodeConfig:
        """The settings that TOML `text` holds. Raises `ConfigError` that names the field."""
        given = tables.read(tables.parse(text.encode(), where), _READERS, where)
        for entry in fields(cls):
            if entry.default is MISSING and entry.name not in given:
                raise ConfigError(f"{entry.name} is missing", where=where, mend="join again: comity node join TOKEN")
        return cls(**given)

    def to_toml(self) -> str:
        return "".join(f"{name} = {tables.written(value)}\n" for name, value in asdict(self).items())


class _Below:
    """A path below the folder of a node."""

    def __init__(self, *parts: str) -> None:
        self._parts = parts

    def __get__(self, home: NodeHome, kind: type[NodeHome]) -> Path:
        return home.path.joinpath(*self._parts)


@dataclass(frozen=True)
class NodeHome:
    """The folder `path`. Only its owner can enter it; keys lie in `identity`, which no task can see."""

    path: Path

    config_file = _Below("node.toml")
    policy_file = _Below("policy.toml")
    log_file = _Below("log.jsonl")
    lock_file = _Below("agent.lock")
    signing_key = _Below("identity", "signing.pem")
    agreement_key = _Below("identity", "agreement.pem")
    authority = _Below("identity", "authority.pem")
    """The certificate authority by which the server is known, PEM."""
    client_certificate = _Below("identity", "tls.pem")
    """The node's certificate and its key, PEM, where the server asks for one (`identity.client_certificate`)."""
    cache = _Below("cache")
    """Vectors received, each a file named by its digest."""
    runs = _Below("runs")
    """A folder for each run: the job as it was received."""
    memory = _Below("memory")
    outbox = _Below("outbox")
    """Answers computed and not yet acknowledged."""
    scratch = _Below("scratch")
    """Where tasks work; emptied when the agent starts."""

    @property
    def keys(self) -> KeyFiles:
        return KeyFiles(self.signing_key, self.agreement_key)

    @cached_property
    def config(self) -> NodeConfig:
        """Raises `ConfigError` where this node has not joined yet."""
        try:
            text = self.config_file.read_text("utf-8")
        except FileNotFoundError:
            raise ConfigError(
                "this node has not joined a deployment", where=str(self.path), mend="comity node join TOKEN"
            ) from None
        return NodeConfig.of(text, str(self.config_file))

    def write(self, config: NodeConfig) -> None:
        replace_file(self.config_file, config.to_toml().encode(), mode=0o600)

    def create(self) -> None:
        """Make the folders that are missing, closed to everybody else."""
        identity = self.signing_key.parent
        for folder in (self.path, identity, self.cache, self.runs, self.memory, self.outbox, self.scratch):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)

    def sweep(self, before: float) -> None:
        """Delete what is left of the runs in which nothing has happened here since `before` (Unix time)."""
        for folder in (self.runs, self.memory):
            for run in folder.iterdir() if folder.is_dir() else ():
                with contextlib.suppress(OSError):
                    if run.stat().st_mtime < before:
                        shutil.rmtree(run)


def _lines(value: Any, where: str) -> tuple[str, ...]:
    return tuple(tables.line(item, where) for item in tables.texts(value, where))


_READERS: Mapping[str, Reader] = {
    "name": tables.line,
    "address": tables.line,
    "deployment": tables.line,
    "registrar": tables.line,
    "proxy": tables.line,
    "tasks": tables.count,
    "cache_mb": tables.count,
    "keep_days": tables.positive,
    "idle_seconds": tables.positive,
    "packages": _lines,
    "isolation": tables.one_of(*get_args(Isolation)),
}
