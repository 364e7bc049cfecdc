"""The application of one replica: the routes, its background, and how errors are told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from comity.core.errors import ComityError, ConfigError, ManifestError
from comity.server.deployment import Deployment
from comity.server.errors import Conflict, Forbidden, NotFound, TooMany, TooMuch, Unauthenticated, Unfit, Unreadable
from comity.server.observed import Observe, StoreFailed
from comity.server.routes import audit, health, identity, membership, runs, work
from comity.store.errors import Absent, Mismatch, StorageFull, StoreError
from comity.wire.bodies import BodyError, TooLarge
from comity.wire.messages import Problem

_log = logging.getLogger("comity.server")

_STATUSES: Mapping[type[ComityError], int] = {
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    TooMuch: 413,
    TooMany: 429,
    TooLarge: 413,
    BodyError: 422,
    Unfit: 422,
    ManifestError: 422,
    ConfigError: 422,
    Absent: 404,
    Mismatch: 422,
    Unreadable: 500,
    StorageFull: 507,
    StoreError: 503,
}
"""The first that fits counts: an error's own kind stands before the kind that it belongs to."""

_TITLES = {
    401: "who are you?",
    403: "not allowed",
    404: "not found",
    405: "not found",
    409: "conflict",
    413: "too much",
    422: "malformed",
    429: "too many",
    500: "error",
    503: "not ready",
    507: "full",
}


def build(deployment: Deployment) -> FastAPI:
    """The application of one replica."""
    federation, journal = deployment.federation, deployment.federation.journal

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()

        def appended(run: str) -> None:
            loop.call_soon_threadsafe(federation.refresh, run)

        journal.listen(appended)
        federation.start()
        keeping = [loop.create_task(federation.keep_time()), loop.create_task(federation.keep_order())]
        try:
            yield
        finally:
            for task in keeping:
                task.cancel()
            await federation.close()

    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        lifespan=lifespan,
    )
    app.state.deployment = deployment
    _handle_errors(app, federation.observe)
    health.add(app, federation)
    for routes in (membership, identity, work, runs, audit):
        routes.add(app, deployment)
    return app


def _handle_errors(app: FastAPI, observe: Observe) -> None:
    @app.exception_handler(ComityError)
    async def refused(request: Request, error: ComityError) -> JSONResponse:
        status = next((code for kind, code in _STATUSES.items() if isinstance(error, kind)), 500)
        if status >= 500:
            what = f"{request.method} {request.url.path}"
            if isinstance(error, StoreError):
                observe(StoreFailed(what, error))
            else:
                _log.error("%s: %s", what, error)
            # Where the server keeps what is nobody's business but the operator's.
            return _problem(status, Problem(title=_TITLES[status], detail="it is in the server's log"))
        return _problem(status, Problem(title=_TITLES[status], detail=error.what, where=error.where, mend=error.mend))

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> JSONResponse:
        answer = _problem(error.status_code, Problem(title=_TITLES.get(error.status_code, "error"), detail=""))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    async def unfit(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        return _problem(422, Problem(title=_TITLES[422], detail=str(first["msg"]), where=where))

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        _log.exception("%s %s", request.method, request.url.path, exc_info=error)
        return _problem(500, Problem(title=_TITLES[500], detail="it is in the server's log"))


def _problem(status: int, problem: Problem) -> JSONResponse:
    return JSONResponse(problem.model_dump(), status, media_type="application/problem+json")
