"""Which node is meant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from comity.core.errors import MissingDependency

if TYPE_CHECKING:
    from comity.node.home import NodeConfig, NodeHome

Home = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", envvar="COMITY_NODE", help="The node's folder.", show_default="./node"),
]


def home_at(path: Path | None) -> NodeHome:
    """The node's folder, from wherever a task's process looks at it."""
    MissingDependency.check(("aiohttp", "cryptography", "pydantic"), "node", "a node")
    from comity.node.home import NodeHome

    return NodeHome((path or Path("node")).expanduser().resolve())


def joined(path: Path | None) -> NodeHome:
    """The folder of a node that has joined. Raises `ConfigError` where none has, and for settings that are none."""
    home = home_at(path)
    _check_settings(home)
    return home


def _check_settings(home: NodeHome) -> NodeConfig:
    """Reading node.toml is the check."""
    return home.config
