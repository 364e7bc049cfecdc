"""Joining, nodes and invitations."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from comity.identity.invitation import secret_digest
from comity.identity.roles import Action
from comity.server.deployment import Deployment, invitation
from comity.server.errors import NotFound, Unauthenticated
from comity.server.gate import Caller, bounded_body
from comity.server.routes.common import SMALL, caller_for, route, told
from comity.wire.bodies import parse
from comity.wire.messages import (
    About,
    Enrolled,
    Enrolment,
    Invite,
    Invited,
    Member,
    MemberList,
    Name,
    NodeChange,
)


def add(app: FastAPI, deployment: Deployment) -> None:
    journal, now = deployment.federation.journal, deployment.now

    @app.get("/v1/about", **route(None, gives=About, refuses=(429,)))
    async def about(request: Request) -> Response:
        """What anybody may know of this server: its name, its time, and the authority of its certificate."""
        deployment.gate.rates.take(request.client.host if request.client else "-")
        return told(deployment.about())

    @app.post(
        "/v1/enrolments", **route(None, takes=Enrolment, gives=Enrolled, status=201, refuses=(401, 413, 422, 429))
    )
    async def enrol(request: Request) -> Response:
        """Spend an invitation: its secret is what lets the joiner in, once."""
        deployment.gate.rates.take(request.client.host if request.client else "-", cost=50)
        wish = parse(Enrolment, await bounded_body(request, SMALL), SMALL)
        member = journal.enrol(
            secret_digest(wish.secret), now(), wish.signing_key, wish.agreement_key, wish.name, deployment.lifetime
        )
        if member is None:
            raise Unauthenticated("this invitation is not good", mend="ask the operator for a new one")
        journal.note(now(), wish.name, "enrolled", member.role)
        return told(Enrolled(member=member, about=deployment.about()), 201)

    @app.get("/v1/nodes", **route(Action.LIST_NODES, gives=MemberList))
    async def nodes(caller: Caller = caller_for(deployment, Action.LIST_NODES)) -> Response:
        """All members, with what they offer and when they were seen last."""
        return told(MemberList(members=tuple(journal.members())))

    @app.patch("/v1/nodes/{name}", **route(Action.CHANGE_NODE, takes=NodeChange, gives=Member, refuses=(404,)))
    async def change(name: Name, caller: Caller = caller_for(deployment, Action.CHANGE_NODE)) -> Response:
        """Give a node other tags."""
        _member(deployment, name)
        journal.change(name, parse(NodeChange, caller.body, SMALL).tags)
        journal.note(now(), caller.member.name, "changed", name)
        return told(_member(deployment, name))

    @app.post("/v1/nodes/{name}/revocation", **route(Action.REVOKE, gives=Member, refuses=(404,)))
    async def revoke(name: Name, caller: Caller = caller_for(deployment, Action.REVOKE)) -> Response:
        """End a membership, from this request on."""
        _member(deployment, name)
        journal.revoke(name, now())
        journal.note(now(), caller.member.name, "revoked", name)
        deployment.federation.revoked(name)
        return told(_member(deployment, name))

    @app.post("/v1/invitations", **route(Action.INVITE, takes=Invite, gives=Invited, status=201))
    async def invite(caller: Caller = caller_for(deployment, Action.INVITE)) -> Response:
        """Make an invitation for one joiner."""
        return told(invitation(deployment, parse(Invite, caller.body, SMALL), caller.member.name), 201)


def _member(deployment: Deployment, name: str) -> Member:
    member = deployment.federation.journal.member(name)
    if member is None:
        raise NotFound(f"there is no member {name!r}")
    return member
