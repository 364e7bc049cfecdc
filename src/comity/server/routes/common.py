"""What all routes share: who is let in, how a body is described, and how an answer is written."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from fastapi import Depends, Path, Request, Response

from comity.identity.roles import PERMITTED, Action
from comity.server.deployment import Deployment
from comity.server.gate import Caller, Entered
from comity.wire.messages import Message

SMALL, LARGE = 1 << 16, 12 << 20
"""Bodies of JSON, in bytes: most of them, and those that carry manifests or lists of parts."""

MOST = (1 << 53) - 1
"""The greatest number that every reader of JSON keeps as it is."""

Lease: TypeAlias = Annotated[int, Path(ge=0, le=MOST)]

ROLES = "x-comity-roles"
ANYBODY = "anybody"
"""Where the document says whose signature a route takes; `ANYBODY` needs none."""


def told(message: Message, status: int = 200) -> Response:
    return Response(message.model_dump_json(), status, media_type="application/json")


def route(
    action: Action | None,
    *,
    takes: type[Message] | type[bytes] | None = None,
    gives: type[Message] | type[bytes] | None = None,
    status: int = 200,
    refuses: tuple[int, ...] = (),
) -> dict[str, Any]:
    """What the OpenAPI document says of a route, as arguments of its decorator.

    Bodies are checked here before they are parsed, so FastAPI is not told to do it. `refuses` are the statuses of
    refusals beyond those that every route, or every signed one, may give.
    """
    extra: dict[str, Any] = {ROLES: [ANYBODY] if action is None else sorted(PERMITTED[action])}
    if takes is not None:
        extra["requestBody"] = {"required": True, "content": _content(takes)}
    always = (503,) if action is None else (401, 403, 413, 422, 429, 503)
    responses: dict[int | str, dict[str, Any]] = {code: {} for code in sorted({*always, *refuses})}
    if gives is not None:
        responses[status] = {"content": _content(gives)}
    return {"status_code": status, "response_class": Response, "responses": responses, "openapi_extra": extra}


def _content(kind: type[Message] | type[bytes]) -> dict[str, Any]:
    if issubclass(kind, Message):
        return {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}
    return {"application/octet-stream": {}}


def caller_for(deployment: Deployment, action: Action, limit: int = SMALL) -> Any:
    """A dependency: the caller, if it may do `action`."""

    async def admitted(request: Request) -> Caller:
        return await deployment.gate.admit(request, action, limit)

    return Depends(admitted)


def entered_for(deployment: Deployment, action: Action, limit: int) -> Any:
    """A dependency: the caller, if it may do `action`, whose body is still to be taken in."""

    async def entered(request: Request) -> Entered:
        return deployment.gate.enter(request, action, limit)

    return Depends(entered)
