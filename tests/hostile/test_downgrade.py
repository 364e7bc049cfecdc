"""Connections that would be weaker than they should be; the clients' side of it is in `wire/test_http.py`."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from comity.identity.certificates import Authority
from comity.server.protocol import BoundedProtocol
from support.deployments import World


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """A server with TLS on loopback, with uvicorn's settings as `comity.server.process` leaves them."""
    world = World(tmp_path, now=time.time)
    world.journal().close()
    certificate, key = Authority.new("Comity test", time.time()).issue(["127.0.0.1"], time.time())
    (tmp_path / "certificate.pem").write_bytes(certificate)
    (tmp_path / "key.pem").write_bytes(key)
    settings = uvicorn.Config(
        world.serve().app,
        host="127.0.0.1",
        port=0,
        http=BoundedProtocol,
        lifespan="off",
        ssl_certfile=tmp_path / "certificate.pem",
        ssl_keyfile=tmp_path / "key.pem",
        log_config=None,
        access_log=False,
    )
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


class TestDowngrade:
    """CWE-319, CWE-757: there is TLS 1.2 or newer, or no answer."""

    def test_plain_text_gets_no_answer_and_no_redirect(self, port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
            plain.sendall(b"GET /v1/about HTTP/1.1\r\nhost: comity.test\r\n\r\n")
            try:
                answer = plain.recv(1000)
            except ConnectionError:
                answer = b""
        assert b"HTTP" not in answer

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
    def test_old_versions_of_tls_are_not_spoken(self, version: ssl.TLSVersion, port: int) -> None:
        context = _context()
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
            pytest.raises((ssl.SSLError, ConnectionError)),
        ):
            context.wrap_socket(raw, server_hostname="127.0.0.1")

    def test_a_new_version_is(self, port: int) -> None:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
            _context().wrap_socket(raw, server_hostname="127.0.0.1") as secure,
        ):
            assert secure.version() in ("TLSv1.2", "TLSv1.3")


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
