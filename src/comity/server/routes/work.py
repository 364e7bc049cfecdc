"""What nodes do: ask for work, send parts, contribute or refuse."""

from __future__ import annotations

from fastapi import FastAPI, Response

from comity.identity.roles import Action
from comity.server.deployment import Deployment
from comity.server.errors import Unfit
from comity.server.gate import Caller
from comity.server.routes.common import LARGE, SMALL, body_of, caller_for, told
from comity.wire.bodies import parse
from comity.wire.messages import PART_BYTES, Ask, Contributed, PartList, Refused, Verdict, Work


def add(app: FastAPI, deployment: Deployment) -> None:
    federation = deployment.federation

    @app.post("/v1/work", response_model=Work, openapi_extra=body_of(Ask))
    async def work(caller: Caller = caller_for(deployment, Action.ASK_WORK)) -> Response:
        ask = parse(Ask, caller.body, SMALL)
        if tuple(sorted(ask.datasets)) != tuple(sorted(caller.member.datasets)):
            federation.journal.offer(caller.member.name, ask.datasets)
        return told(await federation.work(caller.member.name, ask))

    @app.post("/v1/parts/missing", response_model=PartList, openapi_extra=body_of(PartList))
    async def missing(caller: Caller = caller_for(deployment, Action.SEND_PARTS, LARGE)) -> Response:
        asked = parse(PartList, caller.body, LARGE)
        return told(PartList(digests=tuple(federation.blobs.missing(caller.member.name, list(asked.digests)))))

    @app.put("/v1/parts/{digest}", status_code=204)
    async def put(digest: str, caller: Caller = caller_for(deployment, Action.SEND_PARTS, PART_BYTES)) -> Response:
        if caller.digest != digest:
            raise Unfit("the body is not what the address names", where="parts")
        federation.blobs.put_part(caller.member.name, digest, caller.body)
        return Response(status_code=204)

    @app.post("/v1/runs/{run}/leases/{lease}/contribution", response_model=Verdict, openapi_extra=body_of(Contributed))
    async def contribute(
        run: str, lease: int, caller: Caller = caller_for(deployment, Action.CONTRIBUTE, LARGE)
    ) -> Response:
        given = parse(Contributed, caller.body, LARGE)
        return told(federation.contribute(caller.member.name, run, lease, given))

    @app.post("/v1/runs/{run}/leases/{lease}/refusal", response_model=Verdict, openapi_extra=body_of(Refused))
    async def refuse(run: str, lease: int, caller: Caller = caller_for(deployment, Action.CONTRIBUTE)) -> Response:
        return told(federation.refuse(caller.member.name, run, lease, parse(Refused, caller.body, SMALL)))
