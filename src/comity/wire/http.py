"""HTTPS: the transport of a deployment. There is no way to switch its checks off.

Only the very first question of `fetch_about` goes without them: it says nothing, and believes nothing that does not
have the fingerprint.
"""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from comity.core.errors import ConfigError
from comity.wire.bodies import BodyError, parse
from comity.wire.messages import About
from comity.wire.transport import ANSWER_BYTES, Request, Response, TransportError, TrustError

_ABOUT_BYTES = 1 << 16
_CONNECT_SECONDS = 15.0
_READ_BYTES = 1 << 18
_WRITE_BYTES = 1 << 18


class HttpTransport:
    """Connections to the server at `address` (https://host[:port]), kept open between requests.

    `authority_pem` is the one certificate authority that is trusted; without it, those of the system are. Through
    `proxy` (http://host:port) the connection is tunnelled, and still goes from end to end. `certificate` is the file
    with this side's certificate and its key, for a server that asks for one; it may come later, and be replaced. TLS
    is 1.2 or newer, redirects are not followed, answers are not decompressed. Raises `ConfigError` for an address or
    a certificate that cannot be used.
    """

    def __init__(
        self, address: str, authority_pem: str | None, proxy: str | None = None, certificate: Path | None = None
    ) -> None:
        self._address = server_address(address)
        self._authority = authority_pem
        self._tls = _context(authority_pem)
        self._proxy = proxy
        self._certificate = certificate
        self._presented = 0
        self._present()
        self._session: aiohttp.ClientSession | None = None

    async def send(self, request: Request, *, timeout: float) -> Response:
        """Raises `TransportError`, and `TrustError` where the certificate is not the server's."""
        url = URL(self._address + request.target, encoded=True)
        self._present()
        try:
            async with self._open().request(
                request.method,
                url,
                data=_Body(request.body) if request.body else None,
                headers=dict(request.headers),
                proxy=self._proxy,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=_CONNECT_SECONDS),
            ) as answer:
                body = await _bounded(answer)
                return Response(answer.status, {name.lower(): value for name, value in answer.headers.items()}, body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if _hung_up(error) and await self._lacks_certificate():
                raise self._unwanted() from error
            raise _translated(error, self._address) from error

    def _present(self) -> None:
        """Load this side's certificate, where it is new. Raises `ConfigError`."""
        if self._certificate is None or not self._certificate.exists():
            return
        try:
            stamp = self._certificate.stat().st_mtime_ns
            if stamp != self._presented:
                self._tls.load_cert_chain(self._certificate)
                self._presented = stamp
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"this is not a client certificate with its key: {error}",
                where=str(self._certificate),
                mend="install one again: comity node certificate install, or comity certificate install",
            ) from error

    async def _lacks_certificate(self) -> bool:
        """Whether it is for want of a certificate that the server hangs up.

        With TLS 1.3 a client has done its part before the server looks at its certificate, and with asyncio the alert
        is lost: what shows is an end. With TLS 1.2 such a connection does not come about at all.
        """
        context = _context(self._authority)
        context.check_hostname, context.verify_mode = self._tls.check_hostname, self._tls.verify_mode
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        if self._certificate is not None and self._presented:
            context.load_cert_chain(self._certificate)
        return await self._reset(context) and await self._reset(context)

    async def _reset(self, context: ssl.SSLContext) -> bool:
        """Whether a connection is cut off while it is made."""
        timeout = aiohttp.ClientTimeout(total=_CONNECT_SECONDS)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context), timeout=timeout) as session:
            try:
                async with session.head(f"{self._address}/healthz", proxy=self._proxy):
                    return False
            except aiohttp.ClientConnectorError as error:
                return _hung_up(error)
            except (aiohttp.ClientError, TimeoutError, OSError):
                return False

    def _unwanted(self) -> TrustError:
        commands = "comity node certificate request, or for a person comity certificate request"
        if not self._presented:
            what, mend = "the server asks for a client certificate, and there is none here", commands
        else:
            what = f"the server does not take the client certificate in {self._certificate}"
            mend = f"it has ended, or another authority signed it; ask for a new one: {commands}"
        return TrustError(what, where=self._address, mend=mend)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls, limit=16),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("Accept-Encoding", "Content-Type"),
                read_bufsize=_READ_BYTES,
            )
        return self._session


