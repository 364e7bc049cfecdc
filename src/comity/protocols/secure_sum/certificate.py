"""Certificates: so many helpers or members signed one set that no other set of the round can ever be certified.

Each honest one signs a single set (`promises.Promises.sign`). Two quorums of Q > (c + t)/2 share more than t signers,
so an honest one among them: two different sets are never both certified, and two sums cannot be subtracted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from comity.protocols.secure_sum.encoding import Each, Fixed, Message, Nested, Uint, statement
from comity.protocols.secure_sum.errors import CertificateError, SetError
from comity.protocols.secure_sum.roster import Roster
from comity.protocols.secure_sum.terms import MAX_COMMITTEE, Terms

MAX_PARTIES = 1 << 20


@dataclass(frozen=True)
class Proposal(Message):
    """The set U that the coordinator proposes, and who dropped: positions in the roster, each list increasing."""

    context: Annotated[bytes, Fixed(32)]
    alive: Annotated[tuple[int, ...], Each(Uint(4), MAX_PARTIES)]
    dropped: Annotated[tuple[int, ...], Each(Uint(4), MAX_PARTIES)]

    @property
    def digest(self) -> bytes:
        """H(U), 32 bytes."""
        return hashlib.sha256(self.encode()).digest()


@dataclass(frozen=True)
class Vote(Message):
    """The signature of the helper or member at `member` of the committee under one set."""

    context: Annotated[bytes, Fixed(32)]
    chosen: Annotated[bytes, Fixed(32)]
    member: Annotated[int, Uint(4)]
    signature: Annotated[bytes, Fixed(64)]


@dataclass(frozen=True)
class Certificate(Message):
    """Votes of distinct members for one set, in the order of their positions."""

    context: Annotated[bytes, Fixed(32)]
    chosen: Annotated[bytes, Fixed(32)]
    votes: Annotated[tuple[Vote, ...], Each(Nested(Vote), MAX_COMMITTEE)]


def check_set(terms: Terms, proposal: Proposal, parties: int) -> None:
    """Raises `SetError` for a set that no honest helper or member signs; `parties` is the length of the roster."""
    fault = _fault(terms, proposal, parties)
    if fault:
        raise SetError(fault, where=f"round {terms.round}, attempt {terms.attempt}, proposed set")


def _fault(terms: Terms, proposal: Proposal, parties: int) -> str:
    alive, dropped = proposal.alive, proposal.dropped
    if proposal.context != terms.context:
        return "the set is proposed for another context"
    for what, listed in (("alive", alive), ("dropped", dropped)):
        if len(set(listed)) != len(listed):
            return f"a party is listed twice among those {what}"
        if list(listed) != sorted(listed):
            return f"the parties {what} are not in the order of the roster"
        if listed and listed[-1] >= parties:
            return f"nobody stands at {listed[-1]} of the roster"
    if both := set(alive) & set(dropped):
        return f"party {min(both)} is listed as alive and as dropped"
    if len(alive) < terms.n_min:
        return f"{len(alive)} parties are fewer than n_min = {terms.n_min}"
    if len(alive) > terms.n_max:
        return f"{len(alive)} parties are more than n_max = {terms.n_max}: their sum could wrap"
    return ""


def vote(terms: Terms, chosen: bytes, member: int, key: Ed25519PrivateKey) -> Vote:
    """The vote for a set that was checked and promised (`Promises.sign`): callers do both before."""
    return Vote(terms.context, chosen, member, key.sign(_signed(terms.context, chosen, member)))


def check_vote(given: Vote, terms: Terms, chosen: bytes, committee: Roster) -> None:
    """Raises `CertificateError` where this is no vote of a member of `committee` for `chosen` under `terms`."""
    place = f"vote of member {given.member}"
    if given.context != terms.context or given.chosen != chosen:
        raise CertificateError("the vote is for another set or another round", where=place)
    if given.member >= len(committee):
        raise CertificateError(f"the committee has {len(committee)} members", where=place)
    message = _signed(given.context, given.chosen, given.member)
    if not verified(committee.entry(given.member).signing, given.signature, message):
        raise CertificateError("the signature does not hold", where=place)


def certificate(terms: Terms, chosen: bytes, votes: Iterable[Vote]) -> Certificate:
    """The certificate that `votes` make, which its readers check."""
    return Certificate(terms.context, chosen, tuple(sorted(votes, key=lambda given: given.member)))


def check_certificate(given: Certificate, terms: Terms, chosen: bytes, committee: Roster) -> None:
    """Raises `CertificateError` unless Q distinct members of `committee` signed `chosen` under `terms`."""
    if given.context != terms.context or given.chosen != chosen:
        raise CertificateError("the certificate is for another set or another round", where="certificate")
    signers = [member.member for member in given.votes]
    if len(set(signers)) != len(signers):
        raise CertificateError("a member's vote is counted twice", where="certificate")
    if len(signers) < terms.quorum:
        raise CertificateError(f"{len(signers)} votes are fewer than the quorum {terms.quorum}", where="certificate")
    for member in given.votes:
        check_vote(member, terms, chosen, committee)


def verified(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` is one of the raw Ed25519 key `public` under `message`."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _signed(context: bytes, chosen: bytes, member: int) -> bytes:
    return statement("vote", context, chosen, member.to_bytes(4, "big"))
