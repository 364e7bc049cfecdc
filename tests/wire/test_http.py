"""HTTPS: over real connections on loopback, what is not the server, or not an answer, is refused."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from comity.core.errors import ConfigError
from comity.identity.certificates import Authority
from comity.identity.client_certificate import ClientCertificate
from comity.identity.keys import SigningKey
from comity.wire import http
from comity.wire.http import HttpTransport, fetch_about
from comity.wire.messages import About
from comity.wire.signature import joined, read, sign
from comity.wire.transport import Request, Response, TransportError, TrustError

NOW = time.time()
AUTHORITY = Authority.new("north-sea", NOW)
IMPOSTOR = Authority.new("north-sea", NOW)
KEY = SigningKey.new()
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


async def fine(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(body=await request.read(), headers={"X-Path": request.path})


def about(*authorities: Authority) -> Handler:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        pem = "".join(authority.pem for authority in authorities)
        facts = About(deployment="d", version="1", time=NOW, authority=pem, registrar=KEY.public)
        return web.Response(text=facts.model_dump_json())

    return answer


def tls(folder: Path, authority: Authority = AUTHORITY, host: str = "localhost", now: float = NOW) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate for `host` that `authority` issued at `now`."""
    certificate, key = authority.issue([host], now)
    (folder / "certificate.pem").write_bytes(certificate)
    (folder / "key.pem").write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


@asynccontextmanager
async def serving(handler: Handler, context: ssl.SSLContext | None) -> AsyncIterator[str]:
    """A server on loopback; what it is known by is `localhost:PORT`."""
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)
    await runner.setup()
    site = web.SockSite(runner, socket.create_server(("127.0.0.1", 0)), ssl_context=context)
    await site.start()
    try:
        yield f"localhost:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def get(place: str, pem: str | None = AUTHORITY.pem, path: str = "/", timeout: float = 10.0) -> Response:
    transport = HttpTransport(f"https://{place}", pem)
    try:
        return await transport.send(Request("GET", path), timeout=timeout)
    finally:
        await transport.close()


def answered(handler: Handler, context: ssl.SSLContext | None, **options: Any) -> Response:
    async def once() -> Response:
        async with serving(handler, context) as place:
            return await get(place, **options)

    return asyncio.run(once())


def never(seen: list[str]) -> Handler:
    """A handler that notes what it should never have been asked."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request.path)
        return web.Response()

    return answer


def asking(folder: Path) -> ssl.SSLContext:
    """A server's side of mutual TLS."""
    context = tls(folder)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=AUTHORITY.pem)
    return context


def a_certificate(folder: Path, name: str = "north", authority: Authority = AUTHORITY) -> Path:
    made = ClientCertificate(folder)
    made.install(authority.sign_request(made.request(name).encode(), NOW, timedelta(days=1))[1], None, NOW)
    return made.file


async def presented(request: web.BaseRequest) -> web.StreamResponse:
    """The name in the certificate of who asks."""
    assert request.transport is not None
    subject = request.transport.get_extra_info("peercert")["subject"]
    return web.Response(text=dict(field for part in subject for field in part)["commonName"])


class TestClientCertificate:
    """The server looks at certificates after a client has done its part; the client finds out what was wrong."""

    def told(self, folder: Path, certificate: Path | None, context: ssl.SSLContext, handler: Handler) -> TransportError:
        async def once() -> TransportError:
            async with serving(handler, context) as place:
                transport = HttpTransport(f"https://{place}", AUTHORITY.pem, certificate=certificate)
                try:
                    with pytest.raises(TransportError) as raised:
                        await transport.send(Request("GET", "/"), timeout=10.0)
                    return raised.value
                finally:
                    await transport.close()

        return asyncio.run(once())

    def test_one_that_comes_late_or_is_replaced_is_presented_by_the_next_connection(self, tmp_path: Path) -> None:
        folder = tmp_path / "party"
        folder.mkdir()

        async def names() -> list[str]:
            async with serving(presented, asking(tmp_path)) as place:
                transport = HttpTransport(f"https://{place}", AUTHORITY.pem, certificate=folder / "tls.pem")
                found = []
                with pytest.raises(TrustError, match="there is none here"):
                    await transport.send(Request("GET", "/"), timeout=10.0)
                for name in ("north", "south"):
                    a_certificate(folder, name)
                    found.append((await transport.send(Request("GET", "/"), timeout=10.0)).body.decode())
                    await transport.close()
                return found

        assert asyncio.run(names()) == ["north", "south"]

    def test_none_where_one_is_asked_for(self, tmp_path: Path) -> None:
        error = self.told(tmp_path, None, asking(tmp_path), fine)
        assert isinstance(error, TrustError)
        assert "asks for a client certificate" in error.what
        assert "certificate request" in error.mend

    def test_one_that_the_server_does_not_take(self, tmp_path: Path) -> None:
        error = self.told(tmp_path, a_certificate(tmp_path, authority=IMPOSTOR), asking(tmp_path), fine)
        assert isinstance(error, TrustError)
        assert "does not take the client certificate" in error.what

    def test_a_server_that_hangs_up_for_another_reason_is_not_suspected(self, tmp_path: Path) -> None:
        async def hang_up(request: web.BaseRequest) -> web.StreamResponse:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

        error = self.told(tmp_path, None, tls(tmp_path), hang_up)
        assert not isinstance(error, TrustError)
        assert "connection broke" in error.what

    def test_a_file_that_holds_none_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "tls.pem").write_text("nothing")
        with pytest.raises(ConfigError, match="not a client certificate") as raised:
            HttpTransport("https://localhost:1", AUTHORITY.pem, certificate=tmp_path / "tls.pem")
        assert "certificate install" in raised.value.mend


