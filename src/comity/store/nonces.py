"""Nonces that were used: a signed request counts once."""

from __future__ import annotations

import threading
from typing import Protocol

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert

from comity.store.database import Database
from comity.store.tables import NONCES


class Nonces(Protocol):
    def use(self, key: str, nonce: str, expires: float) -> bool: ...

    def forget(self, before: float) -> None: ...


class NoncesInMemory:
    """For the one server of an SQLite file, which refuses whatever was signed before it started."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def use(self, key: str, nonce: str, expires: float) -> bool:
        with self._lock:
            if (key, nonce) in self._used:
                return False
            self._used[key, nonce] = expires
            return True

    def forget(self, before: float) -> None:
        with self._lock:
            self._used = {used: expires for used, expires in self._used.items() if expires >= before}


class NoncesInDatabase:
    """For all the servers of one PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def use(self, key: str, nonce: str, expires: float) -> bool:
        row = {"key": key, "nonce": nonce, "expires": expires}
        with self._database.write() as connection:
            once = insert(NONCES).on_conflict_do_nothing().returning(NONCES.c.nonce)
            return connection.execute(once, row).first() is not None

    def forget(self, before: float) -> None:
        with self._database.write() as connection:
            connection.execute(delete(NONCES).where(NONCES.c.expires < before))
