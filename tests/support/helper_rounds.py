"""A round of helper mode in memory: every message goes through its bytes, and the transcript keeps what crossed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comity.core import merkle
from comity.protocols.secure_sum.coordinator import Coordinator
from comity.protocols.secure_sum.encoding import Message
from comity.protocols.secure_sum.helper import Helper, HelperKeys
from comity.protocols.secure_sum.party import Party, PartyKeys
from comity.protocols.secure_sum.promises import MemoryPromises, Promises
from comity.protocols.secure_sum.schema import Announcement, Answer, Certificate, Reveal, Upload, answered, uploaded
from comity.protocols.secure_sum.streams import Outgoing, Source, little_endian
from comity.protocols.secure_sum.terms import Floors
from support.secure_sums import MODEL, World, tokens

Numbers = NDArray[np.int32]
Vector = NDArray[np.uint32]


def stored(vector: Vector) -> Source:
    """A vector in memory, given in runs of odd lengths."""
    return lambda: (vector[start : start + 1000] for start in range(0, len(vector), 1000))


def taken(outgoing: Outgoing[Any]) -> Vector:
    """All that goes out, as one array; then `outgoing.message` is there."""
    return np.concatenate([run.copy() for run in outgoing])


def numbers_of(world: World, parties: Iterable[int], seed: int = 0) -> dict[int, Numbers]:
    """Numbers on the grid of a world's terms, between −B and B inclusive, for each party's position."""
    steps = world.terms.steps
    return {
        party: np.random.default_rng([seed, party])
        .integers(-steps, steps, world.terms.length, endpoint=True)
        .astype(np.int32)
        for party in parties
    }


@dataclass
class Crossed:
    """One message on the wire: who sent it to whom, what it is, and the vector beside it."""

    sender: str
    receiver: str
    message: Message
    vector: Vector | None = None

    @property
    def raw(self) -> bytes:
        """All bytes of it."""
        return self.message.encode() + (b"" if self.vector is None else bytes(little_endian(self.vector)))


@dataclass
class HelperRound:
    """A whole round, step by step, so that a test may do one of them otherwise."""

    world: World
    coordinator: Coordinator
    announcement: Announcement
    helpers: dict[int, Helper]
    promises: dict[str, Promises]
    wire: list[Crossed] = field(default_factory=list)

    @classmethod
    def of(cls, world: World, promises: dict[str, Promises] | None = None) -> HelperRound:
        coordinator = Coordinator(world.terms, world.view, world.coordinator.signing)
        kept: dict[str, Promises] = {} if promises is None else promises
        round_ = cls(world, coordinator, coordinator.announcement, {}, kept)
        round_.helpers = {member: round_.helper(member) for member in range(world.terms.size)}
        return round_

    def helper(self, member: int, announcement: Announcement | None = None) -> Helper:
        keys = self.world.members[member]
        kept = self.promises.setdefault(keys.name, MemoryPromises())
        own = HelperKeys(keys.signing, keys.agreement, Floors(), kept)
        return Helper(announcement or self.announcement, self.world.view, own)

    def party(self, position: int, announcement: Announcement | None = None) -> Party:
        keys = self.world.parties[position]
        kept = self.promises.setdefault(keys.name, MemoryPromises())
        own = PartyKeys(keys.signing, Floors(), kept)
        token = tokens(f"seeds of {keys.name}")
        return Party(announcement or self.announcement, self.world.view, own, MODEL, token)

    def upload(self, position: int, numbers: Numbers) -> tuple[Upload, Vector]:
        outgoing = self.party(position).send([numbers])
        vector = taken(outgoing)
        return outgoing.message, vector

    def collect(self, numbers: Mapping[int, Numbers]) -> None:
        """Every party with numbers sends its message."""
        for position, own in numbers.items():
            upload, vector = self.upload(position, own)
            self._cross(self.world.parties[position].name, "coordinator", upload, vector)
            self.coordinator.accept(Upload.decode(upload.encode()), stored(vector))

    def check(self, down: Sequence[int] = ()) -> None:
        """Everybody's boxes go to the helpers, except those that are down, and their findings come back."""
        self.coordinator.close()
        for member in down:
            self.coordinator.lost(member)
        for member in self._up(down):
            for given in self.coordinator.deliveries(member):
                self._cross("coordinator", f"helper {member}", given)
                self.helpers[member].take(type(given).decode(given.encode()))
            findings = self.helpers[member].findings()
            self._cross(f"helper {member}", "coordinator", findings)
            self.coordinator.found(findings)

    def agree(self, down: Sequence[int] = ()) -> Certificate:
        """The set is proposed, and every helper that is up votes."""
        proposal = self.coordinator.propose()
        given = None
        for member in self._up(down):
            self._cross("coordinator", f"helper {member}", proposal)
            vote = self.helpers[member].vote(proposal)
            self._cross(f"helper {member}", "coordinator", vote)
            given = self.coordinator.vote(vote)
        assert given is not None, "too few helpers were up to agree"
        return given

    def reveal(self, lie: Callable[[int, tuple[int, ...], Vector], Vector] | None = None) -> None:
        """Questions are asked and answered until there are none; `lie` may change what a helper answers."""
        while self.coordinator.step == "revealing":
            member, request = self.coordinator.questions()[0]
            self._cross("coordinator", f"helper {member}", request)
            answer, vector = self.answer(member, request, lie)
            wanted = request.witness == 0
            self._cross(f"helper {member}", "coordinator", answer, vector if wanted else None)
            self.coordinator.answer(answer, stored(vector) if wanted else None)

    def answer(
        self,
        member: int,
        request: Reveal,
        lie: Callable[[int, tuple[int, ...], Vector], Vector] | None = None,
    ) -> tuple[Answer, Vector]:
        outgoing = self.helpers[member].reveal(Reveal.decode(request.encode()))
        vector = taken(outgoing)
        if lie is None:
            return outgoing.message, vector
        return self.lying(member, outgoing.message, lie(member, request.subsets, vector))

    def lying(self, member: int, answer: Answer, vector: Vector) -> tuple[Answer, Vector]:
        """A helper's answer with another vector, rightly signed by it."""
        digest = hashlib.sha256(little_endian(vector)).digest()
        signed = answered(answer.context, answer.chosen, member, answer.subsets, digest)
        signature = self.world.members[member].signing.sign(signed)
        return replace(answer, vector=digest, signature=signature), vector

    def run(self, numbers: Mapping[int, Numbers]) -> Vector:
        self.collect(numbers)
        self.check()
        self.agree()
        self.reveal()
        return self.coordinator.total

    def _up(self, down: Sequence[int]) -> list[int]:
        return [member for member in self.helpers if member not in down]

    def _cross(self, sender: str, receiver: str, message: Message, vector: Vector | None = None) -> None:
        self.wire.append(Crossed(sender, receiver, message, vector))


def resigned(world: World, upload: Upload) -> Upload:
    """A changed upload, signed again by its own party: what a corrupt party sends."""
    root = merkle.root(upload.boxes)
    signed = uploaded(upload.context, upload.party, upload.vector, upload.commitments, root)
    return replace(upload, signature=world.parties[upload.party].signing.sign(signed))


def plain_sum(numbers: Iterable[Numbers]) -> Numbers:
    """The sum that is to come out, as int32: no sum of a world's numbers is beyond that."""
    total: NDArray[np.int64] = np.stack(list(numbers)).astype(np.int64).sum(axis=0)
    assert np.abs(total).max() < 1 << 31
    return total.astype(np.int32)
