"""The API: who may do what, that other people's things are not there, and that a request counts once."""

import asyncio
import itertools
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import comity as ct
from comity.core import manifest, states
from comity.identity.invitation import Invitation
from comity.identity.keys import AgreementKey, SigningKey
from comity.identity.roles import PERMITTED, Action
from comity.server.vectors import written
from comity.store.chain import Head
from comity.store.rows import AuditRow
from comity.wire.client import ProblemError, Session
from comity.wire.messages import AuditEntry, AuditPage, Blob, Invite, Invited, RunFacts, RunList, Submit
from comity.wire.signature import NONCE_BYTES, sign
from comity.wire.transport import Request, Response
from support.deployments import NAME, World, counted, loop_time
from support.quadratic import Quadratic
from support.virtual_time import run_virtually

JOB = ct.Job(ct.FedAvgM(Quadratic(), ct.LocalSGD(lr=0.1)), ct.Rounds(count=2))
ROLES = ("admin", "researcher", "auditor", "node")

ROUTES: list[tuple[str, str, Action]] = [
    ("GET", "/v1/roster", Action.READ_ROSTER),
    ("PUT", "/v1/roster", Action.PUBLISH_ROSTER),
    ("GET", "/v1/keys", Action.READ_STANDING),
    ("POST", "/v1/keys", Action.ROTATE_KEY),
    ("GET", "/v1/nodes", Action.LIST_NODES),
    ("PATCH", "/v1/nodes/nobody", Action.CHANGE_NODE),
    ("POST", "/v1/nodes/nobody/revocation", Action.REVOKE),
    ("POST", "/v1/invitations", Action.INVITE),
    ("GET", "/v1/audit", Action.READ_AUDIT),
    ("POST", "/v1/work", Action.ASK_WORK),
    ("POST", "/v1/parts/missing", Action.SEND_PARTS),
    ("PUT", "/v1/parts/" + "0" * 64, Action.SEND_PARTS),
    ("POST", "/v1/runs/0000000000000000/leases/0/contribution", Action.CONTRIBUTE),
    ("POST", "/v1/runs/0000000000000000/leases/0/refusal", Action.CONTRIBUTE),
    ("POST", "/v1/runs", Action.SUBMIT),
    ("GET", "/v1/runs", Action.READ_RUNS),
    ("GET", "/v1/runs/0000000000000000", Action.READ_RUNS),
    ("POST", "/v1/runs/0000000000000000/stop", Action.STEER_RUN),
    ("GET", "/v1/runs/0000000000000000/job", Action.READ_JOB),
    ("GET", "/v1/runs/0000000000000000/source", Action.READ_JOB),
    ("GET", "/v1/runs/0000000000000000/blobs/" + "0" * 64, Action.READ_BLOB),
]
OPEN = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/v1/about"), ("POST", "/v1/enrolments")}


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    journal = world.journal()
    for role in ROLES:
        world.add(journal, role, role)
    for name in ("other-node", "other-researcher"):
        world.add(journal, name, name.removeprefix("other-"))
    journal.close()
    return world


