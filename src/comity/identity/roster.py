"""The roster: who belongs to a deployment, with which keys, in the word of its registrar.

Members agree on secrets by the keys of the roster. It is signed, so that a server that is not the registrar cannot put
a key of its own in somebody's place; and it ends, so that nobody who was revoked comes back with an old one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from comity.identity.errors import IdentityError
from comity.identity.keys import SigningKey, thumbprint, verify
from comity.wire.messages import Member, Roster

MAX_AGE = 7 * 86400.0
"""A roster is good for so many seconds after it was signed, where the registrar says nothing else."""
SKEW = 300.0
"""The registrar's clock may be ahead by so many seconds."""

_DOMAIN = b"comity roster 1\n"
# What a node offers and when it was seen last changes by the minute, and is the server's word, not the registrar's.
_HEARSAY = {"seen", "datasets"}


def sign_roster(
    members: Iterable[Member], deployment: str, now: float, key: SigningKey, valid: float = MAX_AGE
) -> Roster:
    """The roster of `members`, signed at `now` with the registrar's key, good for `valid` seconds."""
    ordered = tuple(sorted(members, key=lambda member: member.name))
    expires = now + valid
    signature = key.sign(signed_bytes(ordered, deployment, now, expires))
    return Roster(deployment=deployment, issued=now, expires=expires, members=ordered, signature=signature.hex())


def settled(members: Iterable[Member]) -> tuple[Member, ...]:
    """The members by name, without what is not the registrar's word."""
    plain = (member.model_copy(update={"seen": None, "datasets": ()}) for member in members)
    return tuple(sorted(plain, key=lambda member: member.name))


def check_roster(roster: Roster, registrar: str, now: float) -> None:
    """Raises `IdentityError` where a roster is not the registrar's, has ended, or names anybody or any key twice."""
    check_word(roster, registrar)
    if roster.issued - SKEW <= now <= roster.expires:
        return
    ended = f"is good no more since {(now - roster.expires) / 86400:.1f} days"
    raise IdentityError(
        f"the roster {ended if now > roster.expires else 'was signed by a clock that is ahead of this one'}",
        where="roster",
        mend="set this machine's clock, or have the registrar sign a new one",
    )


def check_word(roster: Roster, registrar: str) -> None:
    """Raises `IdentityError` where a roster of whatever age is not the registrar's, or has a name or a key twice."""
    signature = bytes.fromhex(roster.signature)
    message = signed_bytes(roster.members, roster.deployment, roster.issued, roster.expires)
    if not verify(registrar, signature, message):
        raise IdentityError(
            "the roster is not signed by this deployment's registrar",
            where="roster",
            mend="do not go on with this server before its operator has explained it",
        )
    for what, values in (
        ("name", [member.name for member in roster.members]),
        ("signing key", [thumbprint(member.signing_key) for member in roster.members]),
        ("agreement key", [thumbprint(member.agreement_key) for member in roster.members]),
    ):
        if len(set(values)) != len(values):
            raise IdentityError(f"two members have the same {what}", where="roster")


def signed_bytes(members: Iterable[Member], deployment: str, issued: float, expires: float) -> bytes:
    """What the registrar signs: all that the roster says but `seen` and `datasets`, as canonical JSON."""
    content = {
        "deployment": deployment,
        "expires": expires,
        "issued": issued,
        "members": [member.model_dump(mode="json", exclude=_HEARSAY) for member in members],
    }
    return _DOMAIN + json.dumps(content, sort_keys=True, separators=(",", ":")).encode("ascii")
