"""Waking up when another replica has appended: PostgreSQL's notifications."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import text

from comity.store.database import Database
from comity.store.errors import StoreError
from comity.store.runs import CHANNEL

_LOOK_UP = 1.0
"""Seconds between looks whether to stop."""

_log = logging.getLogger("comity.store")


class Listener:
    """A thread that calls `callback` with the id of each run that has new records.

    It calls with the empty id after it has had to connect again: anything may have changed meanwhile. What `callback`
    raises is logged, and the thread goes on: a replica that no longer hears would serve what is out of date.
    """

    def __init__(self, database: Database, callback: Callable[[str], None]) -> None:
        self._database = database
        self._callback = callback
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="comity-listen", daemon=True)
        self._thread.start()
        self._ready.wait(_LOOK_UP)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        from psycopg import Error

        while not self._stop.is_set():
            try:
                with self._database.listening() as connection:
                    connection.execute(text(f"LISTEN {CHANNEL}"))
                    if self._ready.is_set():
                        self._tell("")
                    self._ready.set()
                    self._pass_on(connection.connection.dbapi_connection)
            except (StoreError, Error):
                self._stop.wait(_LOOK_UP)

    def _pass_on(self, connection: Any) -> None:
        while not self._stop.is_set():
            for note in connection.notifies(timeout=_LOOK_UP):
                self._tell(note.payload)

    def _tell(self, run: str) -> None:
        try:
            self._callback(run)
        except Exception:  # whatever it is, it is the listener's fault alone, and nobody waits for this thread's end
            _log.exception("a listener failed at run %r", run)
