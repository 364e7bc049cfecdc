"""A helper: it checks the boxes that are for it, agrees to one set, and reveals summed masks (specification §6).

Nothing that it holds leaves it but the sums over a set that a quorum has certified.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from comity.protocols.secure_sum.admission import View, check_announcement, check_delivery
from comity.protocols.secure_sum.certificate import Proposal, Vote, check_certificate, check_set, vote
from comity.protocols.secure_sum.errors import (
    OrderError,
    RefusalError,
    RosterError,
    SealError,
    SetError,
    UploadError,
)
from comity.protocols.secure_sum.masks import SEED, commitment, held, stream_key, summed
from comity.protocols.secure_sum.promises import Promises
from comity.protocols.secure_sum.schema import Announcement, Answer, Delivery, Findings, Reveal, answered, found
from comity.protocols.secure_sum.sealing import unseal
from comity.protocols.secure_sum.streams import Outgoing
from comity.protocols.secure_sum.terms import Floors


@dataclass(frozen=True)
class HelperKeys:
    """Who a helper is, what it asks of a round, and where it remembers what it signed."""

    signing: Ed25519PrivateKey
    agreement: X25519PrivateKey
    floors: Floors
    promises: Promises


class Helper:
    """One helper in one attempt. Raises `RefusalError` where it does not take part.

    The steps in order: `take` each delivery, `findings`, `vote`, `reveal`. After a restart the deliveries are taken
    again; what was signed is remembered by the promises.
    """

    def __init__(self, announcement: Announcement, view: View, keys: HelperKeys) -> None:
        self.terms = announcement.terms
        self._committee = check_announcement(announcement, view, keys.floors)
        if not self.terms.helpers:
            raise RefusalError("these terms are of committee mode", where="helper")
        try:
            self.position = self._committee.position(keys.signing.public_key().public_bytes_raw())
        except RosterError as error:
            raise RefusalError("this helper is not in the committee", where="helper") from error
        self._roster = view.roster
        self._keys = keys
        self._held = held(self.terms.size, self.terms.threshold, self.position)
        self._deliveries: dict[int, Delivery] = {}
        self._seeds: dict[int, dict[int, bytes]] = {}
        self._voted = False

    def take(self, delivery: Delivery) -> None:
        """Take what is for this helper of one party's upload; the same again changes nothing.

        Raises `UploadError` where the party did not sign just this, or has signed something else before, and
        `OrderError` after the vote. Seeds that are not the signed ones are told in the findings.
        """
        if self._voted:
            raise OrderError("the set is signed: nobody joins any more", where=f"helper {self.position}")
        check_delivery(delivery, self.terms, self._roster, self.position)
        earlier = self._deliveries.setdefault(delivery.party, delivery)
        if replace(delivery, signature=b"") != replace(earlier, signature=b""):
            raise UploadError("the party has signed another message for this round", where=f"party {delivery.party}")
        seeds = self._opened(delivery)
        if seeds is not None:
            self._seeds[delivery.party] = seeds

    def findings(self) -> Findings:
        """Which of the parties whose delivery was taken gave this helper no use of their seeds."""
        refused = tuple(sorted(set(self._deliveries) - set(self._seeds)))
        signed = found(self.terms.context, self.position, refused)
        return Findings(self.terms.context, self.position, refused, self._keys.signing.sign(signed))

    def vote(self, proposal: Proposal) -> Vote:
        """Sign the one set of this attempt, after the promise to sign no other.

        Raises `SetError` for a set that an honest helper does not sign, and `PromiseError` where it signed another.
        """
        self._check_set(proposal)
        self._keys.promises.sign(self.terms, proposal.digest)
        self._voted = True
        return vote(self.terms, proposal.digest, self.position, self._keys.signing)

    def reveal(self, request: Reveal) -> Outgoing[Answer]:
        """The masks of the certified set, summed over the parties and over the subsets that are asked for.

        Raises `SetError`, `CertificateError` or `PromiseError` where the set is not the one that is certified and that
        this helper would sign; then nothing leaves it.
        """
        chosen = request.proposal.digest
        self._check_set(request.proposal)
        check_certificate(request.certificate, self.terms, chosen, self._committee)
        asked = request.subsets
        if not asked or list(asked) != sorted(set(asked)) or not set(asked) <= set(self._held):
            raise SetError("this helper does not have the seeds of these subsets", where=f"helper {self.position}")
        self._keys.promises.sign(self.terms, chosen)
        self._voted = True
        keys = [
            stream_key(self.terms.context, party, subset, self._seeds[party][subset])
            for party in request.proposal.alive
            for subset in asked
        ]
        return Outgoing(summed(keys, self.terms.length), lambda vector: self._answer(chosen, asked, vector))

    def _check_set(self, proposal: Proposal) -> None:
        check_set(self.terms, proposal, len(self._roster))
        if missing := sorted(set(proposal.alive) - set(self._seeds)):
            raise SetError(
                f"party {missing[0]} is in the set, and its seeds are not with this helper",
                where=f"helper {self.position}",
                mend="deliver its box, or leave it out",
            )

    def _opened(self, delivery: Delivery) -> dict[int, bytes] | None:
        """The seeds in a box by subset; none where they are not the ones that the party committed to."""
        context, party = self.terms.context, delivery.party
        try:
            plain = unseal(self._keys.agreement, context, party, self.position, delivery.box)
        except SealError:
            return None
        if len(plain) != SEED * len(self._held):
            return None
        seeds = {subset: plain[SEED * place : SEED * (place + 1)] for place, subset in enumerate(self._held)}
        committed = all(
            commitment(context, party, subset, seed) == delivery.commitments[subset] for subset, seed in seeds.items()
        )
        return seeds if committed else None

    def _answer(self, chosen: bytes, asked: tuple[int, ...], vector: bytes) -> Answer:
        context, member = self.terms.context, self.position
        signature = self._keys.signing.sign(answered(context, chosen, member, asked, vector))
        return Answer(context, chosen, member, asked, vector, signature)
