"""How a node reaches its server: by its settings, the authority that it trusts, and its certificate if it has one."""

from __future__ import annotations

from comity.node.home import NodeHome
from comity.wire.http import HttpTransport


def reached(home: NodeHome) -> HttpTransport:
    """Raises `ConfigError` for settings or certificates that cannot be used."""
    config = home.config
    authority = home.authority.read_text("ascii") if home.authority.exists() else None
    return HttpTransport(config.address, authority, config.proxy or None, home.client_certificate)
