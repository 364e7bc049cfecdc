"""How an invitation becomes a membership; people and nodes join in the same way.

A joiner makes its keys, keeps them, and only then spends the invitation: whoever is cut off in between, on either side,
joins again with the same token and the same keys.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from comity.identity.errors import IdentityError
from comity.identity.folder import IdentityFolder, Membership
from comity.identity.invitation import Invitation
from comity.identity.keys import AgreementKey, SigningKey
from comity.wire.client import ProblemError, Session
from comity.wire.http import HttpTransport, fetch_about
from comity.wire.messages import About, Enrolled, Enrolment, Member, Standing

_PATIENCE = 10.0


async def join_as_person(token: str, folder: IdentityFolder, now: Callable[[], float]) -> Membership:
    """Spend an invitation for the identity in `folder`, whose keys are made there. Raises `IdentityError`."""
    invitation = Invitation.of(token)
    if invitation.role == "node":
        raise IdentityError("the invitation is for a node", where="invitation", mend="comity node join TOKEN")
    folder.check_free()
    signing, agreement = kept_keys(folder.signing_file, folder.agreement_file)
    enrolled = await enrol(invitation, signing, agreement, now, certificate=folder.client_certificate)
    membership = Membership(
        name=enrolled.member.name,
        role=enrolled.member.role,
        address=invitation.address,
        deployment=enrolled.about.deployment,
        registrar=enrolled.about.registrar,
    )
    folder.write(membership, authority_of(invitation, enrolled), signing, agreement)
    return membership


def kept_keys(signing: Path, agreement: Path) -> tuple[SigningKey, AgreementKey]:
    """The keys in these files; those that are missing are made and kept there first."""
    signing.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not signing.exists():
        SigningKey.new().save(signing)
    if not agreement.exists():
        AgreementKey.new().save(agreement)
    return SigningKey.load(signing), AgreementKey.load(agreement)


async def enrol(
    invitation: Invitation,
    signing: SigningKey,
    agreement: AgreementKey,
    now: Callable[[], float],
    proxy: str | None = None,
    certificate: Path | None = None,
) -> Enrolled:
    """Give the secret and the public keys to the server that the invitation names, and to no other.

    `proxy` and `certificate` are as for `HttpTransport`. What is to be trusted from now on is what was pinned at the
    first contact, whatever the server says later. May be repeated with the same keys. Raises `IdentityError` for an
    invitation that has expired and for a server that lets in somebody else, `TransportError` where the server cannot
    be reached or is another, and `ProblemError` where it does not take the invitation.
    """
    invitation.check(now())
    about = await fetch_about(invitation.address, invitation.fingerprint, proxy, certificate)
    transport = HttpTransport(invitation.address, _trusted(invitation, about), proxy, certificate)
    session = Session(transport, signing, about.deployment, now, patience=_PATIENCE)
    wish = Enrolment(
        secret=invitation.secret, name=invitation.name, signing_key=signing.public, agreement_key=agreement.public
    )
    try:
        member = await _member(session, wish)
    finally:
        await session.close()
    if (member.name, member.role, member.signing_key, member.agreement_key) != (
        invitation.name,
        invitation.role,
        signing.public,
        agreement.public,
    ):
        raise IdentityError(
            "the server has let in somebody else than the invitation names",
            where=f"member {member.name}",
            mend="do not go on with this server before its operator has explained it",
        )
    return Enrolled(member=member, about=about)


def authority_of(invitation: Invitation, enrolled: Enrolled) -> str | None:
    """The certificate authority to trust from now on, PEM; None where it is those that the system trusts."""
    return _trusted(invitation, enrolled.about)


def _trusted(invitation: Invitation, about: About) -> str | None:
    return about.authority if invitation.fingerprint else None


async def _member(session: Session, wish: Enrolment) -> Member:
    """The member that the wish makes, or has made on an earlier try of which the answer was lost."""
    try:
        enrolled = await session.call("POST", "/v1/enrolments", wish, Enrolled)
    except ProblemError as error:
        member = await _already(session) if error.status == 401 else None
        if member is None:
            raise
        return member
    assert enrolled is not None
    return enrolled.member


async def _already(session: Session) -> Member | None:
    """The member that signs with these keys, where they are a member's."""
    try:
        standing = await session.call("GET", "/v1/keys", expect=Standing)
    except ProblemError:
        return None
    assert standing is not None
    return standing.member
