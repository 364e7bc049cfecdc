"""What all routes share: who is let in, how a body is described, and how an answer is written."""

from __future__ import annotations

from typing import Any

from fastapi import Depends, Request, Response

from comity.identity.roles import Action
from comity.server.deployment import Deployment
from comity.server.gate import Caller
from comity.wire.messages import Message

SMALL, LARGE = 1 << 16, 12 << 20
"""Bodies of JSON, in bytes: most of them, and those that carry manifests or lists of parts."""


def told(message: Message, status: int = 200) -> Response:
    return Response(message.model_dump_json(), status, media_type="application/json")


def body_of(kind: type[Message]) -> dict[str, Any]:
    """What the OpenAPI document says of a body that is checked here before it is parsed."""
    content = {"application/json": {"schema": kind.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


def caller_for(deployment: Deployment, action: Action, limit: int = SMALL) -> Any:
    """A dependency: the caller, if it may do `action`."""

    async def admitted(request: Request) -> Caller:
        return await deployment.gate.admit(request, action, limit)

    return Depends(admitted)
