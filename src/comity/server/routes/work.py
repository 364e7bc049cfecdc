"""What nodes do: ask for work, send parts, contribute or refuse."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from comity.identity.roles import Action
from comity.server.deployment import Deployment
from comity.server.errors import Unfit
from comity.server.gate import Caller, Entered, passed_on
from comity.server.meanwhile import meanwhile
from comity.server.routes.common import LARGE, SMALL, Lease, caller_for, entered_for, route, told
from comity.store.errors import Mismatch
from comity.wire.bodies import parse
from comity.wire.messages import PART_BYTES, Ask, Contributed, Digest, PartList, Refused, RunId, Verdict, Work
from comity.wire.signature import Fault, SignatureError


def add(app: FastAPI, deployment: Deployment) -> None:
    federation = deployment.federation

    @app.post("/v1/work", **route(Action.ASK_WORK, takes=Ask, gives=Work))
    async def work(caller: Caller = caller_for(deployment, Action.ASK_WORK)) -> Response:
        """What this node has to do: at once where that is not what it knows, otherwise when it changes."""
        ask = parse(Ask, caller.body, SMALL)
        if tuple(sorted(ask.datasets)) != tuple(sorted(caller.member.datasets)):
            federation.journal.offer(caller.member.name, ask.datasets)
        return told(await federation.work(caller.member.name, ask))

    @app.post("/v1/parts/missing", **route(Action.SEND_PARTS, takes=PartList, gives=PartList))
    async def missing(caller: Caller = caller_for(deployment, Action.SEND_PARTS, LARGE)) -> Response:
        """Those of these parts that the caller has not sent yet; what others have sent does not count."""
        asked = parse(PartList, caller.body, LARGE)
        return told(PartList(digests=tuple(federation.blobs.missing(caller.member.name, list(asked.digests)))))

    @app.put("/v1/parts/{digest}", **route(Action.SEND_PARTS, takes=bytes, status=204, refuses=(507,)))
    async def put(
        digest: Digest, request: Request, caller: Entered = entered_for(deployment, Action.SEND_PARTS, PART_BYTES)
    ) -> Response:
        """Keep one part of a blob, at most 16 MiB; a part that comes again is the same part."""
        if caller.digest != digest:
            raise Unfit("the body is not what the address names", where="parts")
        with federation.blobs.arriving(caller.member.name, digest) as arrival:
            await passed_on(request, PART_BYTES, arrival.add)
            try:
                await meanwhile(arrival.size, arrival.keep)
            except Mismatch as error:
                raise deployment.gate.refused(request, SignatureError(Fault.BODY)) from error
        return Response(status_code=204)

    @app.post(
        "/v1/runs/{run}/leases/{lease}/contribution",
        **route(Action.CONTRIBUTE, takes=Contributed, gives=Verdict, refuses=(404, 409)),
    )
    async def contribute(
        run: RunId, lease: Lease, caller: Caller = caller_for(deployment, Action.CONTRIBUTE, LARGE)
    ) -> Response:
        """Give what this lease asked for; the verdict says whether it counts. The same again gets the same verdict."""
        given = parse(Contributed, caller.body, LARGE)
        return told(await federation.contribute(caller.member.name, run, lease, given))

    @app.post(
        "/v1/runs/{run}/leases/{lease}/refusal",
        **route(Action.CONTRIBUTE, takes=Refused, gives=Verdict, refuses=(404,)),
    )
    async def refuse(run: RunId, lease: Lease, caller: Caller = caller_for(deployment, Action.CONTRIBUTE)) -> Response:
        """Do not take part in this round, and say why."""
        return told(federation.refuse(caller.member.name, run, lease, parse(Refused, caller.body, SMALL)))
