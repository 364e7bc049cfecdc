"""Who can take part: the roster, its root, and the committee that anybody draws from it in the same way."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from comity.core import merkle
from comity.protocols.secure_sum.encoding import Fixed, Message, Text, statement
from comity.protocols.secure_sum.errors import RosterError


@dataclass(frozen=True)
class Entry(Message):
    """One participant: its name, its raw Ed25519 and its raw X25519 public key."""

    name: Annotated[str, Text(64)]
    signing: Annotated[bytes, Fixed(32)]
    agreement: Annotated[bytes, Fixed(32)]


@dataclass(frozen=True)
class Roster:
    """Entries in order; a participant is known by its position from then on.

    A party's position in the roster is its number in messages, a helper's or member's is its position in the committee,
    both from 0. The registrar's signature over the roster is checked by whoever builds it. Raises `RosterError` where a
    name or a key stands twice.
    """

    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        for what, values in (
            ("name", {entry.name for entry in self.entries}),
            ("signing key", {entry.signing for entry in self.entries}),
            ("agreement key", {entry.agreement for entry in self.entries}),
        ):
            if len(values) != len(self.entries):
                raise RosterError(f"two entries have the same {what}", where="roster")

    def __len__(self) -> int:
        return len(self.entries)

    @cached_property
    def root(self) -> bytes:
        """The Merkle root of the encoded entries (RFC 9162)."""
        return merkle.root(entry.encode() for entry in self.entries)

    @cached_property
    def _positions(self) -> dict[bytes, int]:
        return {entry.signing: position for position, entry in enumerate(self.entries)}

    def position(self, signing: bytes) -> int:
        """Where the owner of a signing key stands. Raises `RosterError` where it is not in the roster."""
        if signing not in self._positions:
            raise RosterError("this signing key is not in the roster", where="roster")
        return self._positions[signing]

    def entry(self, position: int) -> Entry:
        """Raises `RosterError` where nobody stands there."""
        if not 0 <= position < len(self.entries):
            raise RosterError(f"nobody stands at {position} of {len(self.entries)}", where="roster")
        return self.entries[position]


def committee(candidates: Roster, beacon: bytes, c: int) -> Roster:
    """The c candidates with the lowest H(beacon ‖ signing key), in that order: nobody's choice.

    In committee mode the candidates are the roster itself; in helper mode they are the helpers' own roster. Raises
    `RosterError` where there are fewer than c.
    """
    if c > len(candidates):
        raise RosterError(f"a committee of {c} cannot be drawn from {len(candidates)}", where="committee")
    return Roster(tuple(sorted(candidates.entries, key=lambda entry: _ticket(beacon, entry.signing))[:c]))


def _ticket(beacon: bytes, signing: bytes) -> bytes:
    return hashlib.sha256(statement("ticket", beacon, signing)).digest()


def roster_of(entries: Sequence[Entry]) -> Roster:
    """The roster of `entries` in the order of their names, which is the same for everybody."""
    return Roster(tuple(sorted(entries, key=lambda entry: entry.name)))
