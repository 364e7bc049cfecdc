"""The folder of a node: what lies where, and its settings in `node.toml`."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from comity.core.errors import ConfigError
from comity.core.files import replace_file

Isolation: TypeAlias = Literal["required", "optional"]


@dataclass(frozen=True)
class NodeConfig:
    """What `node.toml` says: who this node is and where its server is, and how much it takes on.

    `tasks` run at the same time, each in a process that ends after `idle_seconds` without work; vectors received are
    kept up to `cache_mb`; what is left of a run is deleted `keep_days` after its last round here. `packages` are the
    installed ones, beside Comity, whose classes and functions a job may name.

    `isolation` says what becomes of jobs that bring code where the system allows no namespaces, so that their code
    could read this node's keys: "required" refuses them, "optional" runs them all the same. Jobs that bring none run
    either way.
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
        try:
            given = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"this is no TOML: {error}", where=where, mend="mend the line it names") from None
        known = {entry.name: entry for entry in fields(cls)}
        for name in given:
            if name not in known:
                close = get_close_matches(name, known, 1)
                mend = f"did you mean {close[0]!r}?" if close else f"settings are: {', '.join(known)}"
                raise ConfigError(f"there is no setting {name!r}", where=where, mend=mend)
        for name in ("name", "address", "deployment", "registrar"):
            if name not in given:
                raise ConfigError(f"{name} is missing", where=where, mend="join again: comity node join TOKEN")
        return cls(**{name: _checked(name, known[name].type, value, where) for name, value in given.items()})

    def to_toml(self) -> str:
        return "".join(f"{name} = {_toml(value)}\n" for name, value in asdict(self).items())


@dataclass(frozen=True)
class NodeHome:
    """The folder `path`. Only its owner can enter it; keys lie in `identity`, which no task can see."""

    path: Path

    @property
    def config_file(self) -> Path:
        return self.path / "node.toml"

    @property
    def policy_file(self) -> Path:
        return self.path / "policy.toml"

    @property
    def log_file(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def signing_key(self) -> Path:
        return self.path / "identity" / "signing.pem"

    @property
    def agreement_key(self) -> Path:
        return self.path / "identity" / "agreement.pem"

    @property
    def authority(self) -> Path:
        """The certificate authority by which the server is known, PEM."""
        return self.path / "identity" / "authority.pem"

    @property
    def cache(self) -> Path:
        """Vectors received, each a file named by its digest."""
        return self.path / "cache"

    @property
    def runs(self) -> Path:
        """A folder for each run: the job as it was received."""
        return self.path / "runs"

    @property
    def memory(self) -> Path:
        return self.path / "memory"

    @property
    def outbox(self) -> Path:
        """Answers computed and not yet acknowledged."""
        return self.path / "outbox"

    @property
    def scratch(self) -> Path:
        """Where tasks work; emptied when the agent starts."""
        return self.path / "scratch"

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
        for folder in (
            self.path,
            self.signing_key.parent,
            self.cache,
            self.runs,
            self.memory,
            self.outbox,
            self.scratch,
        ):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)


def _checked(name: str, kind: Any, value: Any, where: str) -> Any:
    """`value` as a field of type `kind` (its name) takes it."""
    if kind == "str":
        fits = isinstance(value, str) and value.isprintable()
    elif kind == "Isolation":
        fits = value in get_args(Isolation)
    elif kind == "tuple[str, ...]":
        fits = isinstance(value, list) and all(isinstance(item, str) and item.isprintable() for item in value)
    else:
        numbers = int if kind == "int" else int | float
        fits = isinstance(value, numbers) and not isinstance(value, bool) and value > 0
    if not fits:
        words = {
            "str": "a line of text",
            "int": "a whole number above 0",
            "float": "a number above 0",
            "Isolation": " or ".join(f'"{word}"' for word in get_args(Isolation)),
        }
        wanted = words.get(kind, "a list of names")
        raise ConfigError(f"{name} is {value!r}", where=where, mend=f"give {wanted}")
    return tuple(value) if isinstance(value, list) else float(value) if kind == "float" else value


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    # JSON's escapes are TOML's.
    return json.dumps(value, ensure_ascii=False)
