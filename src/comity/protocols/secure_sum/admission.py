"""What a party, helper or member checks before it takes part in an attempt: everything it can derive by itself."""

from __future__ import annotations

from dataclasses import dataclass

from comity.core import merkle
from comity.protocols.secure_sum.certificate import verified
from comity.protocols.secure_sum.errors import RefusalError, RosterError, UploadError
from comity.protocols.secure_sum.roster import Roster, committee
from comity.protocols.secure_sum.schema import Announcement, Delivery, Upload, announced, uploaded
from comity.protocols.secure_sum.terms import Floors, Terms, refusals


@dataclass(frozen=True)
class View:
    """What a participant knows without asking the coordinator.

    `roster` and `candidates` are the registrar's word (in committee mode they are the same; in helper mode the
    candidates are the helpers' roster), `beacon` draws the committee, `coordinator` is the raw Ed25519 key that
    announcements are signed with. In a job, none of them comes from the announcement that is checked against them.
    """

    roster: Roster
    candidates: Roster
    beacon: bytes
    coordinator: bytes

    def committee(self, size: int) -> Roster:
        """The committee as this participant derives it. Raises `RosterError` where there are too few candidates."""
        return committee(self.candidates, self.beacon, size)


def check_announcement(announcement: Announcement, view: View, floors: Floors) -> Roster:
    """The committee of the attempt, derived here. Raises `RefusalError` where a participant does not take part."""
    terms = announcement.terms
    if not verified(view.coordinator, announcement.signature, announced(terms.context)):
        raise _refusal(terms, "the announcement is not signed by the coordinator")
    if terms.roster != view.roster.root:
        raise _refusal(terms, "the roster is another one than the registrar's")
    try:
        derived = view.committee(terms.size)
    except RosterError as error:
        raise _refusal(terms, error.what) from error
    if terms.beacon != view.beacon or terms.committee != derived.root:
        raise _refusal(terms, "the committee is not the one that the beacon draws")
    if faults := refusals(terms, floors):
        raise _refusal(terms, f"the round {'; it '.join(faults)}")
    return derived


def check_model(terms: Terms, model: bytes) -> None:
    """Raises `RefusalError` where the model that was received, of SHA-256 `model`, is not the announced one."""
    if model != terms.model:
        raise _refusal(terms, "the model that was received is not the announced one")


def check_upload(upload: Upload, terms: Terms, roster: Roster) -> None:
    """Raises `UploadError` where an upload is for another context, of the wrong form, or not signed by its party."""
    commitments = len(upload.commitments)
    if len(upload.boxes) != terms.size:
        raise _fault(upload, f"{len(upload.boxes)} boxes for a committee of {terms.size}")
    root = merkle.root(upload.boxes)
    signed = uploaded(upload.context, upload.party, upload.vector, upload.commitments, root)
    _check_signed(upload, terms, roster, commitments, signed)


def check_delivery(given: Delivery, terms: Terms, roster: Roster, member: int) -> None:
    """Raises `UploadError` where a delivery is not what its party signed for the helper or member at `member`."""
    if not merkle.includes(given.boxes, terms.size, member, given.box, given.proof):
        raise _fault(given, f"the box is not the one that was sealed for member {member}")
    signed = uploaded(given.context, given.party, given.vector, given.commitments, given.boxes)
    _check_signed(given, terms, roster, len(given.commitments), signed)


def _check_signed(given: Upload | Delivery, terms: Terms, roster: Roster, commitments: int, signed: bytes) -> None:
    if given.context != terms.context:
        raise _fault(given, "it is for another round, attempt or other terms")
    if given.party >= len(roster):
        raise _fault(given, f"the roster has {len(roster)} parties")
    if commitments != terms.subsets:
        raise _fault(given, f"{commitments} commitments where {terms.subsets} belong")
    if not verified(roster.entry(given.party).signing, given.signature, signed):
        raise _fault(given, "the party's signature does not hold")


def _refusal(terms: Terms, fault: str) -> RefusalError:
    return RefusalError(
        fault,
        where=f"job {terms.job.hex()[:16]}, round {terms.round}, attempt {terms.attempt}",
        mend="nothing was sent; ask the coordinator's operator what this is",
    )


def _fault(given: Upload | Delivery, fault: str) -> UploadError:
    return UploadError(
        fault, where=f"message of party {given.party}", mend="it does not count; the party sends no other"
    )
