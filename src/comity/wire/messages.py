"""Every body that travels as JSON, one class each: strict, closed, and bounded before anything looks at it."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

PART_BYTES = 16 << 20
"""Blobs travel in parts of at most so many bytes."""

Digest: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 in hexadecimal."""

Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""What parties, people, data sets, tags and vectors may be called."""

RunId: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
Key: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$")]
"""A public key of 32 bytes, base64url without padding: one text for each key, so the last character has few choices."""

Text: TypeAlias = Annotated[str, StringConstraints(max_length=2000)]
RoleName: TypeAlias = Literal["admin", "researcher", "auditor", "node"]
Signature: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$")]
"""An Ed25519 signature in hexadecimal."""


class Message(BaseModel):
    """A body. Unknown fields are refused, types are not coerced, NaN and infinities are no numbers."""

    # Built when they are first used: a node uses few of them, and is to be small.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, defer_build=True)


class Blob(Message):
    """Bytes known by their digest: `parts` are the digests of their consecutive parts."""

    digest: Digest
    size: Annotated[int, Field(ge=0, le=1 << 40)]
    parts: Annotated[tuple[Digest, ...], Field(max_length=1 << 16)]


class About(Message):
    """What anybody may know of a server."""

    deployment: Annotated[str, StringConstraints(max_length=64)]
    version: str
    time: float
    authority: Annotated[str, StringConstraints(max_length=20_000)]
    """The certificate authority, PEM."""
    registrar: Key


class Health(Message):
    """How a server's process is."""

    status: Literal["alive", "ready"]


class Enrolment(Message):
    """A joiner's side of an invitation: the secret, and the public halves of the keys that it has made."""

    secret: Annotated[str, StringConstraints(max_length=128)]
    name: Name
    signing_key: Key
    agreement_key: Key


class Member(Message):
    """One entry of the roster."""

    name: Name
    role: RoleName
    signing_key: Key
    agreement_key: Key
    enrolled: float
    expires: float
    revoked: bool = False
    tags: Annotated[tuple[Name, ...], Field(max_length=64)] = ()
    datasets: Annotated[tuple[Name, ...], Field(max_length=256)] = ()
    seen: float | None = None


class Roster(Message):
    """Who belongs to a deployment, in the word of its registrar, good until `expires`.

    The signature is over `comity.identity.roster.signed_bytes`.
    """

    deployment: str
    issued: float
    expires: float
    members: tuple[Member, ...]
    signature: Signature


class Enrolled(Message):
    """What a joiner gets: its entry, and what it needs to trust the server from now on."""

    member: Member
    about: About


class Invite(Message):
    """An admin's wish: a token for one joiner of this name and role, good for `valid` seconds."""

    name: Name
    role: RoleName = "node"
    valid: Annotated[float, Field(gt=0, le=90 * 86400)] = 86400.0
    tags: Annotated[tuple[Name, ...], Field(max_length=64)] = ()


class Invited(Message):
    """An invitation as text (`comity.identity.invitation`), which a terminal and a shell take as it is."""

    token: Annotated[str, StringConstraints(pattern=r"^comity1\.[A-Za-z0-9_-]{1,4096}$")]
    expires: float


class Ask(Message):
    """A node asks for work: the leases it knows of, what it offers, and how long it is willing to wait."""

    open: Annotated[tuple[tuple[RunId, int], ...], Field(max_length=4096)] = ()
    datasets: Annotated[tuple[Name, ...], Field(max_length=256)] = ()
    wait: Annotated[float, Field(ge=0, le=60)] = 30.0


class Assignment(Message):
    """One party's part in one round of one run.

    `broadcast` maps a vector's name to its blob; `counted` is the party's last lease that is part of the model, None
    where there is none yet: what a party wanted to remember with that lease is what it remembers now.
    """

    run: RunId
    job: Digest
    dataset: Name
    lease: Annotated[int, Field(ge=0)]
    round: Annotated[int, Field(ge=0)]
    attempt: Annotated[int, Field(ge=0)]
    expires: float | None
    budget: float = 1.0
    broadcast: dict[Name, Blob]
    counted: int | None


class Work(Message):
    """All assignments of a node that are open now. Anything that it knows of and that is not here is over."""

    open: tuple[Assignment, ...]


