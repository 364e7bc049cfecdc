"""The coordinator in helper mode: it collects, has a set certified, and takes the masks off (specification §6).

Steps: *collecting* (`accept` as uploads come, each added up at once) → *checking* (`close`, `deliveries`, `found`) →
*agreeing* (`propose`, `vote`) → *revealing* (`questions`, `answer`) → *done* (`total`, `closing`). `lost` says at any
time that a helper is down. What cannot go on raises `AbortError`, and the attempt is over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from comity.protocols.secure_sum.admission import View, check_announcement, check_upload
from comity.protocols.secure_sum.certificate import (
    Certificate,
    Proposal,
    Vote,
    certificate,
    check_vote,
    verified,
)
from comity.protocols.secure_sum.errors import AbortError, AnswerError, OrderError, UploadError
from comity.protocols.secure_sum.inquiry import Group, Inquiry, contradiction
from comity.protocols.secure_sum.schema import (
    Announcement,
    Answer,
    Closing,
    Delivery,
    Findings,
    Reveal,
    Upload,
    announced,
    answered,
    delivery,
    found,
)
from comity.protocols.secure_sum.streams import Source, add, checked_digest, little_endian, subtract
from comity.protocols.secure_sum.terms import Floors, Terms


class Step(StrEnum):
    """Where an attempt stands."""

    COLLECTING = "collecting"
    CHECKING = "checking"
    AGREEING = "agreeing"
    REVEALING = "revealing"
    DONE = "done"
    ABORTED = "aborted"


@dataclass(frozen=True)
class Fault:
    """Something that a party or helper, known by its name in the roster, did against the protocol: for the log."""

    who: str
    what: str


@dataclass(frozen=True)
class _Stored:
    upload: Upload
    vector: Source


class Coordinator:
    """The coordinator of one attempt. Its memory is one vector of the terms' length, whatever the number of parties.

    `faults` names who broke the protocol, and how. Raises `RefusalError` where the terms do not fit its own view.
    """

    def __init__(self, terms: Terms, view: View, signing: Ed25519PrivateKey) -> None:
        self.terms = terms
        self.announcement = Announcement(terms, signing.sign(announced(terms.context)))
        self.step = Step.COLLECTING
        self.faults: list[Fault] = []
        self._roster = view.roster
        self._committee = check_announcement(self.announcement, view, Floors())
        self._live = set(range(terms.size))
        self._sum = np.zeros(terms.length, dtype=np.uint32)
        self._stored: dict[int, _Stored] = {}
        self._findings: dict[int, Findings] = {}
        self._votes: dict[int, Vote] = {}
        self._vectors: dict[tuple[int, Group], Source] = {}
        self._proposal: Proposal | None = None
        self._certificate: Certificate | None = None
        self._inquiry: Inquiry | None = None

    def accept(self, upload: Upload, vector: Source) -> None:
        """Add a party's vector to the sum. The same upload again changes nothing.

        Raises `UploadError` for one that does not count: not signed, another vector than the signed one, a second one
        of the party, or one more than n_max.
        """
        self._due(Step.COLLECTING)
        check_upload(upload, self.terms, self._roster)
        if (earlier := self._stored.get(upload.party)) is not None:
            self._repeated(upload, earlier.upload)
            return
        place = f"message of party {upload.party}"
        if len(self._stored) >= self.terms.n_max:
            raise UploadError(f"the round is full: {self.terms.n_max} parties", where=place, mend="join the next one")
        if checked_digest(vector(), self.terms.length) != upload.vector:
            raise UploadError("the vector is not the one that was signed", where=place, mend="send it again")
        add(self._sum, vector())
        self._stored[upload.party] = _Stored(upload, vector)

    def close(self) -> None:
        """No party joins any more. Raises `AbortError` where there are fewer than n_min."""
        self._due(Step.COLLECTING)
        self.step = Step.CHECKING
        self._require_parties()

    def deliveries(self, member: int) -> Iterator[Delivery]:
        """What the helper at `member` gets, party by party."""
        self._due(Step.CHECKING, Step.AGREEING, Step.REVEALING)
        return (delivery(self._stored[party].upload, member) for party in sorted(self._stored))

    def found(self, findings: Findings) -> None:
        """A helper's word on the deliveries. Raises `AnswerError` where it is not its word."""
        self._due(Step.CHECKING)
        context, member, refused = findings.context, findings.member, findings.refused
        self._check_member(context, member, found(context, member, refused), findings.signature)
        self._findings[member] = findings

    def propose(self) -> Proposal:
        """The set: all whose seeds every live helper can use. The others' vectors are taken from the sum again.

        Raises `AbortError` where fewer than n_min are left, and `OrderError` while a live helper has not said.
        """
        self._due(Step.CHECKING)
        if waiting := self._live - set(self._findings):
            raise OrderError(f"helper {min(waiting)} has not told its findings", where="propose", mend="or it is lost")
        for member, findings in sorted(self._findings.items()):
            for party in findings.refused:
                self._drop(party, member)
        self._require_parties()
        alive = tuple(sorted(self._stored))
        dropped = tuple(sorted(set(range(len(self._roster))) - set(alive)))
        self._proposal = Proposal(self.terms.context, alive, dropped)
        self.step = Step.AGREEING
        return self._proposal

    def vote(self, given: Vote) -> Certificate | None:
        """Count a vote: the certificate once a quorum is there. Raises `CertificateError` for one that is none."""
        self._due(Step.AGREEING, Step.REVEALING)
        proposal = self._agreed()
        check_vote(given, self.terms, proposal.digest, self._committee)
        self._votes.setdefault(given.member, given)
        if self._certificate is None and len(self._votes) >= self.terms.quorum:
            self._certificate = certificate(self.terms, proposal.digest, self._votes.values())
            self.step = Step.REVEALING
            with self._aborting():
                self._inquiry = Inquiry(self.terms.size, self.terms.threshold, self._live)
        return self._certificate

    def questions(self) -> tuple[tuple[int, Reveal], ...]:
        """What is to be asked of which helper and not yet answered; after `answer` and `lost` it can be more."""
        self._due(Step.REVEALING)
        proposal, shown = self._agreed(), self._shown()
        return tuple(
            (member, Reveal(proposal, shown, group, 0 if wanted else 1))
            for member, group, wanted in self._asked().open()
        )

    def answer(self, answer: Answer, vector: Source | None = None) -> None:
        """Take an answer, with the vector unless the helper only bore witness; the last one ends the attempt.

        Raises `AnswerError` for one that does not hold, and `AbortError` where the answers contradict each other and
        nobody can tell who lied. A helper that is found out is named in `faults`, and others are asked.
        """
        self._due(Step.REVEALING)
        chosen, member, group = answer.chosen, answer.member, answer.subsets
        signed = answered(answer.context, chosen, member, group, answer.vector)
        self._check_member(answer.context, member, signed, answer.signature)
        place = f"answer of helper {member}"
        if chosen != self._agreed().digest:
            raise AnswerError("the answer is about another set", where=place)
        if vector is not None and checked_digest(vector(), self.terms.length) != answer.vector:
            raise AnswerError("the vector is not the one that was signed", where=place, mend="send it again")
        if vector is not None:
            self._vectors[member, group] = vector
        with self._aborting():
            self._asked().answer(member, group, answer.vector, brought=vector is not None)
            self._finish()

    def lost(self, member: int) -> None:
        """A helper is down. Raises `AbortError` where the attempt cannot be ended without it."""
        if self.step in (Step.DONE, Step.ABORTED):
            return
        self._live.discard(member)
        if self._inquiry is not None:
            with self._aborting():
                self._inquiry.lost(member)
                self._finish()
        elif len(self._live | set(self._votes)) < self.terms.quorum:
            self._abort(f"{len(self._live)} helpers are live, and {self.terms.quorum} are needed to agree to a set")

    @property
    def total(self) -> NDArray[np.uint32]:
        """The sum over the certified set, mod 2³²."""
        self._due(Step.DONE)
        return self._sum

    @property
    def parties(self) -> tuple[int, ...]:
        """The certified set U."""
        self._due(Step.DONE)
        return self._agreed().alive

    @property
    def unwitnessed(self) -> bool:
        """Whether a part of the masks rests on one helper's word, because no other that knows it was live."""
        self._due(Step.DONE)
        return bool(self._asked().unwitnessed)

    def closing(self) -> Closing:
        """What is logged of the attempt."""
        result = hashlib.sha256(little_endian(self.total)).digest()
        return Closing(self.terms.context, self._agreed().digest, result, self._shown())

    def _due(self, *steps: Step) -> None:
        if self.step not in steps:
            raise OrderError(f"the attempt is {self.step}, not {' or '.join(steps)}", where="coordinator")

    def _repeated(self, upload: Upload, earlier: Upload) -> None:
        if upload == earlier:
            return
        self._name(self._roster.entry(upload.party).name, "signed two different messages for one round")
        raise UploadError(
            "the party has sent another message for this round",
            where=f"message of party {upload.party}",
            mend="one message a round; the first one counts",
        )

    def _drop(self, party: int, member: int) -> None:
        helper = self._committee.entry(member).name
        if (stored := self._stored.pop(party, None)) is not None:
            subtract(self._sum, stored.vector())
            self._name(self._roster.entry(party).name, f"sealed seeds that helper {helper} says it cannot use")

    def _require_parties(self) -> None:
        if len(self._stored) < self.terms.n_min:
            self._abort(f"{len(self._stored)} parties are left, fewer than n_min = {self.terms.n_min}")

    def _check_member(self, context: bytes, member: int, signed: bytes, signature: bytes) -> None:
        place = f"helper {member}"
        if context != self.terms.context:
            raise AnswerError("it is for another round, attempt or other terms", where=place)
        if member >= self.terms.size:
            raise AnswerError(f"the committee has {self.terms.size} helpers", where=place)
        if not verified(self._committee.entry(member).signing, signature, signed):
            raise AnswerError("the helper's signature does not hold", where=place)

    def _finish(self) -> None:
        """Name who was found out; when every question is settled, take the masks off and end."""
        inquiry = self._asked()
        settled = inquiry.settled()
        if settled is not None and inquiry.disputed:
            self._judge_disputes(inquiry, settled)
            settled = inquiry.settled()
        self._name_liars()
        if settled is not None:
            for giver in settled:
                subtract(self._sum, self._vectors[giver]())
            self.step = Step.DONE

    def _judge_disputes(self, inquiry: Inquiry, settled: tuple[tuple[int, Group], ...]) -> None:
        """Subset by subset the masks of a disputed group are known: whoever answered something else had lied.

        Unless, for some subset, that is the word of one helper alone: then it stands against another's.
        """
        vectors = {group: self._vectors[member, group] for member, group in settled}
        for group, answers in inquiry.disputed.items():
            true = np.zeros(self.terms.length, dtype=np.uint32)
            for number in group:
                add(true, vectors[(number,)]())
            digest = hashlib.sha256(little_endian(true)).digest()
            right = {member for member, other in answers.items() if other == digest}
            if any(len(right | inquiry.backers((number,))) < 2 for number in group):
                raise contradiction(answers, group)
            for member in sorted(set(answers) - right):
                inquiry.convict(member, f"answered wrongly for subsets {', '.join(map(str, group))}")
        inquiry.disputed.clear()

    def _name_liars(self) -> None:
        for member, what in self._inquiry.liars.items() if self._inquiry is not None else ():
            self._name(self._committee.entry(member).name, what)

    def _name(self, who: str, what: str) -> None:
        if (fault := Fault(who, what)) not in self.faults:
            self.faults.append(fault)

    @contextmanager
    def _aborting(self) -> Iterator[None]:
        """An `AbortError` within ends the attempt, and names whom it found out."""
        try:
            yield
        except AbortError:
            self.step = Step.ABORTED
            self._name_liars()
            raise

    def _abort(self, what: str) -> None:
        self.step = Step.ABORTED
        raise AbortError(
            what,
            where=f"round {self.terms.round}, attempt {self.terms.attempt}",
            mend="the attempt ends, and the sum stays hidden; begin another when enough are there",
        )

    def _agreed(self) -> Proposal:
        if self._proposal is None:
            raise OrderError("no set was proposed", where="coordinator")
        return self._proposal

    def _shown(self) -> Certificate:
        if self._certificate is None:
            raise OrderError("no set is certified", where="coordinator")
        return self._certificate

    def _asked(self) -> Inquiry:
        if self._inquiry is None:
            raise OrderError("nothing is asked before a set is certified", where="coordinator")
        return self._inquiry
