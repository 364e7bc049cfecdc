"""The server's folder, as commands open it on the machine where it lies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from comity.core.errors import MissingDependency

if TYPE_CHECKING:
    from comity.store.blobs import Blobs
    from comity.store.journal import Journal


def check_installed() -> None:
    """Raises `MissingDependency` where this is no installation of a server."""
    MissingDependency.check(("uvicorn", "fastapi", "sqlalchemy", "alembic", "obstore"), "server", "a server")


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Journal, Blobs]]:
    """The journal and the blobs of the server in `folder`, whether it runs or not."""
    check_installed()
    from comity.server.config import read
    from comity.server.home import ServerHome

    journal, blobs = ServerHome(folder).store(read(folder, {}))
    try:
        yield journal, blobs
    finally:
        journal.close()
