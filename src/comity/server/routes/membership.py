"""Joining, the roster, keys, nodes and invitations."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from comity.identity.invitation import secret_digest
from comity.identity.roles import Action
from comity.identity.roster import sign_roster
from comity.server.deployment import Deployment, invitation
from comity.server.errors import NotFound, Unauthenticated
from comity.server.gate import Caller, bounded_body
from comity.server.routes.common import SMALL, body_of, caller_for, told
from comity.wire.bodies import parse
from comity.wire.messages import (
    About,
    Enrolled,
    Enrolment,
    Invite,
    Invited,
    Member,
    MemberList,
    NodeChange,
    Rekey,
    Roster,
)


def add(app: FastAPI, deployment: Deployment) -> None:
    journal, now = deployment.federation.journal, deployment.now

    @app.get("/v1/about", response_model=About)
    async def about(request: Request) -> Response:
        deployment.gate.rates.take(request.client.host if request.client else "-")
        return told(deployment.about())

    @app.post("/v1/enrolments", response_model=Enrolled, openapi_extra=body_of(Enrolment))
    async def enrol(request: Request) -> Response:
        deployment.gate.rates.take(request.client.host if request.client else "-", cost=50)
        wish = parse(Enrolment, await bounded_body(request, SMALL), SMALL)
        member = journal.enrol(
            secret_digest(wish.secret), now(), wish.signing_key, wish.agreement_key, wish.name, deployment.lifetime
        )
        if member is None:
            raise Unauthenticated("this invitation is not good", mend="ask the operator for a new one")
        journal.note(now(), wish.name, "enrolled", member.role)
        return told(Enrolled(member=member, about=deployment.about()), 201)

    @app.get("/v1/roster", response_model=Roster)
    async def roster(caller: Caller = caller_for(deployment, Action.READ_ROSTER)) -> Response:
        members = [member.model_copy(update={"seen": None}) for member in journal.members()]
        return told(sign_roster(members, deployment.name, now(), deployment.registrar))

    @app.post("/v1/keys", response_model=Member, openapi_extra=body_of(Rekey))
    async def rekey(caller: Caller = caller_for(deployment, Action.ROTATE_KEY)) -> Response:
        wish = parse(Rekey, caller.body, SMALL)
        journal.rekey(caller.member.name, wish.signing_key, wish.agreement_key, now() + deployment.lifetime)
        journal.note(now(), caller.member.name, "rekeyed", "")
        return told(_member(deployment, caller.member.name))

    @app.get("/v1/nodes", response_model=MemberList)
    async def nodes(caller: Caller = caller_for(deployment, Action.LIST_NODES)) -> Response:
        return told(MemberList(members=tuple(journal.members())))

    @app.patch("/v1/nodes/{name}", response_model=Member, openapi_extra=body_of(NodeChange))
    async def change(name: str, caller: Caller = caller_for(deployment, Action.CHANGE_NODE)) -> Response:
        _member(deployment, name)
        journal.change(name, parse(NodeChange, caller.body, SMALL).tags)
        journal.note(now(), caller.member.name, "changed", name)
        return told(_member(deployment, name))

    @app.post("/v1/nodes/{name}/revocation", response_model=Member)
    async def revoke(name: str, caller: Caller = caller_for(deployment, Action.REVOKE)) -> Response:
        _member(deployment, name)
        journal.revoke(name, now())
        journal.note(now(), caller.member.name, "revoked", name)
        deployment.federation.revoked(name)
        return told(_member(deployment, name))

    @app.post("/v1/invitations", response_model=Invited, openapi_extra=body_of(Invite))
    async def invite(caller: Caller = caller_for(deployment, Action.INVITE)) -> Response:
        return told(invitation(deployment, parse(Invite, caller.body, SMALL), caller.member.name), 201)


def _member(deployment: Deployment, name: str) -> Member:
    member = deployment.federation.journal.member(name)
    if member is None:
        raise NotFound(f"there is no member {name[:64]!r}")
    return member
