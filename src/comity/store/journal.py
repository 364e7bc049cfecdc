"""The journal of a server: all that it knows, in SQLite or PostgreSQL, committed before anybody is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from comity.store import audit, members, rosters, runs
from comity.store.chain import Head
from comity.store.database import Database
from comity.store.listening import Listener
from comity.store.migrate import migrate
from comity.store.nonces import Nonces, NoncesInDatabase, NoncesInMemory
from comity.store.rows import AuditRow, Record, RunRow

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from comity.core.manifest import Json
    from comity.wire.messages import Invite, Member


class Journal:
    """Each method is one transaction: whole and durable when it returns, or it never was.

    Every method raises `StoreError`, and `StorageFull` where the disk takes no more. SQLite is for one server process,
    PostgreSQL for any number of replicas.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._nonces: Nonces = NoncesInMemory() if database.is_sqlite else NoncesInDatabase(database)
        self._listeners: list[Listener] = []
        self._known: dict[str, Member] = {}

    @classmethod
    def open(cls, url: str) -> Journal:
        """The journal at `sqlite:///path` or `postgresql+psycopg://…`, its tables brought up to date."""
        database = Database(url)
        migrate(database)
        return cls(database)

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()
        self.database.close()

    def begin(self, run: RunRow, records: Sequence[Record]) -> None:
        """A new run with its first records, numbers 1 and on. Raises `StoreError` where there is one of this id."""
        with self.database.write() as connection:
            runs.begin(connection, run, records)

    def append(self, run: str, after: int, records: Sequence[Record], state: tuple[str, str] | None = None) -> bool:
        """Add records `after + 1` and on, and set the run's (state, detail), all or nothing.

        False where there is a record `after + 1` already: another was first, so read what it wrote and decide again.
        Raises `StoreError` for a run that is not there and for a gap.
        """
        with self.database.write() as connection:
            return runs.append(connection, run, after, records, state)

    def run(self, run: str) -> RunRow | None:
        with self.database.read() as connection:
            return runs.find(connection, run)

    def runs(self, submitter: str | None = None, state: str | None = None) -> list[RunRow]:
        """Newest first: all, or those of a submitter, or those in a state."""
        with self.database.read() as connection:
            return runs.listed(connection, submitter, state)

    def run_states(self) -> dict[str, int]:
        """The number of runs in each state that there is one in."""
        with self.database.read() as connection:
            return runs.states(connection)

    def records(self, run: str, after: int = 0) -> list[Record]:
        """The records of a run with a `seq` above `after`, in order."""
        with self.database.read() as connection:
            return runs.records(connection, run, after)

    def last(self, run: str, kind: str) -> Record | None:
        """The newest record of a kind."""
        with self.database.read() as connection:
            return runs.last(connection, run, kind)

    def members(self) -> list[Member]:
        """All, by name, the revoked and expired among them."""
        with self.database.read() as connection:
            return members.listed(connection)

    def member(self, name: str) -> Member | None:
        with self.database.read() as connection:
            return members.find(connection, name)

    def member_by_key(self, thumbprint: str) -> Member | None:
        """The member with this signing key. Whether it is revoked or expired is for the caller to look at.

        Asked with every request. Where no other process changes members, it is kept until this one does; only when it
        was last `seen` may then be old.
        """
        if (known := self._known.get(thumbprint)) is not None:
            return known
        with self.database.read() as connection:
            member = members.by_key(connection, thumbprint)
        if member is not None and self.database.is_sqlite:
            self._known[thumbprint] = member
        return member

    def invite(self, secret_digest: str, wish: Invite, expires: float) -> None:
        """Remember an invitation by the digest of its secret."""
        with self.database.write() as connection:
            members.invite(connection, secret_digest, wish, expires)

    def enrol(
        self, secret_digest: str, now: float, signing_key: str, agreement_key: str, name: str, lifetime: float
    ) -> Member | None:
        """Spend an invitation, once.

        None where it is unknown, used, expired or for another name, where the name is held by a member that is neither
        revoked nor expired, and where a key is another's; the invitation is then as it was.
        """
        with self._changing_members() as connection:
            member = members.enrol(
                connection,
                secret_digest,
                now,
                signing_key=signing_key,
                agreement_key=agreement_key,
                name=name,
                lifetime=lifetime,
            )
            if member is None:
                connection.rollback()
            return member

    def add_member(self, member: Member) -> None:
        """Without an invitation: the first admin. Raises `StoreError` where the name or a key is taken."""
        with self._changing_members() as connection:
            members.add(connection, member)

    def revoke(self, name: str, now: float) -> bool:
        """At once and for good. False where there is no such member."""
        with self._changing_members() as connection:
            return members.revoke(connection, name, now)

    def change(self, name: str, tags: Sequence[str]) -> bool:
        """Replace a member's tags. False where there is no such member."""
        with self._changing_members() as connection:
            return members.change(connection, name, tuple(tags))

    def offer(self, name: str, datasets: Sequence[str]) -> bool:
        """Replace the data sets that a member offers. True where that changed anything."""
        with self._changing_members() as connection:
            return members.offer(connection, name, tuple(datasets))

    def saw(self, name: str, at: float) -> None:
        """Note that a member was heard of; not written more often than every `members.SEEN_EVERY` seconds."""
        with self.database.write() as connection:
            members.saw(connection, name, at)

    def rekey(self, name: str, before: str, signing_key: str, agreement_key: str, expires: float) -> bool:
        """New keys for the member whose signing key was `before`.

        False where there is none, it is revoked, or one of the keys is another's.
        """
        with self._changing_members() as connection:
            return members.rekey(
                connection,
                name,
                before=before,
                signing_key=signing_key,
                agreement_key=agreement_key,
                expires=expires,
            )

    @contextmanager
    def _changing_members(self) -> Iterator[Connection]:
        """A transaction after which every member is looked up anew."""
        try:
            with self.database.write() as connection:
                yield connection
        finally:
            self._known.clear()

    def publish_roster(self, issued: float, body: str) -> bool:
        """Keep a roster that the registrar signed at `issued`. False where there is one as new, or newer."""
        with self.database.write() as connection:
            return rosters.publish(connection, issued, body)

    def roster(self) -> str | None:
        """The newest roster that was published, as it was given."""
        with self.database.read() as connection:
            return rosters.newest(connection)

    def use_nonce(self, key: str, nonce: str, expires: float) -> bool:
        """True the first time, False ever after, until it is forgotten."""
        return self._nonces.use(key, nonce, expires)

    def forget_nonces(self, before: float) -> None:
        """Forget those that expired earlier."""
        self._nonces.forget(before)

    def listen(self, callback: Callable[[str], None]) -> None:
        """Call with a run's id, in a thread, when any replica has begun it or appended to it.

        The empty id means any run. On SQLite there is no other replica, and nothing is called.
        """
        if not self.database.is_sqlite:
            self._listeners.append(Listener(self.database, callback))

    def note(self, at: float, who: str, action: str, detail: Json) -> None:
        """Add to the audit."""
        with self.database.write() as connection:
            audit.note(connection, at, who, action, detail)

    def audit(self, after: int = 0, limit: int | None = None) -> list[AuditRow]:
        """The rows of the audit with a `seq` above `after`, in order: at most `limit`."""
        with self.database.read() as connection:
            return audit.listed(connection, after, limit)

    def check_audit(self) -> Head:
        """Where the audit ends. Raises `StoreError` where a row was changed, removed or moved."""
        with self.database.snapshot() as connection:
            return audit.check(connection)
