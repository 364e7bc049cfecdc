"""The registrar away from the server: what it is asked to sign, what that changes, and its word.

Its key lies on a machine that no network reaches. It remembers there what it signed last, so that no server can present
as known what was never signed, or bring back what was ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from comity.core.files import replace_file
from comity.identity.errors import IdentityError
from comity.identity.keys import PublicKey, SigningKey, fingerprint
from comity.identity.roster import check_word, settled, sign_roster
from comity.wire.bodies import parse
from comity.wire.messages import Member, Message, Roster

ROSTER_BYTES = 12 << 20
"""A roster, or a draft of one, has at most so many bytes: some tens of thousands of members."""


class Draft(Message):
    """Who belongs to a deployment in the word of its server, for the registrar to look at."""

    deployment: str
    members: tuple[Member, ...]

    @classmethod
    def of(cls, deployment: str, members: Iterable[Member]) -> Draft:
        return cls(deployment=deployment, members=settled(members))


@dataclass(frozen=True)
class Registrar:
    """The key in the file `path`; beside it its public half (`.pub`), and the roster that was signed last."""

    path: Path

    @property
    def public_file(self) -> Path:
        return self.path.with_name(f"{self.path.name}.pub")

    @property
    def last_file(self) -> Path:
        return self.path.with_name(f"{self.path.name}.last.json")

    def create(self) -> PublicKey:
        """A new key. Raises `IdentityError` where there is one already."""
        if self.path.exists():
            raise IdentityError("there is a key in this file already", where=str(self.path), mend="name another file")
        key = SigningKey.new()
        key.save(self.path)
        public = PublicKey(key.public)
        public.save(self.public_file)
        return public

    def last(self) -> Roster | None:
        """What was signed last, None where nothing was. Raises `IdentityError` where it is not by this key."""
        if not self.last_file.exists():
            return None
        roster = read_roster(self.last_file)
        check_word(roster, SigningKey.load(self.path).public)
        return roster

    def sign(self, draft: Draft, now: float, valid: float) -> Roster:
        """The roster of the draft, good for `valid` seconds from `now`; it is remembered as the last.

        Raises `IdentityError` where the draft is for another deployment, names a name or a key twice, or where the
        clock is behind the last signature: what is not newer, no server takes.
        """
        key, before = SigningKey.load(self.path), self.last()
        if before is not None and before.deployment != draft.deployment:
            raise IdentityError(
                f"this key signs for {before.deployment}, and the draft is of {draft.deployment}",
                where=str(self.path),
                mend="give each deployment a registrar's key of its own",
            )
        if before is not None and now <= before.issued:
            mend = "set this machine's clock"
            raise IdentityError("the last roster was signed later than now", where=str(self.last_file), mend=mend)
        roster = sign_roster(draft.members, draft.deployment, now, key, valid)
        check_word(roster, key.public)
        replace_file(self.last_file, roster.model_dump_json(indent=1).encode())
        return roster


def read_draft(path: Path) -> Draft:
    """Raises `IdentityError` where the file cannot be read, and `BodyError` where it holds no draft."""
    return parse(Draft, _content(path), ROSTER_BYTES, values=ROSTER_BYTES)


def read_roster(path: Path) -> Roster:
    """Raises `IdentityError` where the file cannot be read, and `BodyError` where it holds no roster."""
    return parse(Roster, _content(path), ROSTER_BYTES, values=ROSTER_BYTES)


def changes(before: Iterable[Member], after: Iterable[Member]) -> Iterator[str]:
    """What is different after, a line for each member that differs."""
    old, new = {member.name: member for member in settled(before)}, {member.name: member for member in settled(after)}
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            yield f"{name} ({old[name].role}) is no member any more"
        elif name not in old or (old[name].revoked and not new[name].revoked):
            yield _entry(new[name], "comes back" if name in old else "is new")
        elif old[name] != new[name]:
            yield f"{name}: {'; '.join(_differences(old[name], new[name]))}"


def _entry(member: Member, word: str) -> str:
    if member.revoked:
        return f"{member.name} ({member.role}) {word}, and revoked"
    keys = fingerprint(member.signing_key, member.agreement_key)
    return f"{member.name} {word}: {member.role}, good until {_date(member.expires)}, keys {keys}"


def _differences(old: Member, new: Member) -> Iterator[str]:
    if new.revoked and not old.revoked:
        yield "is revoked"
        return
    if old.role != new.role:
        yield f"was {old.role}, becomes {new.role}"
    if (old.signing_key, old.agreement_key) != (new.signing_key, new.agreement_key):
        yield f"has new keys {fingerprint(new.signing_key, new.agreement_key)}"
    if old.expires != new.expires:
        yield f"is good until {_date(new.expires)}, was until {_date(old.expires)}"
    if old.tags != new.tags:
        yield f"has tags {', '.join(new.tags) or 'none'}, had {', '.join(old.tags) or 'none'}"
    if old.enrolled != new.enrolled:
        yield f"joined anew on {_date(new.enrolled)}"


def _date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%MZ")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise IdentityError(f"the file cannot be read: {error.strerror or error}", where=str(path)) from error
