"""A member of the committee: it vouches for shares, agrees to one set, and reveals one summed share (specification §5).

Nothing that it holds leaves it but masked combinations, and the sum of its shares over the set that a quorum certified.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import numpy as np

from comity.core import merkle
from comity.protocols.secure_sum.admission import View, check_announcement, check_delivery
from comity.protocols.secure_sum.certificate import Certificate, Proposal, Vote, check_certificate, check_set, vote
from comity.protocols.secure_sum.encoding import statement
from comity.protocols.secure_sum.errors import (
    OrderError,
    RefusalError,
    RosterError,
    SealError,
    SetError,
    UploadError,
)
from comity.protocols.secure_sum.field import Elements, Q
from comity.protocols.secure_sum.helper import HelperKeys
from comity.protocols.secure_sum.lattice import agreed_sharing
from comity.protocols.secure_sum.schema import (
    Announcement,
    Challenge,
    Combinations,
    Delivery,
    ShareSum,
    combined,
    summed_share,
)
from comity.protocols.secure_sum.sealing import unseal
from comity.protocols.secure_sum.streams import little_endian
from comity.protocols.secure_sum.terms import Terms


class Member:
    """One member in one attempt. Raises `RefusalError` where it does not take part.

    The steps in order: `take` each delivery, `combine`, `vote`, `reveal`. After a restart the deliveries are taken
    again; what was answered and signed is remembered by the promises.
    """

    def __init__(self, announcement: Announcement, view: View, keys: HelperKeys) -> None:
        self.terms = announcement.terms
        self._committee = check_announcement(announcement, view, keys.floors)
        self._sharing = agreed_sharing(self.terms)
        try:
            self.position = self._committee.position(keys.signing.public_key().public_bytes_raw())
        except RosterError as error:
            raise RefusalError("this member is not in the committee", where="member") from error
        self._roster = view.roster
        self._keys = keys
        self._deliveries: dict[int, Delivery] = {}
        self._shares: dict[int, Elements] = {}
        self._closed = False

    def take(self, delivery: Delivery) -> None:
        """Take what is for this member of one party's upload; the same again changes nothing.

        Raises `UploadError` where the party did not sign just this, or has signed something else before, and
        `OrderError` once the list is closed by a challenge. A box that is of no use is told with the combinations.
        """
        if self._closed and delivery.party not in self._deliveries:
            raise OrderError("the list of parties is closed: nobody joins any more", where=self._place)
        check_delivery(delivery, self.terms, self._roster, self.position)
        earlier = self._deliveries.setdefault(delivery.party, delivery)
        if replace(delivery, signature=b"") != replace(earlier, signature=b""):
            raise UploadError("the party has signed another message for this round", where=f"party {delivery.party}")
        share = self._opened(delivery)
        if share is not None:
            self._shares[delivery.party] = share

    def combine(self, challenge: Challenge) -> Combinations:
        """One masked random combination of the share from each party, for the one list of this attempt.

        Raises `SetError` where the list is not that of the deliveries, and `PromiseError` where another was answered
        for: with two lists the masks of two combinations would cancel.
        """
        parties = sorted(self._deliveries)
        root = merkle.root(self._deliveries[party].signature for party in parties)
        if challenge != Challenge(self.terms.context, tuple(parties), root):
            raise SetError("the parties of the challenge are not those that were delivered", where=self._place)
        self._keys.promises.sign(_challenges_of(self.terms), root)
        self._closed = True
        said = np.zeros(len(parties), np.uint32)
        for place, party in enumerate(parties):
            if party in self._shares:
                weights = self._sharing.challenge(self.terms.context, root, party)
                said[place] = self._sharing.combination(self._shares[party], weights)
        refused = tuple(party for party in parties if party not in self._shares)
        values = bytes(little_endian(said))
        signed = combined(self.terms.context, root, self.position, refused, values)
        return Combinations(self.terms.context, root, self.position, refused, values, self._keys.signing.sign(signed))

    def vote(self, proposal: Proposal) -> Vote:
        """Sign the one set of this attempt, after the promise to sign no other.

        Raises `SetError` for a set that an honest member does not sign, and `PromiseError` where it signed another.
        """
        self._promise(proposal)
        return vote(self.terms, proposal.digest, self.position, self._keys.signing)

    def reveal(self, proposal: Proposal, certificate: Certificate) -> ShareSum:
        """The sum of this member's shares over the certified set.

        Raises `SetError`, `CertificateError` or `PromiseError` where the set is not the one that is certified and that
        this member would sign, and `SetError` where it lacks a share; then nothing leaves it.
        """
        check_certificate(certificate, self.terms, proposal.digest, self._committee)
        self._promise(proposal)
        if missing := sorted(set(proposal.alive) - set(self._shares)):
            raise SetError(f"this member could not use the share of party {missing[0]}", where=self._place)
        total = np.zeros(self._sharing.columns, np.uint64)
        for party in proposal.alive:
            total += self._shares[party][:-1]
        share = bytes(little_endian((total % np.uint64(Q)).astype(np.uint32)))
        signed = summed_share(self.terms.context, proposal.digest, self.position, share)
        return ShareSum(self.terms.context, proposal.digest, self.position, share, self._keys.signing.sign(signed))

    def _promise(self, proposal: Proposal) -> None:
        check_set(self.terms, proposal, len(self._roster))
        if missing := sorted(set(proposal.alive) - set(self._deliveries)):
            raise SetError(
                f"party {missing[0]} is in the set, and its share was not delivered",
                where=self._place,
                mend="deliver its box, or leave it out",
            )
        self._keys.promises.sign(self.terms, proposal.digest)
        self._closed = True

    def _opened(self, delivery: Delivery) -> Elements | None:
        """The share in a box; none where it does not open or holds something else."""
        try:
            plain = unseal(self._keys.agreement, self.terms.context, delivery.party, self.position, delivery.box)
        except SealError:
            return None
        if len(plain) != 4 * (self._sharing.columns + 1):
            return None
        share = np.frombuffer(plain, "<u4").astype(np.uint32)
        return share if share.max() < Q else None

    @property
    def _place(self) -> str:
        return f"member {self.position}"


def _challenges_of(terms: Terms) -> Terms:
    """The same attempt in a job of its own, under which the answered list is promised: sets are promised in the job."""
    return replace(terms, job=sha256(statement("challenges", terms.job)).digest())
