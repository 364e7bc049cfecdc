"""The server's settings: flags before the environment, the environment before `server.toml`, that before defaults."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from comity.core import tables
from comity.core.checks import closest
from comity.core.errors import ConfigError

_PREFIX = "COMITY_SERVER_"


class ServerConfig(BaseModel):
    """What a server is told. Paths are relative to its folder; `address` is where parties find it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=64)]
    address: Annotated[str, Field(pattern=r"^https://[^/\s]+$")]
    host: str = "0.0.0.0"
    port: Annotated[int, Field(ge=1, le=65535)] = 8443
    journal: str = "sqlite:///journal.db"
    blobs: str = "blobs"
    certificate: str = "server.pem"
    key: str = "server.key"
    tls: bool = True
    """False where a proxy on the same machine ends TLS; the server then listens on loopback alone."""
    client_certificates: Literal["off", "required"] = "off"
    """Whether TLS asks for a certificate of the deployment's authority, and refuses a connection without."""
    absence: Annotated[float, Field(ge=1)] = 120.0
    """Seconds. Of several replicas each knows of the others' parties by the journal, up to 90 seconds late."""
    lifetime_days: Annotated[float, Field(gt=0)] = 400.0
    rate: Annotated[float, Field(gt=0)] = 500.0
    connections: Annotated[int, Field(ge=1)] = 10_000
    metrics: str = ""
    """HOST:PORT where Prometheus may scrape, by plain HTTP and without credentials; empty: nowhere."""
    log: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("metrics")
    @classmethod
    def _host_and_port(cls, wanted: str) -> str:
        if wanted and re.fullmatch(r"([\w.-]+|\[[0-9A-Fa-f:]+\]):\d{1,5}", wanted, re.ASCII) is None:
            raise ValueError("this is not HOST:PORT, such as 127.0.0.1:9464")
        return wanted

    @field_validator("client_certificates")
    @classmethod
    def _with_tls(cls, wanted: str, info: ValidationInfo) -> str:
        if wanted == "required" and info.data.get("tls") is False:
            raise ValueError("a server without TLS cannot ask for certificates; let the proxy ask for them")
        return wanted


def read(folder: Path, flags: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> ServerConfig:
    """The settings for the server in `folder`. Raises `ConfigError` that names the field and where it was set."""
    file = folder / "server.toml"
    try:
        settings = tables.parse(file.read_bytes(), str(file))
    except FileNotFoundError:
        raise ConfigError(
            "there is no server in this folder", where=str(folder), mend="comity server init DIR"
        ) from None
    sources = dict.fromkeys(settings, str(file))
    for variable, value in (os.environ if environment is None else environment).items():
        if variable.startswith(_PREFIX):
            name = variable.removeprefix(_PREFIX).lower()
            settings[name], sources[name] = value, variable
    for name, value in flags.items():
        if value is not None:
            settings[name], sources[name] = value, f"--{name.replace('_', '-')}"
    return _checked(settings, sources)


def _checked(settings: Mapping[str, Any], sources: Mapping[str, str]) -> ServerConfig:
    known = list(ServerConfig.model_fields)
    for name in settings:
        if name not in known:
            mend = closest(name, known) or f"settings are: {', '.join(known)}"
            raise ConfigError(f"there is no setting {name!r}", where=sources[name], mend=mend)
    try:
        return ServerConfig.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise ConfigError(
            f"{name}: {first['msg'].removeprefix('Value error, ')}",
            where=sources.get(name, "server.toml"),
            mend="see the operator's guide",
        ) from error
