"""A real PostgreSQL of a test's own: a fresh cluster on a Unix socket in a temporary folder."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

_KEEP = '"$@" </dev/null & read _; kill -INT $!; wait'
"""The server ends with whoever holds the other end of this shell's input, however that one ends."""


def programs() -> tuple[str, str] | None:
    """The paths of initdb and postgres, None where PostgreSQL is not installed."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)])
    initdb, postgres = shutil.which("initdb", path=path), shutil.which("postgres", path=path)
    return (initdb, postgres) if initdb and postgres else None


@contextmanager
def postgresql(initdb: str, postgres: str) -> Iterator[str]:
    """The URL of a running server with the name of the database left out; it is gone at the end."""
    # PostgreSQL does not run as root, and the path of a socket must be short.
    user = _unprivileged()
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as name:
        folder = Path(name)
        if user is not None:
            shutil.chown(folder, user)
        setup = [initdb, "-D", f"{folder}/data", "-U", "comity", "-A", "trust", "--locale=C", "-E", "UTF8", "--no-sync"]
        subprocess.run(setup, check=True, capture_output=True, user=user, cwd=folder)
        settings = ["listen_addresses=", "fsync=off", "max_connections=60", "shared_buffers=16MB"]
        options = [word for setting in settings for word in ("-c", setting)]
        command = ["sh", "-c", _KEEP, "sh", postgres, "-D", f"{folder}/data", "-k", str(folder), *options]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, user=user, cwd=folder, start_new_session=True
            )
        assert server.stdin is not None
        try:
            _await(server, folder)
            yield f"postgresql+psycopg://comity@/{{database}}?host={folder}"
        finally:
            server.stdin.close()
            server.wait(30)


def create(server: str, database: str) -> str:
    """A new, empty database on the server: its URL."""
    _execute(server, f'CREATE DATABASE "{database}"')
    return server.format(database=database)


def drop(server: str, database: str) -> None:
    _execute(server, f'DROP DATABASE "{database}" WITH (FORCE)')


def _execute(server: str, statement: str) -> None:
    address = server.format(database="postgres").replace("+psycopg", "")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(statement.encode())


def _unprivileged() -> str | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in known)


def _await(server: subprocess.Popen[bytes], folder: Path) -> None:
    for _ in range(300):
        try:
            psycopg.connect(f"postgresql://comity@/postgres?host={folder}").close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None:
                break
            time.sleep(0.1)
    raise RuntimeError((folder / "log").read_text())
