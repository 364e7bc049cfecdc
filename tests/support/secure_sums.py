"""A world for secure sums: keys, rosters, terms, and whole rounds in memory.

`World.new(parties=5, size=3, threshold=1)` makes everything from a fixed source of bytes, so two worlds of the same
shape are the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from comity.protocols.secure_sum.admission import View
from comity.protocols.secure_sum.roster import Entry, Roster, committee, roster_of
from comity.protocols.secure_sum.schema import Announcement, announced
from comity.protocols.secure_sum.terms import Part, Ring, Terms

BEACON = b"a public beacon"
MODEL = hashlib.sha256(b"the broadcast model").digest()
PARTS = (Part("vector", 6, 1.0), Part("weight", 1, 1.0), Part("loss", 2, 10.0))


def tokens(label: str) -> Callable[[int], bytes]:
    """A source of bytes that is the same for the same label: for tests and known answers alone."""
    count = 0

    def token(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(f"{label} {count}".encode()).digest(size)

    return token


@dataclass(frozen=True)
class Keys:
    """The private keys of one participant."""

    name: str
    signing: Ed25519PrivateKey
    agreement: X25519PrivateKey

    @classmethod
    def of(cls, name: str) -> Keys:
        token = tokens(name)
        signing = Ed25519PrivateKey.from_private_bytes(token(32))
        return cls(name, signing, X25519PrivateKey.from_private_bytes(token(32)))

    @property
    def entry(self) -> Entry:
        signing = self.signing.public_key().public_bytes_raw()
        return Entry(self.name, signing, self.agreement.public_key().public_bytes_raw())


@dataclass(frozen=True)
class World:
    """Parties, helpers or members, and the coordinator of one round."""

    terms: Terms
    parties: tuple[Keys, ...]
    members: tuple[Keys, ...]
    coordinator: Keys
    view: View

    @classmethod
    def new(
        cls,
        parties: int = 5,
        size: int = 3,
        threshold: int = 1,
        *,
        ring: Ring = Ring.HELPERS,
        parts: tuple[Part, ...] = PARTS,
        n_max: int = 1000,
        **changes: object,
    ) -> World:
        """In helper mode `size` helpers are the committee; in committee mode it is drawn from the parties."""
        people = tuple(Keys.of(f"party-{index:05}") for index in range(parties))
        roster = roster_of([keys.entry for keys in people])
        helpers = people if ring is Ring.LATTICE else tuple(Keys.of(f"helper-{index}") for index in range(size))
        candidates = roster_of([keys.entry for keys in helpers])
        drawn = committee(candidates, BEACON, size)
        by_name = {keys.name: keys for keys in helpers}
        coordinator = Keys.of("coordinator")
        terms = Terms(
            job=hashlib.sha256(b"job").digest(),
            round=1,
            attempt=0,
            model=MODEL,
            roster=roster.root,
            committee=drawn.root,
            beacon=BEACON,
            ring=ring.value,
            size=size,
            threshold=threshold,
            blocks=1,
            quorum=(size + threshold) // 2 + 1,
            n_min=2,
            n_max=n_max,
            clip=1.0,
            headroom=0,
            parts=parts,
            weights="examples",
            mechanism="none",
            noise=0.0,
            deadline=1_750_000_000.0,
        )
        return cls(
            replace(terms, **changes),  # type: ignore[arg-type]  # fields of Terms by name
            people,
            tuple(by_name[entry.name] for entry in drawn.entries),
            coordinator,
            View(roster, candidates, BEACON, coordinator.entry.signing),
        )

    @cached_property
    def committee(self) -> Roster:
        return self.view.committee(self.terms.size)

    def announce(self, **changes: object) -> Announcement:
        """The announcement of these terms, or of changed ones, signed by the coordinator."""
        terms = replace(self.terms, **changes)  # type: ignore[arg-type]  # fields of Terms by name
        return Announcement(terms, self.coordinator.signing.sign(announced(terms.context)))
