"""Who is not a member, or not any more, or says a member's words again."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from comity.identity.invitation import Invitation
from comity.identity.keys import AgreementKey, SigningKey
from comity.server import gate
from comity.server.routes import work
from comity.store.errors import StoreError
from comity.wire import signature
from comity.wire.messages import Invite, Invited, Member
from comity.wire.transport import Request, Response
from support.raw import Raw, played

ROSTER = Request("GET", "/v1/roster")
STRANGER = SigningKey.new()


class TestFailOpen:
    """CWE-306 and CWE-636: what cannot be checked does not let anybody in. A peer once lacked a `return` after a
    failed login, took an empty nonce, and skipped the check of a token's signature (NVFlare, pull request 4422).
    """

    @pytest.mark.parametrize("broken", ["member_by_key", "use_nonce"])
    def test_a_check_that_fails_lets_nobody_in(self, broken: str, tmp_path: Path) -> None:
        async def scene(raw: Raw) -> Response:
            journal = raw.served.app.state.deployment.federation.journal

            def fails(*given: Any) -> Any:
                raise StoreError("the database is gone")

            setattr(journal, broken, fails)
            return await raw.send(raw.signed("admin", ROSTER))

        answer = played(tmp_path, scene)
        assert answer.status == 503
        assert b"members" not in answer.body
        assert b"database" not in answer.body

    @pytest.mark.parametrize("nonce", [b"", b"short"])
    def test_an_empty_nonce_is_none(self, nonce: bytes, tmp_path: Path) -> None:
        async def scene(raw: Raw) -> int:
            signed = signature.sign(
                ROSTER, raw.world.keys["admin"], "hospitals", asyncio.get_running_loop().time(), nonce
            )
            return (await raw.send(signed)).status

        assert played(tmp_path, scene) == 401

    def test_each_field_of_a_signature_is_needed(self, tmp_path: Path) -> None:
        async def scene(raw: Raw) -> list[int]:
            found = []
            for name in ("signature", "signature-input", "content-digest"):
                signed = raw.signed("admin", ROSTER)
                headers = {field: value for field, value in signed.headers.items() if field != name}
                found.append((await raw.send(replace(signed, headers=headers))).status)
            return found

        assert played(tmp_path, scene) == [401, 401, 401]


class TestReplay:
    """CWE-294: what was said once counts once, there and then."""

    def test_of_two_that_come_at_the_same_time_one_counts(self, tmp_path: Path) -> None:
        async def scene(raw: Raw) -> list[int]:
            signed = raw.signed("node", Request("PUT", f"/v1/parts/{'0' * 64}", {}, {}, b"x"))
            return sorted(answer.status for answer in await asyncio.gather(*(raw.send(signed) for _ in range(2))))

        assert played(tmp_path, scene) == [401, 422]

    def test_a_signature_is_for_one_method_path_and_query(self, tmp_path: Path) -> None:
        async def scene(raw: Raw) -> list[int]:
            run = (await raw.submitted()).id
            signed = raw.signed("researcher", Request("GET", f"/v1/runs/{run}"))
            elsewhere = [
                replace(signed, method="POST", path=f"/v1/runs/{run}/stop"),
                replace(signed, query={"after": "1"}),
            ]
            return [(await raw.send(request)).status for request in elsewhere]

        assert played(tmp_path, scene) == [401, 401]

    def test_a_stale_one_is_refused_and_one_of_before_the_server_began(self, tmp_path: Path) -> None:
        async def scene(raw: Raw) -> list[int]:
            old = raw.signed("admin", ROSTER)
            await asyncio.sleep(signature.WINDOW + 1)
            earlier = raw.signed("admin", ROSTER)
            await asyncio.sleep(1)
            await raw.served.stop()
            raw.served = raw.world.serve()
            await raw.served.start()
            return [(await raw.send(request)).status for request in (old, earlier)]

        assert played(tmp_path, scene) == [401, 401]

    def test_a_query_has_one_way_of_writing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """CWE-444: of a name that comes twice, one reader takes the first and another the last."""

        async def scene(raw: Raw) -> list[int]:
            run = (await raw.submitted()).id
            found = []
            for sent in ("after=0", "after=9&after=0", "after=%30", "&after=0", "after=0&"):
                signed = raw.signed("researcher", Request("GET", f"/v1/runs/{run}", {"after": "0"}))
                monkeypatch.setattr("support.virtual.urlencode", lambda query, sent=sent: sent)
                found.append((await raw.send(signed)).status)
                monkeypatch.undo()
            return found

        assert played(tmp_path, scene) == [200, 401, 401, 401, 401]


class TestBodies:
    """CWE-345 and CWE-354: a signature vouches for the body, too, and no body is taken in before it is judged."""

    def test_another_body_is_refused(self, tmp_path: Path) -> None:
        async def scene(raw: Raw) -> list[Response]:
            signed = raw.signed("admin", Request("POST", "/v1/invitations", {}, {}, b'{"name":"north"}'))
            others = [replace(signed, body=b'{"name":"evil"}'), replace(signed, body=b"")]
            return [await raw.send(request) for request in others]

        assert [answer.status for answer in played(tmp_path, scene)] == [401, 401]

    def test_a_strangers_body_is_not_taken_in(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        taken = []

        async def body(http: Any, limit: int, take: Any) -> None:
            taken.append(http.url.path)
            await passed_on(http, limit, take)

        passed_on = gate.passed_on
        monkeypatch.setattr(gate, "passed_on", body)
        monkeypatch.setattr(work, "passed_on", body)

        async def scene(raw: Raw) -> list[int]:
            part = Request("PUT", f"/v1/parts/{'0' * 64}", {}, {}, bytes(1000))
            requests = [part, raw.signed_by(STRANGER, part), raw.signed("admin", Request("POST", "/v1/work"))]
            return [(await raw.send(request)).status for request in requests]

        assert played(tmp_path, scene) == [401, 401, 403]
        assert taken == []


class TestEnds:
    """CWE-613: no membership and no invitation is for ever."""

    def test_keys_that_have_expired_are_nobodys(self, tmp_path: Path) -> None:
        async def scene(raw: Raw) -> list[int]:
            member = Member(
                name="guest",
                role="auditor",
                signing_key=STRANGER.public,
                agreement_key=AgreementKey.new().public,
                enrolled=0.0,
                expires=asyncio.get_running_loop().time() + 100,
            )
            raw.served.app.state.deployment.federation.journal.add_member(member)
            before = await raw.send(raw.signed_by(STRANGER, ROSTER))
            await asyncio.sleep(101)
            after = await raw.send(raw.signed_by(STRANGER, ROSTER))
            return [before.status, after.status]

        assert played(tmp_path, scene) == [200, 401]


class TestEnumeration:
    """CWE-203 and CWE-208: nobody learns who is a member, or which invitations there are."""

    def test_an_unknown_key_a_known_one_and_a_revoked_one_cost_and_tell_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The work is counted and not timed: one signature is verified, and one row looked for, in each case."""
        work: list[str] = []
        verify = signature.verify

        def verified(*given: Any) -> bool:
            work.append("verify")
            return verify(*given)

        monkeypatch.setattr(signature, "verify", verified)

        class Impostor:
            """Signs with a key of its own under a member's name."""

            def __init__(self, name: str) -> None:
                self.id = name

            def sign(self, message: bytes) -> bytes:
                return STRANGER.sign(message)

        async def scene(raw: Raw) -> list[tuple[int, bytes, tuple[str, ...]]]:
            journal = raw.served.app.state.deployment.federation.journal
            find = journal.member_by_key

            def found(key: str) -> Any:
                work.append("look")
                return find(key)

            journal.member_by_key = found
            journal.revoke("other-node", asyncio.get_running_loop().time())
            keys: list[Any] = [STRANGER, Impostor(raw.world.keys["node"].id), raw.world.keys["other-node"]]
            seen = []
            for key in keys:
                work.clear()
                answer = await raw.send(raw.signed_by(key, ROSTER))
                seen.append((answer.status, answer.body, tuple(work)))
            return seen

        seen = played(tmp_path, scene)
        assert seen[0][0] == 401
        assert seen[0][2] == ("look", "verify")
        assert len(set(seen)) == 1

    def test_every_invitation_that_is_not_good_is_told_the_same(self, tmp_path: Path) -> None:
        async def scene(raw: Raw) -> list[Response]:
            def body(secret: str, name: str) -> Request:
                return enrolment_of(secret, name, SigningKey.new())

            wishes = [Invite(name="used"), Invite(name="late", valid=1.0), Invite(name="other")]
            tokens = []
            for wish in wishes:
                invited = await raw.session("admin").call("POST", "/v1/invitations", wish, Invited)
                assert invited is not None
                tokens.append(Invitation.of(invited.token).secret)
            await raw.send(body(tokens[0], "used"))
            await asyncio.sleep(2)
            bad = [
                body(tokens[0], "used"),
                body(tokens[1], "late"),
                body(tokens[2], "somebody"),
                body("x" * 43, "other"),
                body("x" * 43, "node"),
            ]
            return [await raw.send(request) for request in bad]

        answers = played(tmp_path, scene)
        assert {answer.status for answer in answers} == {401}
        assert len({answer.body for answer in answers}) == 1


def enrolment_of(secret: str, name: str, key: SigningKey) -> Request:
    fields = {
        "secret": secret,
        "name": name,
        "signing_key": key.public,
        "agreement_key": AgreementKey.new().public,
    }
    return Request("POST", "/v1/enrolments", body=json.dumps(fields).encode())