async def fetch_about(
    address: str, fingerprint: str, proxy: str | None = None, certificate: Path | None = None
) -> About:
    """What a server says of itself, at the first contact, from a server whose authority has this `fingerprint`.

    The authority's certificate is fetched from whoever answers; if it is the one with the fingerprint, everything is
    asked again of a server that it vouches for. An empty fingerprint asks for a certificate that the system trusts.
    `certificate` is as for `HttpTransport`. Raises `TransportError`, and `TrustError` where the server is another one.
    """
    if not fingerprint:
        return await _about(HttpTransport(address, None, proxy, certificate))
    stranger = HttpTransport(address, None, proxy, certificate)
    stranger._tls.check_hostname = False
    stranger._tls.verify_mode = ssl.CERT_NONE
    root = _certificate((await _about(stranger)).authority)
    if hashlib.sha256(root).hexdigest() != fingerprint:
        raise TrustError(
            "the server's certificate authority is not the one of the invitation",
            where=address,
            mend="something between you and the server answers in its place, or the invitation is for another server",
        )
    # Written anew, so that this one certificate alone is trusted now and kept for later.
    pem = ssl.DER_cert_to_PEM_cert(root)
    return (await _about(HttpTransport(address, pem, proxy, certificate))).model_copy(update={"authority": pem})


async def _about(transport: HttpTransport) -> About:
    try:
        response = await transport.send(Request("GET", "/v1/about"), timeout=30.0)
        return parse(About, response.body, _ABOUT_BYTES)
    except BodyError as error:
        raise TransportError(
            "what answers there is not a Comity server", where=transport._address, mend="check the address"
        ) from error
    finally:
        await transport.close()


def server_address(text: str, where: str = "address") -> str:
    """The address of a server, without a slash at its end. Raises `ConfigError` for what is none."""
    try:
        parts = urlsplit(text)
        fits = parts.scheme == "https" and parts.hostname and parts.port != 0 and parts.username is None
        fits = fits and parts.path in ("", "/") and not parts.query and not parts.fragment
    except ValueError:
        fits = False
    if not fits:
        raise ConfigError(
            f"{text!r} is not the address of a server",
            where=where,
            mend="give https://HOST:PORT, without a path; nothing is sent without TLS",
        )
    return text.rstrip("/")


def _context(authority_pem: str | None) -> ssl.SSLContext:
    if authority_pem is None:
        context = ssl.create_default_context()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        try:
            context.load_verify_locations(cadata=authority_pem)
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError("this is not a certificate in PEM", where="authority") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _hung_up(error: Exception) -> bool:
    """Whether the other side has ended a connection before it answered."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return False
    if isinstance(error, aiohttp.ClientConnectorError):
        return isinstance(error.os_error, ConnectionResetError | ssl.SSLError)
    return isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)


def _certificate(pem: str) -> bytes:
    """The certificate (DER) that is written there; empty where there is none."""
    try:
        return ssl.PEM_cert_to_DER_cert(pem.strip())
    except ValueError:
        return b""


class _Body(aiohttp.BytesPayload):
    """A body of which one piece at a time is encrypted and waits for the network; it can be sent again."""

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        body = memoryview(self._value)[:content_length]
        for start in range(0, len(body), _WRITE_BYTES):
            await writer.write(body[start : start + _WRITE_BYTES])


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    """The whole body, of as many bytes as were announced and no more than are allowed."""
    announced = answer.content_length
    if announced is not None and announced > ANSWER_BYTES:
        raise TransportError(f"an answer of {announced} bytes is announced")
    pieces, size = [], 0
    async for piece in answer.content.iter_chunked(_READ_BYTES):
        size += len(piece)
        if size > ANSWER_BYTES:
            raise TransportError(f"the answer has more than {ANSWER_BYTES} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _translated(error: Exception, address: str) -> TransportError:
    """What went wrong, in words that help."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ServerFingerprintMismatch):
        reason = getattr(getattr(error, "certificate_error", None), "verify_message", "") or "it is not trusted"
        return TrustError(
            f"the server's certificate is refused: {reason}",
            where=address,
            mend="check the address and this machine's clock; if both are right, join again with a new invitation",
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        what, mend = "the server's name cannot be resolved", "check the address and this machine's name service"
    elif isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        what, mend = f"the proxy does not let through: {error}", "check the proxy's address and its rules"
    elif isinstance(error, aiohttp.ClientConnectorSSLError):
        what, mend = f"no TLS: {error}", "check that the port is the server's, and what stands between you and it"
    elif isinstance(error, aiohttp.ClientConnectorError):
        what, mend = f"no connection: {error.strerror or error}", "check that the server runs and its port is open"
    elif isinstance(error, TimeoutError):
        what, mend = "no answer came in time", "check the connection, and whether the server is overloaded"
    else:
        what, mend = f"the connection broke: {error or type(error).__name__}", "try again"
    return TransportError(what, where=address, mend=mend)
