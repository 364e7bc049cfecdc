"""The coordinator in committee mode: it collects, has a set certified, and takes the masks off (specification §5).

Steps: *collecting* (`accept` as uploads come, each added up at once) → *checking* (`close`, `deliveries`, `challenge`,
`combined`) → *agreeing* (`propose`, `vote`) → *revealing* (`waiting`, `answer`, `finish`) → *done* (`total`,
`closing`). `lost` says at any time that a member is down. What cannot go on raises `AbortError`, and the attempt is
over.

What is left to do after the last upload does not depend on the parties, but for a few bytes of each: one product of the
public polynomials with the summed secret, and one subtraction. Vectors of parties that turn out bad are taken off
again.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comity.core import merkle
from comity.protocols.secure_sum.admission import View, check_announcement, check_upload
from comity.protocols.secure_sum.certificate import Certificate, Proposal, Vote, certificate, check_vote, verified
from comity.protocols.secure_sum.coordinator import Fault, Step
from comity.protocols.secure_sum.errors import AbortError, AnswerError, OrderError, UploadError
from comity.protocols.secure_sum.field import Elements, Q, canonical, reduce, uniform
from comity.protocols.secure_sum.keystream import KEY, Keystream
from comity.protocols.secure_sum.lattice import RowMasks, add_elements, agreed_sharing, subtract_elements
from comity.protocols.secure_sum.quantise import Token
from comity.protocols.secure_sum.ring import BLOCK, error_std
from comity.protocols.secure_sum.schema import (
    Announcement,
    Challenge,
    Closing,
    Combinations,
    Delivery,
    ShareSum,
    Upload,
    announced,
    combined,
    deliveries,
    summed_share,
)
from comity.protocols.secure_sum.shares_check import judge
from comity.protocols.secure_sum.streams import Runs, Source, checked_digest, little_endian
from comity.protocols.secure_sum.terms import Floors, Terms


@dataclass(frozen=True)
class _Stored:
    upload: Upload
    deliveries: tuple[Delivery, ...]
    vector: Source


class LatticeCoordinator:
    """The coordinator of one attempt. Its memory is one vector of the terms' length, whatever the number of parties.

    `faults` names who broke the protocol, and how. `token` is the source of the weights that answers are compared with.
    Raises `RefusalError` where the terms do not fit its own view.
    """

    def __init__(
        self, terms: Terms, view: View, signing: Ed25519PrivateKey, token: Token = secrets.token_bytes
    ) -> None:
        self.terms = terms
        self.announcement = Announcement(terms, signing.sign(announced(terms.context)))
        self.step = Step.COLLECTING
        self.faults: list[Fault] = []
        self._roster = view.roster
        self._committee = check_announcement(self.announcement, view, Floors())
        self._sharing = agreed_sharing(terms)
        self._token = token
        self._live = set(range(terms.size))
        self._aside: set[int] = set()
        self._sum = np.zeros(terms.length, dtype=np.uint32)
        self._stored: dict[int, _Stored] = {}
        self._challenge: Challenge | None = None
        self._said: dict[int, Combinations] = {}
        self._votes: dict[int, Vote] = {}
        self._answers: dict[int, Elements] = {}
        self._proposal: Proposal | None = None
        self._certificate: Certificate | None = None
        self._witnesses = 0

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
        if checked_digest(_below_q(vector(), place), self.terms.length) != upload.vector:
            raise UploadError("the vector is not the one that was signed", where=place, mend="send it again")
        add_elements(self._sum, vector())
        self._stored[upload.party] = _Stored(upload, deliveries(upload), vector)

    def close(self) -> Challenge:
        """No party joins any more: what the members are to answer for. Raises `AbortError` below n_min parties."""
        self._due(Step.COLLECTING)
        self.step = Step.CHECKING
        self._require_parties()
        parties = tuple(sorted(self._stored))
        root = merkle.root(self._stored[party].upload.signature for party in parties)
        self._challenge = Challenge(self.terms.context, parties, root)
        return self._challenge

    def deliveries(self, member: int) -> Iterator[Delivery]:
        """What the member at `member` gets before the challenge, party by party."""
        self._due(Step.CHECKING)
        return (self._stored[party].deliveries[member] for party in sorted(self._stored))

    def combined(self, said: Combinations) -> None:
        """A member's word on its shares. Raises `AnswerError` where it is not its word."""
        self._due(Step.CHECKING)
        context, member, challenge = said.context, said.member, self._asked()
        signed = combined(context, said.signatures, member, said.refused, said.values)
        self._check_member(context, member, signed, said.signature)
        place = f"combinations of member {member}"
        if said.signatures != challenge.signatures or not set(said.refused) <= set(challenge.parties):
            raise AnswerError("they are about another list of parties", where=place)
        if len(said.values) != 4 * len(challenge.parties) or _elements(said.values).max(initial=0) >= Q:
            raise AnswerError("they are not one element for each party", where=place)
        self._said.setdefault(member, said)

    def propose(self) -> Proposal:
        """The set: all whose shares the members agree about. The others' vectors are taken from the sum again.

        Raises `AbortError` where fewer than n_min are left, and `OrderError` while a live member has not said.
        """
        self._due(Step.CHECKING)
        if waiting := self._live - set(self._said):
            raise OrderError(f"member {min(waiting)} has not answered", where="propose", mend="or it is lost")
        verdict = judge(self._sharing, self._asked().parties, self._said)
        for party in sorted(verdict.spoiled):
            self._drop(party, "dealt shares that are on no polynomial")
        for party in sorted(verdict.settlement.parties):
            self._drop(party, "dealt a share that a member disputes")
        for member in sorted(verdict.settlement.members):
            self._set_aside(member, "disputes shares on which the others agree")
        self._require_parties()
        alive = tuple(sorted(self._stored))
        dropped = tuple(sorted(set(range(len(self._roster))) - set(alive)))
        self._proposal = Proposal(self.terms.context, alive, dropped)
        self.step = Step.AGREEING
        self._require_members()
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
        return self._certificate

    def waiting(self) -> tuple[int, ...]:
        """The members that are to reveal their summed share and have not."""
        self._due(Step.REVEALING)
        return tuple(sorted(self._trusted() - set(self._answers)))

    def answer(self, answer: ShareSum) -> None:
        """Take a member's summed share; the last one that can come ends the attempt.

        Raises `AnswerError` for one that does not hold, and `AbortError` as `finish` does.
        """
        self._due(Step.REVEALING)
        context, chosen, member, place = (
            answer.context,
            answer.chosen,
            answer.member,
            f"answer of member {answer.member}",
        )
        self._check_member(context, member, summed_share(context, chosen, member, answer.share), answer.signature)
        if chosen != self._agreed().digest:
            raise AnswerError("the answer is about another set", where=place)
        share = _elements(answer.share)
        if len(share) != self._sharing.columns or share.max(initial=0) >= Q:
            raise AnswerError(f"it is not {self._sharing.columns} elements", where=place)
        if member in self._aside:
            raise AnswerError("this member is set aside", where=place)
        self._answers.setdefault(member, share)
        if not self.waiting():
            self.finish()

    def finish(self) -> None:
        """Take the masks off with the answers that are there.

        t + l answers give the sum of the secrets; those beyond show who lies, as long as (answers − t − l)/2 do. Raises
        `OrderError` where there are fewer than t + l, and `AbortError` where the answers contradict each other and
        nobody can tell who lied.
        """
        self._due(Step.REVEALING)
        if len(self._answers) < self._sharing.dimension:
            missing = f"{len(self._answers)} answers, and {self._sharing.dimension} are needed"
            raise OrderError(missing, where="finish", mend="wait for more")
        for member in self._liars():
            self._set_aside(member, "answered with a share that is off the others' polynomial")
        members = sorted(self._answers)
        self._witnesses = len(members) - self._sharing.dimension
        first = members[: self._sharing.dimension]
        self._unmask(self._sharing.secret(first, np.stack([self._answers[member] for member in first])))
        self.step = Step.DONE

    def lost(self, member: int) -> None:
        """A member is down. Raises `AbortError` where the attempt cannot be ended without it."""
        if self.step in (Step.DONE, Step.ABORTED):
            return
        self._live.discard(member)
        self._require_members()
        if self.step is Step.REVEALING and not self.waiting():
            self.finish()

    @property
    def total(self) -> Elements:
        """The sum over the certified set, modulo q, and with the sum of the parties' errors (`error_std`)."""
        self._due(Step.DONE)
        return self._sum

    @property
    def error_std(self) -> float:
        """The standard deviation of the error of an entry of `total`, in steps of the grid: √(21 · |U|)."""
        return error_std(len(self.parties))

    @property
    def parties(self) -> tuple[int, ...]:
        """The certified set U."""
        self._due(Step.DONE)
        return self._agreed().alive

    @property
    def unwitnessed(self) -> bool:
        """Whether no answer was to spare, so that a member's lie could not have been seen."""
        self._due(Step.DONE)
        return self._witnesses == 0

    def closing(self) -> Closing:
        """What is logged of the attempt."""
        result = hashlib.sha256(little_endian(self.total)).digest()
        return Closing(self.terms.context, self._agreed().digest, result, self._shown())

    def _unmask(self, secret: Elements) -> None:
        masks = RowMasks(self.terms.context, secret)
        for index, start in enumerate(range(0, len(self._sum), BLOCK)):
            part = self._sum[start : start + BLOCK]
            bare = np.subtract(part, masks.block(index, len(part)))
            reduce(bare, np.empty_like(bare))
            part[:] = canonical(bare)

    def _liars(self) -> tuple[int, ...]:
        """Who answered off the polynomial of the others, found in one random combination of the columns."""
        members = sorted(self._answers)
        shares = np.stack([self._answers[member] for member in members])
        if self._sharing.consistent(members, shares).all():
            return ()
        weights = uniform(Keystream(self._token(KEY)), self._sharing.columns)
        products = shares.astype(np.uint64) * weights % np.uint64(Q)
        astray = self._sharing.astray(members, (products.sum(axis=1) % np.uint64(Q)).astype(np.uint32))
        if not astray:
            self._abort(f"the answers of {len(members)} members contradict each other, and nobody can tell who lied")
        return astray

    def _trusted(self) -> set[int]:
        return self._live - self._aside

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

    def _drop(self, party: int, what: str) -> None:
        subtract_elements(self._sum, self._stored.pop(party).vector())
        self._name(self._roster.entry(party).name, what)

    def _set_aside(self, member: int, what: str) -> None:
        self._aside.add(member)
        self._answers.pop(member, None)
        self._name(self._committee.entry(member).name, what)

    def _name(self, who: str, what: str) -> None:
        if (fault := Fault(who, what)) not in self.faults:
            self.faults.append(fault)

    def _check_member(self, context: bytes, member: int, signed: bytes, signature: bytes) -> None:
        place = f"member {member}"
        if context != self.terms.context:
            raise AnswerError("it is for another round, attempt or other terms", where=place)
        if member >= self.terms.size:
            raise AnswerError(f"the committee has {self.terms.size} members", where=place)
        if not verified(self._committee.entry(member).signing, signature, signed):
            raise AnswerError("the member's signature does not hold", where=place)

    def _require_parties(self) -> None:
        if len(self._stored) < self.terms.n_min:
            self._abort(f"{len(self._stored)} parties are left, fewer than n_min = {self.terms.n_min}")

    def _require_members(self) -> None:
        if self._certificate is None and len(self._live | set(self._votes)) < self.terms.quorum:
            self._abort(f"{len(self._live)} members are live, and {self.terms.quorum} are needed to agree to a set")
        if len(self._trusted() | set(self._answers)) < self._sharing.dimension:
            self._abort(f"{len(self._trusted())} members can answer, and {self._sharing.dimension} are needed")

    def _abort(self, what: str) -> NoReturn:
        self.step = Step.ABORTED
        raise AbortError(
            what,
            where=f"round {self.terms.round}, attempt {self.terms.attempt}",
            mend="the attempt ends without a sum; begin another when enough are there",
        )

    def _asked(self) -> Challenge:
        if self._challenge is None:
            raise OrderError("the list of parties is not closed", where="coordinator")
        return self._challenge

    def _agreed(self) -> Proposal:
        if self._proposal is None:
            raise OrderError("no set was proposed", where="coordinator")
        return self._proposal

    def _shown(self) -> Certificate:
        if self._certificate is None:
            raise OrderError("no set is certified", where="coordinator")
        return self._certificate


def _elements(raw: bytes) -> Elements:
    """Numbers from their bytes as they travel; none where these are no whole numbers of 4 bytes."""
    return np.frombuffer(raw if len(raw) % 4 == 0 else b"", "<u4").astype(np.uint32)


def _below_q(runs: Runs, place: str) -> Iterator[Elements]:
    for run in runs:
        if run.dtype == np.uint32 and run.max(initial=0) >= Q:
            raise UploadError("the vector has numbers that are not below q", where=place, mend="send it again")
        yield run
