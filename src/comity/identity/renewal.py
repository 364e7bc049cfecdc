"""New keys in the place of old ones, with no moment in which a member holds none that its server knows.

The new keys are written beside the old ones, the server is asked, and then they take the others' place. Whoever is cut
off anywhere in between renews again: the server knows one of the two signing keys, and is asked with either.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from comity.core.files import move_file
from comity.identity.errors import IdentityError
from comity.identity.keys import AgreementKey, SigningKey
from comity.identity.proof import rekey
from comity.wire.client import ProblemError, Session
from comity.wire.messages import Member
from comity.wire.transport import Transport

if sys.platform != "win32":
    import fcntl

_PATIENCE = 20.0


@dataclass(frozen=True)
class KeyFiles:
    """Where a member's two keys lie; in a renewal those that will replace them lie beside."""

    signing: Path
    agreement: Path

    @property
    def next_signing(self) -> Path:
        return self.signing.with_suffix(".next.pem")

    @property
    def next_agreement(self) -> Path:
        return self.agreement.with_suffix(".next.pem")

    @property
    def pending(self) -> bool:
        """Whether a renewal was begun and not ended."""
        return self.next_signing.exists()

    def prepare(self) -> tuple[SigningKey, AgreementKey]:
        """The keys to come: of a renewal that was begun, or new ones. The signing key is made last, and moved last."""
        if not self.pending:
            AgreementKey.new().save(self.next_agreement)
            SigningKey.new().save(self.next_signing)
        agreement = self.next_agreement if self.next_agreement.exists() else self.agreement
        return SigningKey.load(self.next_signing), AgreementKey.load(agreement)

    def swap(self) -> None:
        """The keys to come take their place, also where that was begun before. Raises `OSError`."""
        if self.next_agreement.exists():
            move_file(self.next_agreement, self.agreement)
        move_file(self.next_signing, self.signing)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One process renews at a time. Raises `IdentityError` where another does."""
        with (self.signing.parent / "renewal.lock").open("a") as file:
            if sys.platform != "win32":
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    what = "another process renews these keys"
                    raise IdentityError(what, where=str(self.signing), mend="let it end, then look again") from None
            yield


async def renew(
    files: KeyFiles, transport: Transport, *, name: str, deployment: str, now: Callable[[], float]
) -> Member:
    """New keys for the member `name`, or the end of a renewal that was cut off; the member as the server has it.

    Raises `IdentityError` where the server knows neither the old key nor the new one, `ProblemError` for what else it
    refuses, `TransportError` where it cannot be reached. Whatever is raised, the keys are as good as they were.
    """
    with files.alone():
        begun = files.pending
        old = SigningKey.load(files.signing)
        signing, agreement = files.prepare()
        wish = rekey(name, deployment, signing, agreement)
        # The answer to the old key may be lost; the server then refuses it, and is asked with the new one once more.
        for key in (signing, old, signing) if begun else (old, signing):
            session = Session(transport, key, deployment, now, patience=_PATIENCE)
            try:
                member = await session.call("POST", "/v1/keys", wish, Member)
            except ProblemError as error:
                if error.status != 401:
                    raise
            else:
                assert member is not None
                files.swap()
                return member
    raise IdentityError(
        "the server takes neither the old key nor the new one",
        where=str(files.signing),
        mend="if the clock is right, the key has expired or was revoked: ask the operator for a new invitation",
    )


class CurrentKey:
    """The signing key that a file holds, as a `Signer`: read anew once the file was replaced.

    `sign` is by the key whose `id` was asked for last, so that a signature never names another key than its own.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._stat()
        self._key = SigningKey.load(path)

    @property
    def id(self) -> str:
        if (stamp := self._stat()) != self._stamp:
            self._key = SigningKey.load(self._path)
            self._stamp = stamp
        return self._key.id

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def _stat(self) -> tuple[int, int]:
        """What changes when the file is replaced; where it is gone, reading it says so."""
        try:
            found = os.stat(self._path)
        except OSError:
            return 0, 0
        return found.st_ino, found.st_mtime_ns
