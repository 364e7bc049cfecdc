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
from comity.server.routes.common import LARGE, body_of, caller_for, told
from comity.wire.bodies import parse
from comity.wire.messages import Blob, JobText, Member, Rounds, RunFacts, RunList, Source, Submit

_LISTED = 100
"""So many runs are listed, the latest first."""


def add(app: FastAPI, deployment: Deployment) -> None:
    """All of them."""
    _steering(app, deployment)
    _reading(app, deployment)


def _steering(app: FastAPI, deployment: Deployment) -> None:
    federation = deployment.federation

    @app.post("/v1/runs", response_model=RunFacts, openapi_extra=body_of(Submit))
    async def submit(caller: Caller = caller_for(deployment, Action.SUBMIT, LARGE)) -> Response:
        facts = federation.submit(caller.member, parse(Submit, caller.body, LARGE))
        federation.journal.note(deployment.now(), caller.member.name, "submitted", facts.id)
        return told(facts, 201)

    @app.get("/v1/runs", response_model=RunList)
    async def runs(caller: Caller = caller_for(deployment, Action.READ_RUNS)) -> Response:
        own = caller.member.name if caller.member.role == "researcher" else None
        listed = []
        for row in federation.journal.runs(own)[:_LISTED]:
            with unread(row.id):
                listed.append(federation.run(row.id).facts())
        return told(RunList(runs=tuple(listed)))

    @app.get("/v1/runs/{run}", response_model=Rounds)
    async def show(
        run: str,
        caller: Caller = caller_for(deployment, Action.READ_RUNS),
        after: Annotated[int, Query(ge=0)] = 0,
        wait: Annotated[float, Query(ge=0, le=60)] = 0.0,
    ) -> Response:
        _readable(federation.run(run), caller.member)
        return told(await federation.watch(run, after, wait))

    @app.post("/v1/runs/{run}/stop", response_model=RunFacts)
    async def stop(run: str, caller: Caller = caller_for(deployment, Action.STEER_RUN)) -> Response:
        _readable(federation.run(run), caller.member)
        federation.journal.note(deployment.now(), caller.member.name, "stopped", run)
        return told(await federation.stop(run))


def _reading(app: FastAPI, deployment: Deployment) -> None:
    """What a party needs to decide and to take part, and a submitter to go on with the model."""
    federation = deployment.federation

    @app.get("/v1/runs/{run}/job", response_model=JobText)
    async def job(run: str, caller: Caller = caller_for(deployment, Action.READ_JOB)) -> Response:
        row = _readable(federation.run(run), caller.member).row
        layout = "" if caller.member.role == "node" else row.layout
        text = JobText(
            manifest=row.manifest,
            source=row.source_digest,
            submitter=row.submitter,
            parties=len(row.parties),
            layout=layout,
        )
        return told(text)

    @app.get("/v1/runs/{run}/source", response_model=Source)
    async def source(run: str, caller: Caller = caller_for(deployment, Action.READ_JOB)) -> Response:
        row = _readable(federation.run(run), caller.member).row
        if row.source is None:
            raise NotFound("this run has no source of its own")
        return Response(row.source, media_type="application/json")

    @app.get("/v1/runs/{run}/blobs/{digest}", response_class=Response)
    async def blob(
        run: str,
        digest: str,
        part: Annotated[int, Query(ge=0)],
        caller: Caller = caller_for(deployment, Action.READ_BLOB),
    ) -> Response:
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
