"""A round of committee mode in memory: every message goes through its bytes, and the transcript keeps what crossed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from comity.protocols.secure_sum.encoding import Message
from comity.protocols.secure_sum.helper import HelperKeys
from comity.protocols.secure_sum.lattice_coordinator import LatticeCoordinator
from comity.protocols.secure_sum.lattice_party import LatticeParty
from comity.protocols.secure_sum.member import Member
from comity.protocols.secure_sum.party import PartyKeys
from comity.protocols.secure_sum.promises import MemoryPromises, Promises
from comity.protocols.secure_sum.schema import (
    Announcement,
    Certificate,
    Combinations,
    ShareSum,
    Upload,
    combined,
    summed_share,
)
from comity.protocols.secure_sum.streams import little_endian
from comity.protocols.secure_sum.terms import Floors, Part, Ring
from support.helper_rounds import Crossed, Numbers, Vector, stored, taken
from support.secure_sums import MODEL, World, tokens

Change = Callable[[int, NDArray[np.uint32]], NDArray[np.uint32]]
"""What a member says instead of its elements."""


def lattice_world(
    parties: int = 12, size: int = 10, threshold: int = 3, blocks: int = 2, length: int = 50, **changes: object
) -> World:
    """A world of committee mode, by default a committee of ten: t = 3, Q = 7, l = 2."""
    parts = (Part("vector", length - 1, 1.0), Part("weight", 1, 1.0))
    given: dict[str, object] = {"headroom": 42, "blocks": blocks, **changes}
    n_max = given.pop("n_max", 100)
    assert isinstance(n_max, int)
    return World.new(parties, size, threshold, ring=Ring.LATTICE, parts=parts, n_max=n_max, **given)


@dataclass
class LatticeRound:
    """A whole round, step by step, so that a test may do one of them otherwise."""

    world: World
    coordinator: LatticeCoordinator
    announcement: Announcement
    members: dict[int, Member]
    promises: dict[str, Promises]
    wire: list[Crossed] = field(default_factory=list)

    @classmethod
    def of(cls, world: World, promises: dict[str, Promises] | None = None) -> LatticeRound:
        coordinator = LatticeCoordinator(world.terms, world.view, world.coordinator.signing)
        kept: dict[str, Promises] = {} if promises is None else promises
        round_ = cls(world, coordinator, coordinator.announcement, {}, kept)
        round_.members = {member: round_.member(member) for member in range(world.terms.size)}
        return round_

    def member(self, member: int, announcement: Announcement | None = None) -> Member:
        keys = self.world.members[member]
        kept = self.promises.setdefault(keys.name, MemoryPromises())
        own = HelperKeys(keys.signing, keys.agreement, Floors(), kept)
        return Member(announcement or self.announcement, self.world.view, own)

    def party(self, position: int, announcement: Announcement | None = None) -> LatticeParty:
        keys = self.world.parties[position]
        kept = self.promises.setdefault(keys.name, MemoryPromises())
        token = tokens(f"secrets of {keys.name}")
        return LatticeParty(
            announcement or self.announcement, self.world.view, PartyKeys(keys.signing, Floors(), kept), MODEL, token
        )

    def upload(self, position: int, numbers: Numbers) -> tuple[Upload, Vector]:
        outgoing = self.party(position).send([numbers])
        vector = taken(outgoing)
        return outgoing.message, vector

    def collect(self, numbers: Mapping[int, Numbers], change: Callable[[Upload], Upload] | None = None) -> None:
        """Every party with numbers sends its message; `change` may be what a corrupt one sends."""
        for position, own in numbers.items():
            upload, vector = self.upload(position, own)
            upload = upload if change is None else change(upload)
            self._cross(self.world.parties[position].name, "coordinator", upload, vector)
            self.coordinator.accept(Upload.decode(upload.encode()), stored(vector))

    def check(self, down: Collection[int] = (), lie: Change | None = None) -> None:
        """Everybody's boxes go to the members, except those that are down, and their combinations come back."""
        challenge = self.coordinator.close()
        for member in down:
            self.coordinator.lost(member)
        for member in self._up(down):
            for given in self.coordinator.deliveries(member):
                self._cross("coordinator", f"member {member}", given)
                self.members[member].take(type(given).decode(given.encode()))
            self._cross("coordinator", f"member {member}", challenge)
            said = self.members[member].combine(challenge)
            said = said if lie is None else self.saying(said, lie)
            self._cross(f"member {member}", "coordinator", said)
            self.coordinator.combined(Combinations.decode(said.encode()))

    def agree(self, down: Collection[int] = ()) -> Certificate:
        """The set is proposed, and every member that is up votes."""
        proposal = self.coordinator.propose()
        self._cross("coordinator", "members", proposal)
        given = None
        for member in self._up(down):
            vote = self.members[member].vote(proposal)
            self._cross(f"member {member}", "coordinator", vote)
            given = self.coordinator.vote(vote)
        assert given is not None, "too few members were up to agree"
        return given

    def reveal(self, certificate: Certificate, lie: Change | None = None, down: Collection[int] = ()) -> None:
        """Every member that is up and asked answers; `lie` may change what it says."""
        for member in down:
            self.coordinator.lost(member)
        proposal = self.coordinator._agreed()
        for member in self.coordinator.waiting() if self.coordinator.step == "revealing" else ():
            answer = self.members[member].reveal(proposal, Certificate.decode(certificate.encode()))
            answer = answer if lie is None else self.answering(answer, lie)
            self._cross(f"member {member}", "coordinator", answer)
            self.coordinator.answer(ShareSum.decode(answer.encode()))

    def run(self, numbers: Mapping[int, Numbers]) -> Vector:
        self.collect(numbers)
        self.check()
        self.reveal(self.agree())
        return self.coordinator.total

    def saying(self, said: Combinations, lie: Change) -> Combinations:
        """A member's combinations with other values, rightly signed by it."""
        values = _changed(said.member, said.values, lie)
        signed = combined(said.context, said.signatures, said.member, said.refused, values)
        return replace(said, values=values, signature=self.world.members[said.member].signing.sign(signed))

    def answering(self, answer: ShareSum, lie: Change) -> ShareSum:
        """A member's answer with another share, rightly signed by it."""
        share = _changed(answer.member, answer.share, lie)
        signed = summed_share(answer.context, answer.chosen, answer.member, share)
        return replace(answer, share=share, signature=self.world.members[answer.member].signing.sign(signed))

    def _up(self, down: Collection[int]) -> list[int]:
        return [member for member in self.members if member not in down]

    def _cross(self, sender: str, receiver: str, message: Message, vector: Vector | None = None) -> None:
        self.wire.append(Crossed(sender, receiver, message, vector))


def _changed(member: int, raw: bytes, lie: Change) -> bytes:
    return bytes(little_endian(lie(member, np.frombuffer(raw, "<u4").astype(np.uint32))))


def errors_of(total: Vector, numbers: Iterable[Numbers], modulus: int) -> NDArray[np.int64]:
    """How far a sum is from the plain one, between −q/2 and q/2."""
    plain = np.stack(list(numbers)).astype(np.int64).sum(axis=0)
    away: NDArray[np.int64] = (total.astype(np.int64) - plain) % modulus
    return np.where(away > modulus // 2, away - modulus, away)
