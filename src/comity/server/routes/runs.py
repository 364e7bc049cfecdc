"""Runs: submitted, watched, stopped, and what their parties and owners may read of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query, Response

from comity.identity.roles import Action
from comity.server.aggregate import run_owner
from comity.server.deployment import Deployment
from comity.server.errors import NotFound
from comity.server.gate import Caller
from comity.server.liverun import LiveRun
from comity.server.liveruns import unread
from comity.server.routes.common import LARGE, MOST, caller_for, route, told
from comity.wire.bodies import parse
from comity.wire.messages import Blob, Digest, JobText, Member, Rounds, RunFacts, RunId, RunList, Source, Submit

_LISTED = 100
"""So many runs are listed, the latest first."""


def add(app: FastAPI, deployment: Deployment) -> None:
    """All of them."""
    _steering(app, deployment)
    _reading(app, deployment)


def _steering(app: FastAPI, deployment: Deployment) -> None:
    federation = deployment.federation

    @app.post("/v1/runs", **route(Action.SUBMIT, takes=Submit, gives=RunFacts, status=201, refuses=(404, 409, 507)))
    async def submit(caller: Caller = caller_for(deployment, Action.SUBMIT, LARGE)) -> Response:
        """Begin a run; the same wish again is the same run."""
        facts = await federation.submit(caller.member, parse(Submit, caller.body, LARGE))
        federation.journal.note(deployment.now(), caller.member.name, "submitted", facts.id)
        return told(facts, 201)

    @app.get("/v1/runs", **route(Action.READ_RUNS, gives=RunList))
    async def runs(caller: Caller = caller_for(deployment, Action.READ_RUNS)) -> Response:
        """The latest 100 runs; a researcher sees its own."""
        own = caller.member.name if caller.member.role == "researcher" else None
        listed = []
        for row in federation.journal.runs(own)[:_LISTED]:
            with unread(row.id):
                listed.append(federation.run(row.id).facts())
        return told(RunList(runs=tuple(listed)))

    @app.get("/v1/runs/{run}", **route(Action.READ_RUNS, gives=Rounds, refuses=(404,)))
    async def show(
        run: RunId,
        caller: Caller = caller_for(deployment, Action.READ_RUNS),
        after: Annotated[int, Query(ge=0, le=MOST)] = 0,
        wait: Annotated[float, Query(ge=0, le=60)] = 0.0,
    ) -> Response:
        """A run and its rounds after the first `after`; waits up to `wait` seconds for one where there is none yet."""
        _readable(federation.run(run), caller.member)
        return told(await federation.watch(run, after, wait))

    @app.post("/v1/runs/{run}/stop", **route(Action.STEER_RUN, gives=RunFacts, refuses=(404,)))
    async def stop(run: RunId, caller: Caller = caller_for(deployment, Action.STEER_RUN)) -> Response:
        """End a run; a round whose contributions are counted already is seen through, and waited for."""
        _readable(federation.run(run), caller.member)
        federation.journal.note(deployment.now(), caller.member.name, "stopped", run)
        return told(await federation.stop(run))


def _reading(app: FastAPI, deployment: Deployment) -> None:
    """What a party needs to decide and to take part, and a submitter to go on with the model."""
    federation = deployment.federation

    @app.get("/v1/runs/{run}/job", **route(Action.READ_JOB, gives=JobText, refuses=(404,)))
    async def job(run: RunId, caller: Caller = caller_for(deployment, Action.READ_JOB)) -> Response:
        """The job as it was submitted, and the digest of the source that it needs."""
        row = _readable(federation.run(run), caller.member).row
        text = JobText(
            manifest=row.manifest,
            source=row.source_digest,
            submitter=row.submitter,
            parties=len(row.parties),
            layout=row.layout,
        )
        return told(text)

    @app.get("/v1/runs/{run}/source", **route(Action.READ_JOB, gives=Source, refuses=(404,)))
    async def source(run: RunId, caller: Caller = caller_for(deployment, Action.READ_JOB)) -> Response:
        """The source files that a job brings."""
        row = _readable(federation.run(run), caller.member).row
        if row.source is None:
            raise NotFound("this run has no source of its own")
        return Response(row.source, media_type="application/json")

    @app.get("/v1/runs/{run}/blobs/{digest}", **route(Action.READ_BLOB, gives=bytes, refuses=(404,)))
    async def blob(
        run: RunId,
        digest: Digest,
        part: Annotated[int, Query(ge=0, le=MOST)],
        caller: Caller = caller_for(deployment, Action.READ_BLOB),
    ) -> Response:
        """One part of a blob: of what is broadcast for a node, of the model for those who own the run."""
        found = _blob(_readable(federation.run(run), caller.member), digest, caller.member)
        if part >= len(found.parts):
            raise NotFound("there is no such part")
        content = federation.blobs.part(run_owner(run), found.parts[part])
        return Response(content, media_type="application/octet-stream")


def _readable(live: LiveRun, member: Member) -> LiveRun:
    """The run, if it is any of this member's business: otherwise it is not there."""
    mine = member.name == live.row.submitter or (member.role == "node" and member.name in live.row.parties)
    if mine or member.role in ("admin", "auditor"):
        return live
    raise NotFound(f"there is no run {live.row.id}")


def _blob(live: LiveRun, digest: str, member: Member) -> Blob:
    """What was broadcast, to the parties; the model, to those who own the run."""
    if member.role == "node":
        known = [blob for model in live.models.values() for blob in model.broadcast.values()]
    else:
        known = [live.model.state]
    found = next((blob for blob in known if blob.digest == digest), None)
    if found is None:
        raise NotFound("there is no such blob")
    return found