class JobText(Message):
    """A job as it was submitted: the manifest, the digest of the source that it needs beyond Comity, and by whom.

    `parties` is how many take part in the run, 1 where the server does not say; `layout` is the model's, as JSON, by
    which an owner is told what would leave.
    """

    manifest: Annotated[str, StringConstraints(max_length=4 << 20)]
    source: Digest | None
    submitter: Name
    parties: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    layout: Annotated[str, StringConstraints(max_length=4 << 20)] = ""


class Source(Message):
    """Source files by path: text only, no links, no paths outside."""

    files: Annotated[
        dict[Annotated[str, StringConstraints(max_length=200)], Annotated[str, StringConstraints(max_length=1 << 20)]],
        Field(max_length=200),
    ]


class Contributed(Message):
    """A party's contribution: the blob of its vectors, its weight, and the sums of its metrics."""

    vectors: Blob
    weight: float
    metrics: dict[Name, Annotated[tuple[float, ...], Field(max_length=10_000)]] = {}


class Refused(Message):
    """A party does not contribute: by its owner's policy, or because something failed there."""

    reason: Literal["policy", "error", "no_data", "data"]
    detail: Text


class Verdict(Message):
    """What became of a contribution: counted, or refused with a reason the party can act on."""

    accepted: bool
    reason: str = ""
    detail: str = ""


class Submit(Message):
    """A job for a federation: who shall take part (all that match), on which of their data sets, and how it starts.

    `run` is the id that the submitter has drawn for it, so that a message which is repeated begins one run. `layout`
    is the model's, as JSON; `start` is the program's first state as a safetensors blob. Who takes part is all nodes
    that hold `dataset` and have every one of `tags`, or those in `nodes`.
    """

    run: RunId
    manifest: Annotated[str, StringConstraints(max_length=4 << 20)]
    layout: Annotated[str, StringConstraints(max_length=4 << 20)]
    start: Blob
    dataset: Name
    nodes: Annotated[tuple[Name, ...], Field(max_length=100_000)] = ()
    tags: Annotated[tuple[Name, ...], Field(max_length=64)] = ()
    source: Source | None = None


RunState: TypeAlias = Literal["running", "completed", "stopped", "failed"]


class RunFacts(Message):
    """A run at a glance. `rounds` of `planned` are part of the model; `version` counts its events."""

    id: RunId
    job: Digest
    submitter: Name
    state: RunState
    detail: str
    created: float
    rounds: int
    planned: int
    parties: tuple[Name, ...]
    dataset: Name
    version: int
    model: Blob | None = None
    """The program's state after the last round, safetensors."""


class RunList(Message):
    runs: tuple[RunFacts, ...]


class RoundFacts(Message):
    """One committed round: `round` counts from 1, `time` in seconds since the start; metrics are summed statistics."""

    round: int
    time: float
    parties: tuple[Name, ...]
    weights: tuple[float, ...]
    metrics: dict[str, tuple[float, ...]]
    each: dict[str, tuple[tuple[float, ...], ...]] = {}
    """What each party said of itself in the clear: for every metric a row of statistics a party."""
    bytes_up: int
    bytes_down: int
    refused: tuple[tuple[str, str, str], ...]
    """(party, reason, detail) of each contribution that did not count."""


class Rounds(Message):
    """The rounds after the one asked for, and the run as it stands."""

    run: RunFacts
    rounds: tuple[RoundFacts, ...]


class NodeChange(Message):
    """What an admin may change of a member."""

    tags: Annotated[tuple[Name, ...], Field(max_length=64)]


class Problem(Message):
    """Why a request was refused: what, where and what to do, in the manner of RFC 9457."""

    title: str
    detail: str
    where: str = ""
    mend: str = ""


class PartList(Message):
    """Digests of parts: those that are meant, or those that are missing."""

    digests: Annotated[tuple[Digest, ...], Field(max_length=1 << 16)]


class MemberList(Message):
    members: tuple[Member, ...]


class AuditEntry(Message):
    """Who did what: `digest` is over the rest, and so over `previous`, the digest of the entry before it."""

    seq: int
    at: float
    who: Name
    action: Annotated[str, StringConstraints(max_length=64)]
    detail: JsonValue
    previous: Digest
    digest: Digest


class AuditPage(Message):
    """The next entries after the one asked for; none where there are no more."""

    entries: Annotated[tuple[AuditEntry, ...], Field(max_length=500)]


class Rekey(Message):
    """New keys in the place of those that sign this request; `proof` is the new signing key's own signature."""

    signing_key: Key
    agreement_key: Key
    proof: Signature


class Standing(Message):
    """A member's own entry, and for how many seconds new keys would be good."""

    member: Member
    lifetime: float
