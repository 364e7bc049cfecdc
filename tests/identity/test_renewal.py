"""Renewal: whatever is cut off at whatever step, a member holds the key that its server knows, and no other counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from comity.identity import keys, renewal
from comity.identity.errors import IdentityError
from comity.identity.keys import AgreementKey, SigningKey, thumbprint
from comity.identity.renewal import CurrentKey, KeyFiles, renew
from comity.wire.client import ProblemError, Session
from comity.wire.messages import Member, Roster
from comity.wire.transport import Request, Response, Transport, TransportError
from support.deployments import NAME, World, loop_time
from support.virtual_time import run_virtually


class Killed(BaseException):
    """The process ends here."""


@dataclass(eq=False)
class Party:
    """A member with its key files, and the server that knows it; `steps` are those before which it is killed."""

    world: World
    files: KeyFiles
    steps: int | None = None
    lost: int = 0
    done: list[str] = field(default_factory=list)

    @classmethod
    def enrolled(cls, folder: Path) -> Party:
        world = World(folder)
        journal = world.journal()
        world.add(journal, "north")
        files = KeyFiles(folder / "signing.pem", folder / "agreement.pem")
        world.keys["north"].save(files.signing)
        agreement = AgreementKey.new()
        agreement.save(files.agreement)
        known = journal.member("north")
        assert known is not None
        journal.rekey("north", known.signing_key, known.signing_key, agreement.public, 1e12)
        journal.close()
        return cls(world, files)

    def step(self, what: str) -> None:
        if self.steps is not None and len(self.done) >= self.steps:
            raise Killed(what)
        self.done.append(what)

    def renew(self, *, served: Transport | None = None) -> Member:
        async def once() -> Member:
            up = self.world.serve()
            await up.start()
            await asyncio.sleep(2)
            try:
                transport = served or Line(self, up)
                return await renew(self.files, transport, name="north", deployment=NAME, now=loop_time)
            finally:
                await up.stop()

        return run_virtually(once())

    def known(self) -> Member:
        journal = self.world.journal()
        member = journal.member("north")
        journal.close()
        assert member is not None
        return member

    def accepted(self, key: SigningKey) -> bool:
        """Whether the server takes a request that this key signs."""

        async def once() -> bool:
            up = self.world.serve()
            await up.start()
            await asyncio.sleep(2)
            try:
                await Session(up, key, NAME, loop_time, patience=0.0).call("GET", "/v1/roster", expect=Roster)
            except ProblemError:
                return False
            finally:
                await up.stop()
            return True

        return run_virtually(once())


@dataclass(eq=False)
class Line:
    """The way to the server; the first answers are lost on it, and a party may be killed before one comes."""

    party: Party
    served: Transport

    async def send(self, request: Request, *, timeout: float) -> Response:
        self.party.step("ask")
        response = await self.served.send(request, timeout=timeout)
        self.party.step("answer")
        if self.party.lost and request.path == "/v1/keys":
            self.party.lost -= 1
            raise TransportError("lost on the way")
        return response

    async def close(self) -> None: ...


@pytest.fixture
def party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Party:
    """A member whose process can be killed before each thing that it writes, sends, or hears."""
    made = Party.enrolled(tmp_path)

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def before(*arguments: Any, **options: Any) -> Any:
            made.step(name)
            return function(*arguments, **options)

        return before

    monkeypatch.setattr(keys, "replace_file", counted("write", keys.replace_file))
    monkeypatch.setattr(renewal, "move_file", counted("move", renewal.move_file))
    return made


def test_new_keys_take_the_place_of_the_old(party: Party) -> None:
    old = SigningKey.load(party.files.signing)
    member = party.renew()
    signing, agreement = SigningKey.load(party.files.signing), AgreementKey.load(party.files.agreement)
    assert (member.signing_key, member.agreement_key) == (signing.public, agreement.public)
    assert party.known() == member
    assert not party.files.pending
    assert party.accepted(signing)
    assert not party.accepted(old), "the old key is refused from the next request on"
    assert party.done == ["write", "write", "ask", "answer", "move", "move"]


@pytest.mark.parametrize("steps", range(6))
def test_a_renewal_that_was_killed_at_any_step_is_ended_by_the_next(party: Party, steps: int) -> None:
    old = SigningKey.load(party.files.signing)
    party.steps = steps
    with pytest.raises(Killed):
        party.renew()
    held = [SigningKey.load(file).public for file in (party.files.signing, party.files.next_signing) if file.exists()]
    assert party.known().signing_key in held, "a key that the server knows is never lost"
    party.steps = None
    member = party.renew()
    assert SigningKey.load(party.files.signing).public == member.signing_key == party.known().signing_key
    assert AgreementKey.load(party.files.agreement).public == member.agreement_key
    assert not party.files.pending
    assert not party.files.next_agreement.exists()
    assert member.signing_key != old.public
    assert not party.accepted(old)


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_answers_that_are_lost_change_nothing(party: Party, lost: int) -> None:
    party.lost = lost
    member = party.renew()
    assert party.known() == member
    assert SigningKey.load(party.files.signing).public == member.signing_key
    journal = party.world.journal()
    assert [row.action for row in journal.audit()] == ["rekeyed"]
    journal.close()


def test_a_server_that_knows_neither_key_is_told_of_and_the_keys_stay(party: Party) -> None:
    journal = party.world.journal()
    journal.revoke("north", 1.0)
    journal.close()
    before = party.files.signing.read_bytes()
    with pytest.raises(IdentityError, match="neither the old key nor the new") as raised:
        party.renew()
    assert "invitation" in raised.value.mend
    assert party.files.signing.read_bytes() == before


def test_two_do_not_renew_at_once(party: Party) -> None:
    with party.files.alone(), pytest.raises(IdentityError, match="another process"):
        party.renew()
    party.renew()


class TestCurrentKey:
    def test_it_signs_with_what_the_file_holds_now(self, party: Party) -> None:
        current = CurrentKey(party.files.signing)
        before = current.id
        member = party.renew()
        assert current.id == thumbprint(member.signing_key) != before

    def test_a_signature_never_names_another_key(self, party: Party) -> None:
        current = CurrentKey(party.files.signing)
        old, named = SigningKey.load(party.files.signing), current.id
        SigningKey.new().save(party.files.signing)
        assert current.sign(b"message") == old.sign(b"message"), f"of {named}"
        assert current.id != named

    def test_a_running_conversation_goes_on(self, party: Party) -> None:
        async def conversation() -> list[str]:
            up = party.world.serve()
            await up.start()
            await asyncio.sleep(2)
            session = Session(up, CurrentKey(party.files.signing), NAME, loop_time)
            names = []
            for _ in range(2):
                roster = await session.call("GET", "/v1/roster", expect=Roster)
                assert roster is not None
                names.append(roster.members[0].signing_key)
                await renew(party.files, up, name="north", deployment=NAME, now=loop_time)
            await up.stop()
            return names

        first, second = run_virtually(conversation())
        assert first != second

    def test_a_file_that_is_gone_is_told_of(self, tmp_path: Path) -> None:
        with pytest.raises(IdentityError, match="cannot be read"):
            CurrentKey(tmp_path / "signing.pem")
