"""The API's OpenAPI document, made from the application itself: routes, bodies, refusals, and who may ask."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from comity.identity.keys import SigningKey
from comity.server.deployment import Deployment
from comity.server.federation import Federation
from comity.server.gate import Gate
from comity.server.rates import Rates
from comity.server.routes.common import ANYBODY, ROLES
from comity.store.blobs import Blobs
from comity.store.journal import Journal
from comity.wire import messages
from comity.wire.messages import Message

API_VERSION = "1"
"""The version of the API, which is also in its paths; the package's is another. A change that breaks clients needs a
new one."""

REFUSALS: Mapping[int, str] = {
    401: "Nobody knows who asks: there is no signature of a member, or it is wrong, old, or used; or the invitation is "
    "not good. One message for every cause.",
    403: "The role of who asks does not cover this.",
    404: "It is not there, or not for who asks.",
    405: "This path is for other methods, which `allow` names.",
    409: "The request does not fit what is there.",
    413: "The body is longer than this route takes, or did not come in time.",
    422: "The body or a parameter is malformed, or asks for what cannot be; `where` names the field.",
    429: "More requests than are served.",
    503: "The server, its database or its storage cannot serve at the moment. Ask again.",
    507: "The server's storage is full.",
}
"""Statuses of refusals, each with a `Problem` as body."""

_ABOUT = """\
The contract between a Comity server and its nodes and users. Bodies are JSON, closed (unknown fields are refused) and
strict (types are not coerced); a refusal is a `Problem` as application/problem+json. Parts of blobs are bytes. How
requests are signed, with an example byte by byte, is told in the manual's page on the API."""

_SIGNATURE = (
    "HTTP Message Signatures (RFC 9421) with Ed25519, one label `comity`, over `@method`, `@path`, `@query` and "
    "`content-digest`, with the parameters `created`, `expires` (at most 60 seconds later), `nonce` (16 to 64 random "
    "bytes, base64url, used once), `keyid` (base64url of the SHA-256 of the public key), `alg` (`ed25519`) and `tag` "
    "(the deployment's name)."
)
_FIELDS = {
    "content-digest": "SHA-256 of the body (RFC 9530), also of an empty one: `sha-256=:…:`.",
    "signature-input": f"What is signed, and by whom. {_SIGNATURE}",
    "signature": "The signature: `comity=:…:`.",
}


def document(app: FastAPI) -> dict[str, Any]:
    """The document of an application, complete: every reference in it leads to a component."""
    made = get_openapi(title="Comity", version=API_VERSION, description=_ABOUT, routes=app.routes)
    for operations in made["paths"].values():
        for operation in operations.values():
            _complete(operation)
    made["components"] = {
        "schemas": _schemas(),
        "responses": {str(status): _refusal(words) for status, words in REFUSALS.items()},
        "securitySchemes": {
            name: {"type": "apiKey", "in": "header", "name": name, "description": words}
            for name, words in _FIELDS.items()
        },
    }
    return made


def text() -> str:
    """The document of this version of Comity as it is published: JSON, with a line for each value."""
    # Routes know their deployment, so there has to be one; it is empty, and gone when this returns.
    from comity.server.app import build

    with TemporaryDirectory() as folder:
        journal = Journal.open(f"sqlite:///{Path(folder) / 'journal.db'}")
        with closing(journal):
            made = document(build(_nowhere(journal, Blobs.open(Path(folder) / "blobs"))))
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def _nowhere(journal: Journal, blobs: Blobs) -> Deployment:
    return Deployment(
        federation=Federation(journal, blobs, time.time, secrets.token_bytes),
        gate=Gate(journal, "nowhere", time.time, Rates(time.time)),
        name="nowhere",
        address="https://nowhere.invalid",
        authority="",
        fingerprint="",
        registrar=SigningKey.new(),
    )


def _complete(operation: dict[str, Any]) -> None:
    """What FastAPI does not know of a route: who may ask, and how it refuses."""
    summary, _, more = operation.pop("description", "").partition("\n")
    roles = operation[ROLES]
    operation["summary"] = summary
    signed = roles != [ANYBODY]
    who = f"For {', '.join(roles)}; signed." if signed else "For anybody; needs no signature."
    operation["description"] = f"{more.strip()}\n\n{who}".strip()
    operation["security"] = [{name: [] for name in _FIELDS}] if signed else []
    for status in operation["responses"]:
        if int(status) >= 400:
            operation["responses"][status] = {"$ref": f"#/components/responses/{status}"}


def _refusal(words: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": words, "content": {"application/problem+json": {"schema": schema}}}


def _schemas() -> dict[str, Any]:
    """Every message that travels, by its name."""
    kinds = [
        kind
        for kind in vars(messages).values()
        if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message
    ]
    _, made = models_json_schema([(kind, "validation") for kind in kinds], ref_template="#/components/schemas/{model}")
    return dict(sorted(made["$defs"].items()))
