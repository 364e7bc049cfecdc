"""The audit: who did what at this server, for those who oversee it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import FastAPI, Query, Response

from comity.identity.roles import Action
from comity.server.deployment import Deployment
from comity.server.gate import Caller
from comity.server.routes.common import MOST, caller_for, route, told
from comity.wire.messages import AuditEntry, AuditPage

_PAGE = 500


def add(app: FastAPI, deployment: Deployment) -> None:
    journal = deployment.federation.journal

    @app.get("/v1/audit", **route(Action.READ_AUDIT, gives=AuditPage))
    async def audit(
        caller: Caller = caller_for(deployment, Action.READ_AUDIT), after: Annotated[int, Query(ge=0, le=MOST)] = 0
    ) -> Response:
        """The entries after number `after`, at most 500; none where there are no more."""
        rows = journal.audit(after, _PAGE)
        return told(AuditPage(entries=tuple(AuditEntry(**asdict(row)) for row in rows)))
