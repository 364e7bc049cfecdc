"""Keys and the roster at the server: who may change what, what counts twice, and whose word the roster is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from comity.identity.keys import AgreementKey, PublicKey, SigningKey
from comity.identity.proof import rekey
from comity.identity.roster import SKEW, check_roster, sign_roster
from comity.wire.client import ProblemError, Session
from comity.wire.messages import Member, MemberList, Rekey, Roster, Standing
from support.deployments import NAME, World, loop_time
from support.virtual import Served
from support.virtual_time import run_virtually

REGISTRAR = SigningKey.new()


class Api:
    """A deployment with an admin and two nodes, and what they ask of it."""

    def __init__(self, folder: Path, *, away: bool = False) -> None:
        self.world = World(folder)
        self.world.registrar = PublicKey(REGISTRAR.public) if away else REGISTRAR
        journal = self.world.journal()
        self.world.add(journal, "admin", "admin")
        for name in ("north", "south"):
            self.world.add(journal, name)
        journal.close()

    def __call__(self, steps: Callable[[Api], Awaitable[Any]]) -> Any:
        async def run() -> Any:
            self.served: Served = self.world.serve()
            await self.served.start()
            await asyncio.sleep(2)
            try:
                return await steps(self)
            finally:
                await self.served.stop()

        return run_virtually(run())

    async def call(self, name: str, method: str, path: str, message: Any = None, expect: Any = None) -> Any:
        session = Session(self.served, self.world.keys[name], NAME, loop_time, patience=0.0)
        return await session.call(method, path, message, expect)

    async def refused(self, name: str, method: str, path: str, message: Any = None) -> ProblemError:
        with pytest.raises(ProblemError) as raised:
            await self.call(name, method, path, message)
        return raised.value

    def member(self, name: str) -> Member:
        journal = self.world.journal()
        found = journal.member(name)
        journal.close()
        assert found is not None
        return found

    def actions(self) -> list[str]:
        journal = self.world.journal()
        found = [row.action for row in journal.audit()]
        journal.close()
        return found

    async def signed(self, now: float | None = None, key: SigningKey = REGISTRAR, deployment: str = NAME) -> Roster:
        """What the members are at this moment, signed by a registrar elsewhere."""
        listed = await self.call("admin", "GET", "/v1/nodes", None, MemberList)
        return sign_roster(listed.members, deployment, loop_time() if now is None else now, key)


def wish(name: str = "north", **changes: Any) -> Rekey:
    return rekey(name, NAME, SigningKey.new(), AgreementKey.new()).model_copy(update=changes)


class TestKeys:
    def test_a_member_reads_its_own_entry_and_how_long_new_keys_last(self, tmp_path: Path) -> None:
        api = Api(tmp_path)
        standing = api(lambda api: api.call("north", "GET", "/v1/keys", None, Standing))
        assert standing.member == api.member("north")
        assert standing.lifetime > 0

    def test_a_wish_counts_once_however_often_it_is_sent(self, tmp_path: Path) -> None:
        api, key = Api(tmp_path), SigningKey.new()
        wanted = rekey("north", NAME, key, AgreementKey.new())

        async def steps(api: Api) -> None:
            first = await api.call("north", "POST", "/v1/keys", wanted, Member)
            assert (await api.refused("north", "POST", "/v1/keys", wanted)).status == 401
            api.world.keys["north"] = key
            await asyncio.sleep(100)
            assert await api.call("north", "POST", "/v1/keys", wanted, Member) == first, "nor is it good for longer"

        api(steps)
        assert api.actions() == ["rekeyed"]

    @pytest.mark.parametrize(
        ("wanted", "status"),
        [
            (wish(signing_key=SigningKey.new().public), 422),
            (wish(agreement_key=AgreementKey.new().public), 422),
            (wish("south"), 422),
            (wish(proof="00" * 64), 422),
        ],
        ids=["a key it does not hold", "another agreement key", "another's wish", "no proof"],
    )
    def test_a_key_that_is_not_proven_is_refused(self, wanted: Rekey, status: int, tmp_path: Path) -> None:
        api = Api(tmp_path)
        before = api.member("north")
        assert api(lambda api: api.refused("north", "POST", "/v1/keys", wanted)).status == status
        assert api.member("north") == before
        assert api.actions() == []

    def test_neither_key_of_another_member_can_be_taken(self, tmp_path: Path) -> None:
        api = Api(tmp_path)
        south = api.member("south")
        signing = SigningKey.new()
        theirs = rekey("north", NAME, signing, _Public(south.agreement_key))
        assert api(lambda api: api.refused("north", "POST", "/v1/keys", theirs)).status == 409
        ours = rekey("north", NAME, api.world.keys["south"], AgreementKey.new())
        assert api(lambda api: api.refused("north", "POST", "/v1/keys", ours)).status == 409

    def test_both_keys_are_changed_together(self, tmp_path: Path) -> None:
        api = Api(tmp_path)
        same = rekey("north", NAME, api.world.keys["north"], AgreementKey.new())
        assert api(lambda api: api.refused("north", "POST", "/v1/keys", same)).status == 422
        same = rekey("north", NAME, SigningKey.new(), _Public(api.member("north").agreement_key))
        assert api(lambda api: api.refused("north", "POST", "/v1/keys", same)).status == 422


class TestRosterOfTheServer:
    def test_it_is_what_the_members_are(self, tmp_path: Path) -> None:
        async def steps(api: Api) -> None:
            await api.call("admin", "POST", "/v1/nodes/south/revocation")
            roster = await api.call("north", "GET", "/v1/roster", None, Roster)
            check_roster(roster, REGISTRAR.public, loop_time())
            assert [(m.name, m.revoked) for m in roster.members] == [
                ("admin", False),
                ("north", False),
                ("south", True),
            ]

        Api(tmp_path)(steps)

    def test_another_cannot_be_published(self, tmp_path: Path) -> None:
        async def steps(api: Api) -> ProblemError:
            return await api.refused("admin", "PUT", "/v1/roster", await api.signed())

        assert Api(tmp_path)(steps).status == 409


class TestRosterSignedElsewhere:
    def test_there_is_none_until_one_is_published_and_members_work_all_the_same(self, tmp_path: Path) -> None:
        async def steps(api: Api) -> None:
            assert (await api.refused("north", "GET", "/v1/roster")).status == 404
            await api.call("north", "GET", "/v1/keys", None, Standing)
            signed = await api.signed()
            assert await api.call("admin", "PUT", "/v1/roster", signed, Roster) == await api.call(
                "north", "GET", "/v1/roster", None, Roster
            )

        api = Api(tmp_path, away=True)
        api(steps)
        assert api.actions() == ["published"]

    def test_the_last_one_is_served_whatever_has_happened_since(self, tmp_path: Path) -> None:
        """A revocation counts at once all the same: the roster says whose keys are whose, not who is let in."""

        async def steps(api: Api) -> None:
            await api.call("admin", "PUT", "/v1/roster", await api.signed(), Roster)
            await api.call("admin", "POST", "/v1/nodes/south/revocation")
            roster = await api.call("north", "GET", "/v1/roster", None, Roster)
            check_roster(roster, REGISTRAR.public, loop_time())
            assert not any(member.revoked for member in roster.members)
            assert (await api.refused("south", "GET", "/v1/roster")).status == 401

        Api(tmp_path, away=True)(steps)

    def test_none_is_taken_that_is_not_newer_than_the_last(self, tmp_path: Path) -> None:
        async def steps(api: Api) -> None:
            first = await api.signed()
            await asyncio.sleep(10)
            second = await api.signed()
            await api.call("admin", "PUT", "/v1/roster", second, Roster)
            assert (await api.refused("admin", "PUT", "/v1/roster", first)).status == 409
            same = sign_roster(second.members[:1], NAME, second.issued, REGISTRAR)
            assert (await api.refused("admin", "PUT", "/v1/roster", same)).status == 409
            assert await api.call("admin", "PUT", "/v1/roster", second, Roster), "the same again is the same"
            served = await api.call("north", "GET", "/v1/roster", None, Roster)
            assert served.issued == second.issued

        api = Api(tmp_path, away=True)
        api(steps)
        assert api.actions() == ["published"]

    @pytest.mark.parametrize(
        "fields",
        [{"key": SigningKey.new()}, {"deployment": "another"}, {"now": -8 * 86400.0}, {"now": SKEW + 60}],
        ids=["another key", "another deployment", "one that has ended", "one from the future"],
    )
    def test_none_is_taken_that_members_would_refuse(self, fields: dict[str, Any], tmp_path: Path) -> None:
        async def steps(api: Api) -> None:
            assert (await api.refused("admin", "PUT", "/v1/roster", await api.signed(**fields))).status == 422
            assert (await api.refused("north", "GET", "/v1/roster")).status == 404

        Api(tmp_path, away=True)(steps)

    def test_what_the_registrar_does_not_vouch_for_is_not_served_in_its_name(self, tmp_path: Path) -> None:
        async def steps(api: Api) -> None:
            signed = await api.signed()
            members = tuple(m.model_copy(update={"seen": 1.0, "datasets": ("other",)}) for m in signed.members)
            await api.call("admin", "PUT", "/v1/roster", signed.model_copy(update={"members": members}), Roster)
            served = await api.call("north", "GET", "/v1/roster", None, Roster)
            assert {(m.seen, m.datasets) for m in served.members} == {(None, ())}

        Api(tmp_path, away=True)(steps)


class _Public:
    """The public half of an agreement key that is another's."""

    def __init__(self, public: str) -> None:
        self.public = public
