"""The live API against its document: Schemathesis makes requests of it, right and wrong ones, and judges the answers.

The server is uvicorn with TLS on loopback. Requests go to each operation in the name of an admin, of a node and of
nobody; they are signed as they are sent. An answer must have a status, a content type and a body that the document
names for the operation; nothing may fail at the server; and what the document excludes must be refused.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from requests.auth import AuthBase
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

import comity as ct
from comity.identity.certificates import Authority
from comity.identity.keys import SigningKey
from comity.server.openapi import text
from comity.server.protocol import BoundedProtocol
from comity.wire.signature import NONCE_BYTES, SignatureError, sign
from comity.wire.transport import Request
from support.deployments import NAME, World
from support.parties import submit
from support.quadratic import Quadratic

pytestmark = pytest.mark.long

DOCUMENT = json.loads(text())
# Without the fields of a signature: they are made as a request is sent, and not by Schemathesis.
SCHEMA = schemathesis.openapi.from_dict(
    {
        **DOCUMENT,
        "components": {**DOCUMENT["components"], "securitySchemes": {}},
        "paths": {
            path: {method: {**operation, "security": []} for method, operation in methods.items()}
            for path, methods in DOCUMENT["paths"].items()
        },
    }
)
OPERATIONS = {
    f"{method.upper()} {path}": (path, method) for path, methods in DOCUMENT["paths"].items() for method in methods
}
CALLERS = ("admin", "node", None)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = 12
JOB = ct.Job(ct.FedAvg(Quadratic(), ct.LocalSGD(lr=0.1)), ct.Rounds(count=2))


class Signing(AuthBase):
    """Signs a request when all of it is known: the bytes are those that are sent."""

    def __init__(self, key: SigningKey | None) -> None:
        self.key = key

    def __call__(self, prepared: Any) -> Any:
        url = urlsplit(prepared.url)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        prepared.url = url._replace(query=urlencode(query)).geturl()
        body = prepared.body or b""
        body = body if isinstance(body, bytes) else body.encode()
        if self.key is not None:
            try:
                request = Request(prepared.method, url.path, query, {}, body)
                signed = sign(request, self.key, NAME, time.time(), os.urandom(NONCE_BYTES))
            except SignatureError:
                return prepared  # A path that cannot be signed is sent without a signature.
            prepared.headers.update(signed.headers)
        return prepared


@dataclass(frozen=True)
class Api:
    """Where the server listens, everybody's keys, and what there is to ask for: a run, and the blob of its model."""

    address: str
    session: requests.Session
    keys: dict[str, SigningKey]
    run: str
    digest: str

    def send(self, case: Any, caller: str | None) -> Any:
        key = None if caller is None else self.keys[caller]
        options = {"session": self.session, "verify": self.session.verify, "timeout": 20}
        return case.call(base_url=self.address, auth=Signing(key), **options)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("api")
    world = World(folder, now=time.time)
    journal = world.journal()
    for name in ("admin", "researcher", "node"):
        world.add(journal, name, name)
    journal.close()
    run, digest = asyncio.run(submitted(world))
    authority = Authority.new("Comity test", time.time())
    certificate, key = authority.issue(["127.0.0.1"], time.time())
    for name, content in (("authority", authority.pem.encode()), ("certificate", certificate), ("key", key)):
        (folder / f"{name}.pem").write_bytes(content)
    server = uvicorn.Server(
        uvicorn.Config(
            world.serve().app,
            host="127.0.0.1",
            port=0,
            http=BoundedProtocol,
            ssl_certfile=folder / "certificate.pem",
            ssl_keyfile=folder / "key.pem",
            log_config=None,
            access_log=False,
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    time.sleep(1)  # Signatures of the second in which a server begins are not taken.
    try:
        with requests.Session() as session:
            session.trust_env = False  # no proxy, and no authority but this one
            session.verify = str(folder / "authority.pem")
            yield Api(f"https://127.0.0.1:{port}", session, world.keys, run, digest)
    finally:
        server.should_exit = True
        thread.join()


async def submitted(world: World) -> tuple[str, str]:
    """A run that waits for its node: its id, and the digest of its first model."""
    federation = world.serve().app.state.deployment.federation
    federation.start()
    facts = await submit(federation, JOB)
    digest = federation.run(facts.id).model.state.digest
    await federation.close()
    return facts.id, digest


@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller or "nobody")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_answers_are_what_the_document_says(operation: str, caller: str | None, api: Api) -> None:
    path, method = OPERATIONS[operation]
    takes = DOCUMENT["paths"][path][method]
    if operation == "POST /v1/keys" and caller is not None:
        # New keys that nobody has: the member is lost with the first one, so it is not one that others need.
        pytest.skip("covered by test_api: a caller would lose its own key")

    @_settings
    @given(case=SCHEMA[path][method].as_strategy(generation_mode=GenerationMode.POSITIVE))
    def right(case: Any) -> None:
        for name in ("run", "digest"):
            if name in case.path_parameters and caller is not None:
                case.path_parameters[name] = getattr(api, name)
        answered(case, CHECKS)

    @_settings
    @given(case=SCHEMA[path][method].as_strategy(generation_mode=GenerationMode.NEGATIVE))
    def wrong(case: Any) -> None:
        answered(case, [*CHECKS, negative_data_rejection])

    def answered(case: Any, checks: list[Any]) -> None:
        _without_waiting(case)
        answer = api.send(case, caller)
        case.validate_response(answer, checks=checks)
        if caller is None and takes["security"]:
            assert answer.status_code == 401

    right()
    if "requestBody" in takes or takes.get("parameters"):
        wrong()


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_other_methods_are_refused_with_those_that_there_are(path: str, api: Api) -> None:
    # A path may also be that of another template: `/v1/parts/missing` could be a part of that name.
    templates = [one for one in DOCUMENT["paths"] if re.fullmatch(re.sub(r"{\w+}", "[^/]+", one), path)]
    there = {method.upper() for template in templates for method in DOCUMENT["paths"][template]}
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - there:
        answer = api.session.request(method, f"{api.address}{path}", timeout=20)
        assert answer.status_code == 405, method
        assert set(answer.headers["allow"].split(", ")) <= there
        assert answer.headers["content-type"] == "application/problem+json"


_settings = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def _without_waiting(case: Any) -> None:
    """Long polls that have nothing to tell would only take time."""
    for fields in (case.body, case.query):
        if isinstance(fields, dict) and isinstance(fields.get("wait"), int | float) and 0 <= fields["wait"] <= 60:
            fields["wait"] = 0
