"""What the API of one deployment stands on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import comity
from comity.identity.invitation import Invitation, secret_digest
from comity.identity.keys import PublicKey, SigningKey
from comity.server.errors import Conflict
from comity.server.federation import Federation
from comity.server.gate import Gate
from comity.wire.messages import About, Invite, Invited

LIFETIME = 400 * 86400.0
"""Seconds for which a member's keys are good where nothing else is said."""


@dataclass(frozen=True, eq=False)
class Deployment:
    """What the API stands on. `address` is what invitations tell; `lifetime` how long a member's keys are good.

    With the registrar's own key the roster is signed here, as it stands; with the public half alone, the roster is the
    last one that the registrar signed elsewhere.
    """

    federation: Federation
    gate: Gate
    name: str
    address: str
    authority: str
    fingerprint: str
    registrar: SigningKey | PublicKey
    lifetime: float = LIFETIME

    @property
    def now(self) -> Callable[[], float]:
        return self.federation.now

    def about(self) -> About:
        return About(
            deployment=self.name,
            version=comity.__version__,
            time=self.now(),
            authority=self.authority,
            registrar=self.registrar.public,
        )


def invitation(deployment: Deployment, wish: Invite, by: str) -> Invited:
    """A new token, of which the server keeps the digest of the secret alone."""
    journal, now = deployment.federation.journal, deployment.now()
    if any(member.name == wish.name and not member.revoked for member in journal.members()):
        raise Conflict(f"{wish.name} is a member already", where="invite.name", mend="choose another name")
    secret, expires = deployment.federation.token(32).hex(), now + wish.valid
    journal.invite(secret_digest(secret), wish, expires)
    journal.note(now, by, "invited", f"{wish.name} as {wish.role}")
    token = Invitation(deployment.address, deployment.fingerprint, secret, wish.name, wish.role, expires).token
    return Invited(token=token, expires=expires)
