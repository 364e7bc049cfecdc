"""A party in helper mode: it checks the terms, then sends one message and is done (specification §3, §4, §6)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from comity.core import merkle
from comity.protocols.secure_sum.admission import View, check_announcement, check_model
from comity.protocols.secure_sum.errors import OrderError, QuantisationError, RefusalError, RosterError
from comity.protocols.secure_sum.masks import RUN, SEED, Masks, commitment, held, stream_key
from comity.protocols.secure_sum.promises import Promises
from comity.protocols.secure_sum.quantise import Token
from comity.protocols.secure_sum.schema import Announcement, Upload, uploaded
from comity.protocols.secure_sum.sealing import seal
from comity.protocols.secure_sum.streams import Outgoing
from comity.protocols.secure_sum.terms import Floors


@dataclass(frozen=True)
class PartyKeys:
    """Who a party is, what it asks of a round, and where it remembers what it promised."""

    signing: Ed25519PrivateKey
    floors: Floors
    promises: Promises


class Party:
    """One party in one attempt. Raises `RefusalError` where it does not take part; then nothing was promised or sent.

    `model` is the SHA-256 of the model as it was received. `token` is the source of the seeds.
    """

    def __init__(
        self,
        announcement: Announcement,
        view: View,
        keys: PartyKeys,
        model: bytes,
        token: Token = secrets.token_bytes,
    ) -> None:
        self.terms = announcement.terms
        self._committee = check_announcement(announcement, view, keys.floors)
        check_model(self.terms, model)
        if not self.terms.helpers:
            raise RefusalError("these terms are of committee mode", where="party")
        try:
            self.position = view.roster.position(keys.signing.public_key().public_bytes_raw())
        except RosterError as error:
            raise RefusalError("this party is not in the roster", where="party") from error
        self._keys = keys
        self._token = token
        self._spent = False

    def send(self, numbers: Iterable[NDArray[np.int32]]) -> Outgoing[Upload]:
        """The one message: the masked vector, run by run, then the upload that belongs to it.

        `numbers` are the terms' coordinates on their grid (`Grid.rounded`), with whatever noise belongs to them. Raises
        `OrderError` the second time, and `PromiseError` where this party has joined this round or a later one before;
        both before anything leaves.
        """
        if self._spent:
            raise OrderError("this party has sent its message", where=f"party {self.position}")
        self._spent = True
        self._keys.promises.join(self.terms)
        seeds = [self._token(SEED) for _ in range(self.terms.subsets)]
        return Outgoing(self._masked(numbers, seeds), lambda vector: self._upload(vector, seeds))

    def _masked(self, numbers: Iterable[NDArray[np.int32]], seeds: list[bytes]) -> Iterator[NDArray[np.uint32]]:
        context, length = self.terms.context, self.terms.length
        masks = Masks(stream_key(context, self.position, subset, seed) for subset, seed in enumerate(seeds))
        at = 0
        for long in numbers:
            for start in range(0, len(long), RUN):
                run = np.array(long[start : start + RUN], dtype=np.int32).view(np.uint32)
                if at + len(run) > length:
                    raise QuantisationError(f"there are more than {length} numbers", where=f"party {self.position}")
                masks.add(at, run)
                at += len(run)
                yield run
        if at != length:
            raise QuantisationError(f"there are {at} numbers, not {length}", where=f"party {self.position}")

    def _upload(self, vector: bytes, seeds: list[bytes]) -> Upload:
        terms, party = self.terms, self.position
        commitments = tuple(commitment(terms.context, party, subset, seed) for subset, seed in enumerate(seeds))
        boxes = tuple(
            seal(entry.agreement, terms.context, party, member, self._seeds_of(member, seeds))
            for member, entry in enumerate(self._committee.entries)
        )
        signed = uploaded(terms.context, party, vector, commitments, merkle.root(boxes))
        return Upload(terms.context, party, vector, commitments, boxes, self._keys.signing.sign(signed))

    def _seeds_of(self, member: int, seeds: list[bytes]) -> bytes:
        return b"".join([seeds[subset] for subset in held(self.terms.size, self.terms.threshold, member)])
