"""Every message of a secure sum, and who learns what from it.

`Message` (encoding.py) gives each its canonical bytes: `encode()`, `decode(bytes)`. Parties are known by their position
in the roster, helpers and members by theirs in the committee, both from 0. A masked vector is no message: it travels
beside the `Upload` or `Answer` that has its SHA-256, as little-endian uint32.

| message | from → to | what its readers learn |
|---|---|---|
| `Announcement` | coordinator → all, log | the terms; nothing of anybody's data |
| `Upload` + vector | party → coordinator | that the party takes part; the vector is masked, uniform without the seeds
or shares |
| `Delivery` | coordinator → one helper or member | the seeds or shares of one party that are for it |
| `Findings` | helper → coordinator | which parties' boxes were bad |
| `Proposal` | coordinator → helpers, members, log | who is in the sum, who dropped |
| `Vote` | helper or member → coordinator | that it signed this set |
| `Certificate` | coordinator → helpers, members, log | that Q of them did |
| `Reveal` | coordinator → helper | which seeds it is to answer for |
| `Answer` + vector | helper → coordinator | the sum over the set of masks of the asked seeds: with all of them, the
sum, nothing else |
| `Challenge` | coordinator → members | who has uploaded |
| `Combinations` | member → coordinator | one masked combination of each share, which is uniform; whose boxes were
bad |
| `ShareSum` | member → coordinator | the sum over the certified set of the shares of a member: with t + l of them, the
sum of the secrets, nothing else |
| `Closing` | coordinator → log | hashes of the set and the result, and the certificate |

The coordinator, any number of parties and at most t helpers or members together learn the sum over the honest parties
of the certified set (at least n_min of all parties), and nothing else about them. A helper alone learns who takes part.

Helper mode alone has `Findings`, `Reveal` and `Answer`; committee mode alone has `Challenge`, `Combinations` and
`ShareSum`. There an upload has no commitments, and a box holds the member's share of the secret and the element of the
masking column (`sharing`), as little-endian uint32. The sum there comes with the sum of the parties' errors.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated

from comity.core import merkle
from comity.protocols.secure_sum.certificate import MAX_PARTIES, Certificate, Proposal, Vote
from comity.protocols.secure_sum.encoding import Each, Fixed, Message, Nested, Opaque, Uint, statement
from comity.protocols.secure_sum.terms import MAX_COMMITTEE, MAX_SUBSETS, Terms

__all__ = [
    "MAX_BOX",
    "Announcement",
    "Answer",
    "Certificate",
    "Challenge",
    "Closing",
    "Combinations",
    "Delivery",
    "Findings",
    "Proposal",
    "Reveal",
    "ShareSum",
    "Upload",
    "Vote",
    "announced",
    "answered",
    "combined",
    "deliveries",
    "delivery",
    "found",
    "list_digest",
    "summed_share",
    "uploaded",
]

MAX_BOX = 1 << 14
"""A sealed box has at most so many bytes: a share of s is 8 KiB at most, the seeds of a helper 2 KiB."""
_DEPTH = 10
_MAX_SHARE = 4 * 2048


@dataclass(frozen=True)
class Announcement(Message):
    """The terms, signed by the coordinator: the signature is over `announced(terms.context)`."""

    terms: Annotated[Terms, Nested(Terms)]
    signature: Annotated[bytes, Fixed(64)]


@dataclass(frozen=True)
class Upload(Message):
    """All that a party sends: the hash of its masked vector, and a sealed box for each helper or member in order.

    `commitments` are the hashes of its seeds by subset (`masks.commitment`), none in committee mode. The signature is
    over `uploaded(...)`.
    """

    context: Annotated[bytes, Fixed(32)]
    party: Annotated[int, Uint(4)]
    vector: Annotated[bytes, Fixed(32)]
    commitments: Annotated[tuple[bytes, ...], Each(Fixed(32), MAX_SUBSETS)]
    boxes: Annotated[tuple[bytes, ...], Each(Opaque(MAX_BOX), MAX_COMMITTEE)]
    signature: Annotated[bytes, Fixed(64)]


@dataclass(frozen=True)
class Delivery(Message):
    """What one helper or member gets of one upload: its box, and what shows that the party signed it.

    `proof` leads from the box to `boxes`, the Merkle root of all boxes of the upload.
    """

    context: Annotated[bytes, Fixed(32)]
    party: Annotated[int, Uint(4)]
    vector: Annotated[bytes, Fixed(32)]
    commitments: Annotated[tuple[bytes, ...], Each(Fixed(32), MAX_SUBSETS)]
    box: Annotated[bytes, Opaque(MAX_BOX)]
    proof: Annotated[tuple[bytes, ...], Each(Fixed(32), _DEPTH)]
    boxes: Annotated[bytes, Fixed(32)]
    signature: Annotated[bytes, Fixed(64)]


@dataclass(frozen=True)
class Findings(Message):
    """The parties, increasing, whose boxes a helper could not use. The signature is over `found(...)`."""

    context: Annotated[bytes, Fixed(32)]
    member: Annotated[int, Uint(4)]
    refused: Annotated[tuple[int, ...], Each(Uint(4), MAX_PARTIES)]
    signature: Annotated[bytes, Fixed(64)]


@dataclass(frozen=True)
class Reveal(Message):
    """Asks a helper for the summed masks of the certified set over some subsets (numbers of `masks.subsets`).

    With `witness` 1 the hash in the answer is enough, and the vector need not travel; otherwise it is 0.
    """

    proposal: Annotated[Proposal, Nested(Proposal)]
    certificate: Annotated[Certificate, Nested(Certificate)]
    subsets: Annotated[tuple[int, ...], Each(Uint(4), MAX_SUBSETS)]
    witness: Annotated[int, Uint(1)]


@dataclass(frozen=True)
class Answer(Message):
    """The hash of the summed masks that a helper answers with. The signature is over `answered(...)`."""

    context: Annotated[bytes, Fixed(32)]
    chosen: Annotated[bytes, Fixed(32)]
    member: Annotated[int, Uint(4)]
    subsets: Annotated[tuple[int, ...], Each(Uint(4), MAX_SUBSETS)]
    vector: Annotated[bytes, Fixed(32)]
    signature: Annotated[bytes, Fixed(64)]


@dataclass(frozen=True)
class Challenge(Message):
    """Closes the list of parties, increasing; `signatures` is the Merkle root of their uploads' signatures in order."""

    context: Annotated[bytes, Fixed(32)]
    parties: Annotated[tuple[int, ...], Each(Uint(4), MAX_PARTIES)]
    signatures: Annotated[bytes, Fixed(32)]