class Api:
    """A replica that is up, and what members say to it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.served = world.serve()

    async def __aenter__(self) -> "Api":
        await self.served.start()
        await asyncio.sleep(2)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.served.stop()

    def signed(self, name: str, request: Request, nonce: bytes = b"n" * NONCE_BYTES) -> Request:
        return sign(request, self.world.keys[name], NAME, loop_time(), nonce)

    async def send(self, request: Request) -> Response:
        return await self.served.send(request, timeout=10)

    @cache  # noqa: B019  # as long as the test
    def session(self, name: str) -> Session:
        return self.world.session(name, self.served, patience=0.0)

    async def submitted(self, name: str = "researcher") -> RunFacts:
        session = self.session(name)
        state = b"".join(written(states.flatten(JOB.program.init(JOB.root_seed))))
        wish = Submit(
            run="ab" * 8,
            manifest=JOB.to_json(),
            layout=manifest.canonical(manifest.encode(JOB.program.model.layout)),
            start=await session.upload(state),
            dataset="points",
            nodes=("node",),
        )
        facts = await session.call("POST", "/v1/runs", wish, RunFacts)
        assert facts is not None
        return facts


def test_the_table_below_names_every_route(world: World) -> None:
    def generic(path: str) -> str:
        for example, name in (("0" * 64, "{digest}"), ("0" * 16, "{run}"), ("nobody", "{name}"), ("/0/", "/{lease}/")):
            path = path.replace(example, name)
        return path

    async def routes() -> set[tuple[str, str]]:
        app: Any = world.serve().app
        return {(method, route.path) for route in app.routes for method in route.methods}

    assert run_virtually(routes()) == OPEN | {(method, generic(path)) for method, path, _ in ROUTES}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("method", "path", "action"), ROUTES, ids=[f"{m} {p}" for m, p, _ in ROUTES])
def test_a_role_may_do_what_the_table_of_roles_says_and_nothing_else(
    method: str, path: str, action: Action, role: str, world: World
) -> None:
    async def status() -> int:
        async with Api(world) as api:
            return (await api.send(api.signed(role, Request(method, path)))).status

    assert (run_virtually(status()) != 403) == (role in PERMITTED[action])


@pytest.mark.parametrize(("method", "path", "action"), ROUTES, ids=[f"{m} {p}" for m, p, _ in ROUTES])
def test_nobody_gets_in_without_a_signature_or_with_one_that_was_used(
    method: str, path: str, action: Action, world: World
) -> None:
    role = min(PERMITTED[action])

    async def answers() -> list[Response]:
        async with Api(world) as api:
            signed = api.signed(role, Request(method, path))
            first = await api.send(signed)
            assert first.status not in (401, 403)
            stranger = sign(Request(method, path), SigningKey.new(), NAME, loop_time(), b"m" * NONCE_BYTES)
            unsigned = Request(method, path)
            elsewhere = sign(Request(method, path), world.keys[role], "another", loop_time(), b"o" * NONCE_BYTES)
            return [await api.send(request) for request in (unsigned, signed, stranger, elsewhere)]

    found = run_virtually(answers())
    assert [response.status for response in found] == [401] * 4
    assert len({response.body for response in found}) == 1, "every cause is told in the same words"


def test_what_is_not_yours_is_not_there(world: World) -> None:
    async def statuses() -> dict[str, list[int]]:
        async with Api(world) as api:
            run = (await api.submitted()).id
            live = api.served.app.state.deployment.federation.run(run)
            state, sent = live.model.state, live.model.broadcast["weights"]
            paths = [
                f"/v1/runs/{run}",
                f"/v1/runs/{run}/job",
                f"/v1/runs/{run}/blobs/{state.digest}",
                f"/v1/runs/{run}/blobs/{sent.digest}",
            ]
            found: dict[str, list[int]] = {}
            for name in ("researcher", "other-researcher", "node", "other-node", "admin", "auditor"):
                token = counted(hash(name) % 10**6)
                found[name] = [
                    (await api.send(api.signed(name, Request("GET", path, {"part": "0"}), token(16)))).status
                    for path in paths
                ]
            return found

    assert run_virtually(statuses()) == {
        "researcher": [200, 200, 200, 404],
        "other-researcher": [404, 404, 404, 404],
        "node": [403, 200, 404, 200],
        "other-node": [403, 404, 404, 404],
        "admin": [200, 200, 200, 404],
        "auditor": [200, 200, 403, 403],
    }


def test_a_revoked_member_is_out_at_once_and_an_expired_one_too(world: World) -> None:
    async def statuses() -> list[int]:
        async with Api(world) as api:
            before = await api.send(api.signed("node", Request("GET", "/v1/roster")))
            await api.session("admin").call("POST", "/v1/nodes/node/revocation")
            after = await api.send(api.signed("node", Request("GET", "/v1/roster"), b"p" * NONCE_BYTES))
            return [before.status, after.status]

    assert run_virtually(statuses()) == [200, 401]


def test_an_invitation_lets_one_joiner_in_once(world: World) -> None:
    def enrolment(token: str, name: str) -> Request:
        body = {
            "secret": Invitation.of(token).secret,
            "name": name,
            "signing_key": SigningKey.new().public,
            "agreement_key": AgreementKey.new().public,
        }
        return Request("POST", "/v1/enrolments", body=json.dumps(body).encode())

    async def statuses() -> list[int]:
        async with Api(world) as api:
            invited = await api.session("admin").call("POST", "/v1/invitations", Invite(name="new"), Invited)
            late = await api.session("admin").call("POST", "/v1/invitations", Invite(name="late", valid=60.0), Invited)
            assert invited is not None
            assert late is not None
            requests = [enrolment(invited.token, name) for name in ("somebody", "new", "new")]
            found = [(await api.send(request)).status for request in requests]
            await asyncio.sleep(61)
            return [*found, (await api.send(enrolment(late.token, "late"))).status]

    assert run_virtually(statuses()) == [401, 201, 401, 401]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dataset": "elsewhere"}, "does not offer 'elsewhere'"),
        ({"dataset": "elsewhere", "nodes": ()}, "no node offers"),
        ({"nodes": ("stranger",)}, "no node is called stranger"),
        ({"nodes": ("researcher",)}, "no node is called researcher"),
        ({"tags": ("gpu",)}, "does not offer"),
        ({"manifest": "{}"}, "no job with a program"),
        ({"manifest": '{"comity": 1, "job": {"program": {"ref": "Mine"}}}'}, "not a part of Comity"),
        ({"layout": "[]"}, "no layout"),
    ],
)
def test_a_job_that_cannot_be_carried_out_is_refused_with_the_reason(
    change: dict[str, Any], words: str, world: World
) -> None:
    async def refused() -> ProblemError:
        async with Api(world) as api:
            session = api.session("researcher")
            state = b"".join(written(states.flatten(JOB.program.init(JOB.root_seed))))
            fields: dict[str, Any] = {
                "run": "ab" * 8,
                "manifest": JOB.to_json(),
                "layout": manifest.canonical(manifest.encode(JOB.program.model.layout)),
                "start": await session.upload(state),
                "dataset": "points",
                "nodes": ("node",),
            }
            with pytest.raises(ProblemError) as caught:
                await session.call("POST", "/v1/runs", Submit(**fields | change), RunFacts)
            assert (await session.call("GET", "/v1/runs", None, RunList)) == RunList(runs=())
            return caught.value

    error = run_virtually(refused())
    assert error.status == 422
    assert words in str(error)


def test_a_first_state_that_is_not_the_jobs_is_refused(world: World) -> None:
    async def refused(state: bytes) -> str:
        async with Api(world) as api:
            session = api.session("researcher")
            wish = Submit(
                run="ab" * 8,
                manifest=JOB.to_json(),
                layout=manifest.canonical(manifest.encode(JOB.program.model.layout)),
                start=await session.upload(state),
                dataset="points",
            )
            with pytest.raises(ProblemError, match="first state"):
                await session.call("POST", "/v1/runs", wish, RunFacts)
            lost = Blob(digest="0" * 64, size=3, parts=("1" * 64,))
            with pytest.raises(ProblemError, match="not here"):
                await session.call("POST", "/v1/runs", wish.model_copy(update={"start": lost}), RunFacts)
            return "refused"

    for state in states_that_do_not_fit():
        assert run_virtually(refused(state)) == "refused"


def states_that_do_not_fit() -> Iterator[bytes]:
    whole = b"".join(written({"weights": np.zeros(3, np.float32)}))
    yield b""
    yield b"\xff" * 64
    yield whole[:-1]
    yield whole + b"\0"
    yield b"".join(written({"weights": np.zeros(4, np.float32)}))
    yield b"".join(written({"other": np.zeros(3, np.float32)}))
    header = b'{"weights":{"dtype":"F32","shape":[3037000500,3037000500,4],"data_offsets":[0,12]}}'
    yield len(header).to_bytes(8, "little") + header + b"\0" * 12
    deep = b'{"weights":' + b"[" * 5000 + b"]" * 5000 + b"}"
    yield len(deep).to_bytes(8, "little") + deep


def test_the_audit_comes_in_pages_whose_chain_holds(world: World) -> None:
    async def pages() -> list[tuple[AuditEntry, ...]]:
        async with Api(world) as api:
            journal = api.served.app.state.deployment.federation.journal
            for number in range(501):
                journal.note(float(number), "admin", "counted", {"to": number})
            found: list[tuple[AuditEntry, ...]] = []
            while not found or found[-1]:
                after = str(found[-1][-1].seq if found else 0)
                page = await api.session("auditor").call("GET", "/v1/audit", None, AuditPage, {"after": after})
                assert page is not None
                found.append(page.entries)
            return found

    found = run_virtually(pages())
    assert [len(page) for page in found] == [500, 1, 0]
    head = Head()
    for entry in itertools.chain(*found):
        head = head.follow(AuditRow(**entry.model_dump()))
    assert head.rows == 501
