"""A party in committee mode: it checks the terms, then sends one message and is done (specification §5.1).

The masked vector is C = a·s + e + x modulo q. The secret s is drawn afresh for each message, shared out to the members,
and overwritten when the vector is out. (What the interpreter has copied elsewhere is beyond reach.)
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from comity.core import merkle
from comity.protocols.secure_sum.admission import View, check_announcement, check_model
from comity.protocols.secure_sum.errors import OrderError, QuantisationError, RefusalError, RosterError
from comity.protocols.secure_sum.field import Elements, canonical, uniform
from comity.protocols.secure_sum.keystream import KEY, Keystream
from comity.protocols.secure_sum.lattice import RowMasks, agreed_sharing, in_blocks
from comity.protocols.secure_sum.party import PartyKeys
from comity.protocols.secure_sum.quantise import Token
from comity.protocols.secure_sum.ring import ERROR_BOUND, N, errors
from comity.protocols.secure_sum.schema import Announcement, Upload, uploaded
from comity.protocols.secure_sum.sealing import seal
from comity.protocols.secure_sum.streams import Outgoing, little_endian


class LatticeParty:
    """One party in one attempt. Raises `RefusalError` where it does not take part; then nothing was promised or sent.

    `model` is the SHA-256 of the model as it was received. `token` is the source of all that is secret.
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
        self._sharing = agreed_sharing(self.terms)
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
        stream = Keystream(self._token(KEY))
        secret = uniform(stream, N)
        boxes = self._boxes(secret, stream)
        masks = RowMasks(self.terms.context, secret)
        secret.fill(0)
        return Outgoing(self._masked(numbers, masks), lambda vector: self._upload(vector, boxes))

    def _masked(self, numbers: Iterable[NDArray[np.int32]], masks: RowMasks) -> Iterator[Elements]:
        noise = Keystream(self._token(KEY))
        at, length, place = 0, self.terms.length, f"party {self.position}"
        most = self.terms.steps + self.terms.headroom - ERROR_BOUND
        try:
            for index, run in enumerate(in_blocks(numbers)):
                if at + len(run) > length:
                    raise QuantisationError(f"there are more than {length} numbers", where=place)
                if max(int(run.max()), -int(run.min())) > most:
                    raise QuantisationError(f"a number is beyond {most}: sums could wrap", where=place)
                at += len(run)
                masked = masks.block(index, len(run))
                masked += run
                masked += errors(noise, len(run))
                yield canonical(masked)
        finally:
            masks.erase()
        if at != length:
            raise QuantisationError(f"there are {at} numbers, not {length}", where=place)

    def _boxes(self, secret: Elements, stream: Keystream) -> tuple[bytes, ...]:
        """Each member's share, sealed for it: N/l + 1 elements as little-endian uint32."""
        shares = self._sharing.shares(secret, stream)
        boxes = tuple(
            seal(entry.agreement, self.terms.context, self.position, member, bytes(little_endian(shares[member])))
            for member, entry in enumerate(self._committee.entries)
        )
        shares.fill(0)
        return boxes

    def _upload(self, vector: bytes, boxes: tuple[bytes, ...]) -> Upload:
        context, party = self.terms.context, self.position
        signed = uploaded(context, party, vector, (), merkle.root(boxes))
        return Upload(context, party, vector, (), boxes, self._keys.signing.sign(signed))