@dataclass(frozen=True)
class Combinations(Message):
    """What a member says of its share from each party of the challenge with this root, in their order.

    `values` are elements as little-endian uint32, zero for the `refused`: parties, increasing, whose box it could not
    use. The signature is over `combined(...)`.
    """

    context: Annotated[bytes, Fixed(32)]
    signatures: Annotated[bytes, Fixed(32)]
    member: Annotated[int, Uint(4)]
    refused: Annotated[tuple[int, ...], Each(Uint(4), MAX_PARTIES)]
    values: Annotated[bytes, Opaque(4 * MAX_PARTIES)]
    signature: Annotated[bytes, Fixed(64)]


@dataclass(frozen=True)
class ShareSum(Message):
    """The sum of a member's shares over the certified set: N/l elements as little-endian uint32.

    The signature is over `summed_share(...)`.
    """

    context: Annotated[bytes, Fixed(32)]
    chosen: Annotated[bytes, Fixed(32)]
    member: Annotated[int, Uint(4)]
    share: Annotated[bytes, Opaque(_MAX_SHARE)]
    signature: Annotated[bytes, Fixed(64)]


@dataclass(frozen=True)
class Closing(Message):
    """What is logged of a finished attempt: `result` is the SHA-256 of the sum as little-endian uint32."""

    context: Annotated[bytes, Fixed(32)]
    chosen: Annotated[bytes, Fixed(32)]
    result: Annotated[bytes, Fixed(32)]
    certificate: Annotated[Certificate, Nested(Certificate)]


def announced(context: bytes) -> bytes:
    """What the coordinator signs of an announcement."""
    return statement("announcement", context)


def uploaded(context: bytes, party: int, vector: bytes, commitments: tuple[bytes, ...], boxes: bytes) -> bytes:
    """What a party signs; `boxes` is the Merkle root of its boxes."""
    return statement("upload", context, _position(party), vector, list_digest(commitments), boxes)


def found(context: bytes, member: int, refused: tuple[int, ...]) -> bytes:
    """What a helper signs of its findings."""
    return statement("findings", context, _position(member), b"".join(map(_position, refused)))


def answered(context: bytes, chosen: bytes, member: int, subsets: tuple[int, ...], vector: bytes) -> bytes:
    """What a helper signs of an answer."""
    return statement("answer", context, chosen, _position(member), b"".join(map(_position, subsets)), vector)


def combined(context: bytes, signatures: bytes, member: int, refused: tuple[int, ...], values: bytes) -> bytes:
    """What a member signs of its combinations."""
    return statement("combinations", context, signatures, _position(member), b"".join(map(_position, refused)), values)


def summed_share(context: bytes, chosen: bytes, member: int, share: bytes) -> bytes:
    """What a member signs of its summed share."""
    return statement("share sum", context, chosen, _position(member), share)


def delivery(upload: Upload, member: int) -> Delivery:
    """What the helper or member at `member` gets of an upload."""
    return deliveries(upload)[member]


def deliveries(upload: Upload) -> tuple[Delivery, ...]:
    """What each helper or member gets of an upload, in their order."""
    leaves = [merkle.leaf(box) for box in upload.boxes]
    root = merkle.root_of(leaves)
    return tuple(
        Delivery(upload.context, upload.party, upload.vector, upload.commitments, box, proof, root, upload.signature)
        for box, proof in zip(upload.boxes, merkle.inclusion_proofs(leaves), strict=True)
    )


def list_digest(items: tuple[bytes, ...]) -> bytes:
    """SHA-256 of several byte strings, told apart from every other list."""
    return hashlib.sha256(statement("list", *items)).digest()


def _position(position: int) -> bytes:
    return position.to_bytes(4, "big")