class TestTrust:
    def test_the_server_that_the_authority_vouches_for_is_heard(self, tmp_path: Path) -> None:
        assert answered(fine, tls(tmp_path), path="/v1/about").headers["x-path"] == "/v1/about"

    def test_another_authority_is_refused_before_anything_is_said(self, tmp_path: Path) -> None:
        seen: list[str] = []
        with pytest.raises(TrustError, match="certificate"):
            answered(never(seen), tls(tmp_path, IMPOSTOR))
        assert seen == []

    def test_a_certificate_for_another_host_is_refused(self, tmp_path: Path) -> None:
        seen: list[str] = []
        with pytest.raises(TrustError, match="localhost"):
            answered(never(seen), tls(tmp_path, host="server.example.org"))
        assert seen == []

    @pytest.mark.parametrize("issued", [NOW - 400 * 86400, NOW + 86400], ids=["expired", "not yet valid"])
    def test_a_certificate_of_another_time_is_refused(self, tmp_path: Path, issued: float) -> None:
        authority = Authority.new("north-sea", NOW - 500 * 86400)
        with pytest.raises(TrustError, match=r"expired|not yet valid"):
            answered(fine, tls(tmp_path, authority, now=issued), pem=authority.pem)

    def test_without_an_authority_only_those_of_the_system_count(self, tmp_path: Path) -> None:
        with pytest.raises(TrustError):
            answered(fine, tls(tmp_path), pem=None)

    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
    def test_an_old_version_of_tls_is_refused(self, tmp_path: Path) -> None:
        seen: list[str] = []
        context = tls(tmp_path)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(TransportError):
            answered(never(seen), context)
        assert seen == []


