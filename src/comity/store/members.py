"""Members and invitations, on a connection."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, case, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from comity.identity.keys import thumbprint
from comity.store.errors import StoreError
from comity.store.tables import INVITATIONS, MEMBERS
from comity.wire.messages import Invite, Member

SEEN_EVERY = 15.0
"""Seconds: when a member was seen is not written more often, so that a busy node costs no write for each request."""

_BY_KEY = select(MEMBERS).where(MEMBERS.c.thumbprint == bindparam("thumbprint"))
"""Asked with every request, so it is not put together each time."""


def listed(connection: Connection) -> list[Member]:
    """By name."""
    return sorted((_member(row) for row in connection.execute(select(MEMBERS)).mappings()), key=lambda m: m.name)


def find(connection: Connection, name: str) -> Member | None:
    row = connection.execute(select(MEMBERS).where(MEMBERS.c.name == name)).mappings().first()
    return None if row is None else _member(row)


def by_key(connection: Connection, key: str) -> Member | None:
    row = connection.execute(_BY_KEY, {"thumbprint": key}).mappings().first()
    return None if row is None else _member(row)


def invite(connection: Connection, secret_digest: str, wish: Invite, expires: float) -> None:
    """Remember an invitation by the digest of its secret."""
    row = {"secret_digest": secret_digest, "name": wish.name, "role": wish.role, "tags": wish.tags, "expires": expires}
    connection.execute(insert(INVITATIONS), row)


def enrol(
    connection: Connection,
    secret_digest: str,
    now: float,
    *,
    signing_key: str,
    agreement_key: str,
    name: str,
    lifetime: float,
) -> Member | None:
    """Spend an invitation. The transaction must be undone where this gives None."""
    table = INVITATIONS.c
    invitation = (
        connection.execute(
            update(INVITATIONS)
            .where(table.secret_digest == secret_digest, table.used.is_(None), table.expires > now, table.name == name)
            .values(used=now)
            .returning(table.role, table.tags)
        )
        .mappings()
        .first()
    )
    if invitation is None:
        return None
    gone = or_(MEMBERS.c.revoked, MEMBERS.c.expires <= now)
    connection.execute(delete(MEMBERS).where(MEMBERS.c.name == name, gone))
    member = Member(
        name=name,
        role=invitation["role"],
        signing_key=signing_key,
        agreement_key=agreement_key,
        enrolled=now,
        expires=now + lifetime,
        tags=tuple(invitation["tags"]),
    )
    return member if _added(connection, member) else None


def add(connection: Connection, member: Member) -> None:
    """Raises `StoreError` where the name or a key is taken."""
    if not _added(connection, member):
        raise StoreError(
            "there is a member of this name, or with one of these keys, already", where=f"member {member.name}"
        )


def revoke(connection: Connection, name: str, now: float) -> bool:
    """From now on; the member's entry says since when, as the end of its time."""
    return _changed(
        connection, name, revoked=True, expires=case((MEMBERS.c.expires < now, MEMBERS.c.expires), else_=now)
    )


def change(connection: Connection, name: str, tags: tuple[str, ...]) -> bool:
    return _changed(connection, name, tags=tags)


def offer(connection: Connection, name: str, datasets: tuple[str, ...]) -> bool:
    """True where that is something new: nothing is written otherwise."""
    query = update(MEMBERS).where(MEMBERS.c.name == name, MEMBERS.c.datasets != datasets)
    return connection.execute(query.values(datasets=datasets)).rowcount > 0


def saw(connection: Connection, name: str, at: float) -> None:
    lately = or_(MEMBERS.c.seen.is_(None), MEMBERS.c.seen < at - SEEN_EVERY)
    connection.execute(update(MEMBERS).where(MEMBERS.c.name == name, lately).values(seen=at))


def rekey(
    connection: Connection, name: str, *, before: str, signing_key: str, agreement_key: str, expires: float
) -> bool:
    """False where no such member has the signing key `before`, it is revoked, or one of the keys is another's."""
    values = {
        "signing_key": signing_key,
        "agreement_key": agreement_key,
        "thumbprint": thumbprint(signing_key),
        "expires": expires,
    }
    holder = (MEMBERS.c.name == name, MEMBERS.c.signing_key == before, MEMBERS.c.revoked.is_(False))
    try:
        with connection.begin_nested():
            return connection.execute(update(MEMBERS).where(*holder).values(values)).rowcount > 0
    except IntegrityError:
        return False


def _member(row: RowMapping) -> Member:
    facts = {column: value for column, value in row.items() if column != "thumbprint"}
    return Member(**{**facts, "tags": tuple(row["tags"]), "datasets": tuple(row["datasets"])})


def _added(connection: Connection, member: Member) -> bool:
    row = {**member.model_dump(), "thumbprint": thumbprint(member.signing_key)}
    try:
        with connection.begin_nested():
            connection.execute(insert(MEMBERS), row)
    except IntegrityError:
        return False
    return True


def _changed(connection: Connection, name: str, **values: Any) -> bool:
    return connection.execute(update(MEMBERS).where(MEMBERS.c.name == name).values(values)).rowcount > 0
