"""Who is who: the roster in the registrar's word, a member's own entry, and new keys for it."""

from __future__ import annotations

from fastapi import FastAPI, Response

from comity.identity.errors import IdentityError
from comity.identity.keys import PublicKey
from comity.identity.proof import proves
from comity.identity.roles import Action
from comity.identity.roster import check_roster, settled, sign_roster
from comity.server.deployment import Deployment
from comity.server.errors import Conflict, NotFound, Unfit
from comity.server.gate import Caller
from comity.server.routes.common import LARGE, SMALL, caller_for, route, told
from comity.wire.bodies import parse
from comity.wire.messages import Member, Rekey, Roster, Standing


def add(app: FastAPI, deployment: Deployment) -> None:
    now = deployment.now

    @app.get("/v1/roster", **route(Action.READ_ROSTER, gives=Roster, refuses=(404,)))
    async def roster(caller: Caller = caller_for(deployment, Action.READ_ROSTER)) -> Response:
        """Who belongs to the deployment, signed by its registrar: as it is, or as the registrar signed it last."""
        return told(_roster(deployment))

    @app.put("/v1/roster", **route(Action.PUBLISH_ROSTER, takes=Roster, gives=Roster, refuses=(409,)))
    async def publish(caller: Caller = caller_for(deployment, Action.PUBLISH_ROSTER, LARGE)) -> Response:
        """Give the server a roster that the registrar signed elsewhere; it must be newer than the last."""
        wish = parse(Roster, caller.body, LARGE, values=LARGE)
        return told(_published(deployment, wish, caller.member.name))

    @app.get("/v1/keys", **route(Action.READ_STANDING, gives=Standing))
    async def standing(caller: Caller = caller_for(deployment, Action.READ_STANDING)) -> Response:
        """The caller's own entry, and how long new keys would be good."""
        return told(Standing(member=caller.member, lifetime=deployment.lifetime))

    @app.post("/v1/keys", **route(Action.ROTATE_KEY, takes=Rekey, gives=Member, refuses=(409,)))
    async def rekey(caller: Caller = caller_for(deployment, Action.ROTATE_KEY)) -> Response:
        """Put new keys in the place of the caller's own, which sign this request for the last time.

        Asked once more with the new key, the answer is the same, and nothing changes.
        """
        wish = parse(Rekey, caller.body, SMALL)
        return told(_rekeyed(deployment, wish, caller.member, now()))


def _roster(deployment: Deployment) -> Roster:
    journal, registrar = deployment.federation.journal, deployment.registrar
    if not isinstance(registrar, PublicKey):
        return sign_roster(settled(journal.members()), deployment.name, deployment.now(), registrar)
    body = journal.roster()
    if body is None:
        raise NotFound(
            "the registrar has not signed a roster yet", mend="have the operator ask it to: comity registrar draft"
        )
    return Roster.model_validate_json(body)


def _published(deployment: Deployment, wish: Roster, by: str) -> Roster:
    journal, registrar = deployment.federation.journal, deployment.registrar
    if not isinstance(registrar, PublicKey):
        raise Conflict("this server signs the roster itself", mend="first take registrar.pem out of its folder")
    try:
        check_roster(wish, registrar.public, deployment.now())
    except IdentityError as error:
        raise Unfit(error.what, where=error.where, mend=error.mend) from error
    if wish.deployment != deployment.name:
        raise Unfit(f"this roster is of {wish.deployment[:64]!r}", where="roster.deployment")
    roster = wish.model_copy(update={"members": settled(wish.members)})
    body = roster.model_dump_json()
    if not journal.publish_roster(roster.issued, body):
        if journal.roster() == body:
            return roster
        mend = "draft what the members are now, and have that signed"
        raise Conflict("the server has a roster that was signed later", where="roster.issued", mend=mend)
    journal.note(deployment.now(), by, "published", f"the roster of {roster.issued:.0f}")
    return roster


def _rekeyed(deployment: Deployment, wish: Rekey, member: Member, now: float) -> Member:
    journal = deployment.federation.journal
    if (wish.signing_key, wish.agreement_key) == (member.signing_key, member.agreement_key):
        return member
    if wish.signing_key == member.signing_key or wish.agreement_key == member.agreement_key:
        raise Unfit("one of these keys is not new", where="rekey", mend="make both anew")
    if not proves(wish, member.name, deployment.name):
        raise Unfit("nothing shows that you hold the new key", where="rekey.proof", mend="sign with the new key")
    expires = now + deployment.lifetime
    if not journal.rekey(member.name, member.signing_key, wish.signing_key, wish.agreement_key, expires):
        raise Conflict("these keys are in use, or were replaced meanwhile", where="rekey", mend="make new ones")
    journal.note(now, member.name, "rekeyed", "")
    renewed = journal.member(member.name)
    assert renewed is not None
    return renewed