class TestPlainText:
    def test_a_server_without_tls_is_refused(self) -> None:
        seen: list[str] = []
        with pytest.raises(TransportError):
            answered(never(seen), None)
        assert seen == []

    @pytest.mark.parametrize(
        "address",
        [
            "http://localhost:8443",
            "localhost:8443",
            "ftp://localhost",
            "",
            "https://",
            "https://user:secret@localhost",
            "https://localhost/path",
            "https://localhost?query",
            "https://localhost:0",
            "https://localhost:99999",
            "https://[::1",
        ],
    )
    def test_an_address_that_is_not_that_of_a_server_is_refused(self, address: str) -> None:
        with pytest.raises(ConfigError, match="address"):
            HttpTransport(address, AUTHORITY.pem)

    def test_a_redirect_to_plain_text_is_not_followed(self, tmp_path: Path) -> None:
        async def elsewhere(request: web.BaseRequest) -> web.StreamResponse:
            return web.Response(status=307, headers={"Location": "http://127.0.0.1:1/"})

        assert answered(elsewhere, tls(tmp_path)).status == 307

    @pytest.mark.parametrize("pem", ["", "garbled", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
    def test_an_authority_that_is_none_is_refused_and_does_not_mean_all(self, pem: str) -> None:
        with pytest.raises(ConfigError, match="PEM"):
            HttpTransport("https://localhost", pem)


class TestFirstContact:
    def meet(self, handler: Handler, context: ssl.SSLContext, fingerprint: str) -> About:
        async def once() -> About:
            async with serving(handler, context) as place:
                return await fetch_about(f"https://{place}", fingerprint)

        return asyncio.run(once())

    def test_the_server_of_the_invitation_is_known_by_the_fingerprint(self, tmp_path: Path) -> None:
        facts = self.meet(about(AUTHORITY), tls(tmp_path), AUTHORITY.fingerprint)
        assert facts.authority == AUTHORITY.pem

    def test_another_server_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(TrustError, match="invitation"):
            self.meet(about(IMPOSTOR), tls(tmp_path, IMPOSTOR), AUTHORITY.fingerprint)

    def test_an_impostor_who_shows_the_right_authority_is_refused(self, tmp_path: Path) -> None:
        """The authority's certificate is public: whoever shows it must also have been vouched for by it."""
        with pytest.raises(TrustError, match="certificate is refused"):
            self.meet(about(AUTHORITY), tls(tmp_path, IMPOSTOR), AUTHORITY.fingerprint)

    def test_an_impostor_who_adds_an_authority_to_the_right_one_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(TrustError):
            self.meet(about(AUTHORITY, IMPOSTOR), tls(tmp_path, IMPOSTOR), AUTHORITY.fingerprint)

    def test_only_the_one_authority_is_kept_whatever_is_said_later(self, tmp_path: Path) -> None:
        answers = iter([about(AUTHORITY), about(AUTHORITY, IMPOSTOR)])

        async def changing(request: web.BaseRequest) -> web.StreamResponse:
            return await next(answers)(request)

        assert self.meet(changing, tls(tmp_path), AUTHORITY.fingerprint).authority == AUTHORITY.pem

    def test_without_a_fingerprint_the_system_must_trust_the_server(self, tmp_path: Path) -> None:
        with pytest.raises(TrustError):
            self.meet(about(AUTHORITY), tls(tmp_path), "")

    def test_what_is_no_comity_server_is_named_as_that(self, tmp_path: Path) -> None:
        with pytest.raises(TransportError, match="not a Comity server"):
            self.meet(fine, tls(tmp_path), AUTHORITY.fingerprint)


class TestAnswers:
    def test_a_body_of_any_size_comes_whole(self, tmp_path: Path) -> None:
        async def large(request: web.BaseRequest) -> web.StreamResponse:
            return web.Response(body=bytes(range(256)) * 40_000)

        assert answered(large, tls(tmp_path)).body == bytes(range(256)) * 40_000

    def test_a_body_over_the_limit_is_refused_when_it_is_announced(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(http, "ANSWER_BYTES", 1000)

        async def large(request: web.BaseRequest) -> web.StreamResponse:
            return web.Response(body=b"x" * 1001)

        with pytest.raises(TransportError, match="1001 bytes is announced"):
            answered(large, tls(tmp_path))

    def test_a_body_without_an_end_is_refused_at_the_limit(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(http, "ANSWER_BYTES", 1000)

        async def endless(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            while True:
                await response.write(b"x" * 500)

        with pytest.raises(TransportError, match="more than 1000 bytes"):
            answered(endless, tls(tmp_path))

    def test_a_body_that_ends_before_its_length_is_no_answer(self, tmp_path: Path) -> None:
        async def liar(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Length": "100"})
            await response.prepare(request)
            await response.write(b"x" * 50)
            assert request.transport is not None
            request.transport.close()
            return response

        with pytest.raises(TransportError):
            answered(liar, tls(tmp_path))

    def test_a_compressed_body_is_left_as_it_is(self, tmp_path: Path) -> None:
        bomb = gzip.compress(bytes(1 << 20))

        async def compressed(request: web.BaseRequest) -> web.StreamResponse:
            assert "Accept-Encoding" not in request.headers
            return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

        assert answered(compressed, tls(tmp_path)).body == bomb

    def test_headers_over_the_limit_are_refused(self, tmp_path: Path) -> None:
        async def wordy(request: web.BaseRequest) -> web.StreamResponse:
            return web.Response(headers={"X-Long": "x" * 100_000})

        with pytest.raises(TransportError):
            answered(wordy, tls(tmp_path))

    def test_a_server_that_does_not_answer_is_left_in_time(self, tmp_path: Path) -> None:
        async def silent(request: web.BaseRequest) -> web.StreamResponse:
            await asyncio.sleep(60)
            return web.Response()

        with pytest.raises(TransportError, match="in time"):
            answered(silent, tls(tmp_path), timeout=0.3)

    def test_a_cookie_is_not_kept(self, tmp_path: Path) -> None:
        async def baker(request: web.BaseRequest) -> web.StreamResponse:
            return web.Response(text=request.headers.get("Cookie", ""), headers={"Set-Cookie": "a=b"})

        async def twice() -> list[bytes]:
            async with serving(baker, tls(tmp_path)) as place:
                transport = HttpTransport(f"https://{place}", AUTHORITY.pem)
                bodies = [(await transport.send(Request("GET", "/"), timeout=10)).body for _ in range(2)]
                await transport.close()
                return bodies

        assert asyncio.run(twice()) == [b"", b""]


class TestNobody:
    def test_a_port_where_nobody_listens(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with pytest.raises(TransportError, match="no connection"):
            asyncio.run(get(f"localhost:{port}"))

    def test_a_name_that_nobody_has(self) -> None:
        with pytest.raises(TransportError, match="cannot be resolved"):
            asyncio.run(get("nowhere.invalid:8443"))


class TestSignedRequests:
    """What is signed is what arrives: nothing on the way rewrites path, query or body."""

    @pytest.mark.parametrize("path", ["/v1/work", "/a%2Fb/%C3%A9", "/a/../b/./c", "/a//b", "/a;b=c:@!$&'()*+,~"])
    @pytest.mark.parametrize("query", [{}, {"a": "b c&d=é/?", "": "", "z": "%41+"}])
    @pytest.mark.parametrize("body", [b"", b"\x00\xff" * 1000])
    def test_they_verify_where_they_arrive(self, tmp_path: Path, path: str, query: dict[str, str], body: bytes) -> None:
        async def verifying(request: web.BaseRequest) -> web.StreamResponse:
            arrived = Request(
                request.method,
                request.raw_path.partition("?")[0],
                dict(request.query),
                joined(request.raw_headers),
                await request.read(),
            )
            return web.Response(text=read(arrived, "d", NOW, lambda keyid: KEY.public).body)

        async def once() -> Response:
            async with serving(verifying, tls(tmp_path)) as place:
                transport = HttpTransport(f"https://{place}", AUTHORITY.pem)
                request = sign(Request("PUT", path, query, {"accept": "*/*"}, body), KEY, "d", NOW, bytes(16))
                response = await transport.send(request, timeout=10)
                await transport.close()
                return response

        assert asyncio.run(once()).status == 200


class TestProxy:
    """A proxy gets a tunnel to open, and sees nothing of what goes through it."""

    def through(self, tmp_path: Path, answer: bytes) -> tuple[Response, bytes, bytes]:
        first, rest = bytearray(), bytearray()

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: bytearray) -> None:
            while data := await reader.read(1 << 16):
                seen.extend(data)
                writer.write(data)
                await writer.drain()
            writer.close()

        async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            first.extend(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            if b"200" not in answer:
                writer.close()
                return
            port = int(bytes(first).split()[1].rpartition(b":")[2])
            inner, outer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(relay(reader, outer, rest), relay(inner, writer, rest))

        async def once() -> Response:
            async with serving(fine, tls(tmp_path)) as place:
                listener = await asyncio.start_server(proxy, "127.0.0.1", 0)
                url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
                transport = HttpTransport(f"https://{place}", AUTHORITY.pem, url)
                try:
                    return await transport.send(Request("POST", "/secret", {}, {"x": "secret"}, b"secret"), timeout=10)
                finally:
                    await transport.close()
                    listener.close()

        return asyncio.run(once()), bytes(first), bytes(rest)

    def test_the_request_arrives_and_the_proxy_saw_none_of_it(self, tmp_path: Path) -> None:
        response, first, rest = self.through(tmp_path, b"HTTP/1.1 200 OK\r\n\r\n")
        assert response.body == b"secret"
        assert first.startswith(b"CONNECT localhost:")
        assert b"secret" not in first + rest

    def test_a_proxy_that_refuses_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(TransportError, match="proxy"):
            self.through(tmp_path, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("comity.wire.http", "numpy torch sklearn fastapi"),
        ("comity.wire.client", "numpy torch aiohttp cryptography.x509"),
    ],
)
def test_what_an_idle_node_does_not_use_it_does_not_load(module: str, without: str) -> None:
    packages = "keys invitation roster certificates roles" if module.endswith("http") else "keys invitation roster"
    identity = "".join(f"import comity.identity.{name}\n" for name in packages.split())
    code = f"import sys, {module}\n{identity}print([name for name in {without.split()!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
