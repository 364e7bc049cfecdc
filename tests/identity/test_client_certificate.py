"""A member's certificate: its key stays, and only what answers the request, and is good here and now, is installed."""

from __future__ import annotations

import ssl
import stat
import time
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from comity.identity.certificates import Authority
from comity.identity.client_certificate import ClientCertificate
from comity.identity.errors import IdentityError

NOW = float(int(time.time()))
AUTHORITY = Authority.new("north-sea", NOW)


def signed(member: ClientCertificate, authority: Authority = AUTHORITY, now: float = NOW, days: float = 90) -> bytes:
    return authority.sign_request(member.request("north").encode(), now, timedelta(days=days))[1]


def test_what_is_installed_opens_connections(tmp_path: Path) -> None:
    member = ClientCertificate(tmp_path)
    assert member.ends() is None
    ends = member.install(signed(member), AUTHORITY.pem, NOW)
    assert member.ends() == ends
    assert ends.timestamp() == NOW + 90 * 86400
    assert stat.S_IMODE(member.file.stat().st_mode) == 0o600
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(member.file)


def test_the_key_is_in_no_request_and_is_the_same_until_a_certificate_comes(tmp_path: Path) -> None:
    member = ClientCertificate(tmp_path)
    first, second = member.request("north"), member.request("north")
    assert "PRIVATE" not in first
    assert _key(first) == _key(second)
    member.install(signed(member), AUTHORITY.pem, NOW)
    assert _key(member.request("north")) != _key(first), "the next certificate is for a new key"


def test_the_old_one_serves_until_the_new_one_is_installed(tmp_path: Path) -> None:
    member = ClientCertificate(tmp_path)
    member.install(signed(member), AUTHORITY.pem, NOW)
    before = member.file.read_bytes()
    pem = signed(member, days=300)
    assert member.file.read_bytes() == before
    member.install(pem, AUTHORITY.pem, NOW)
    assert member.file.read_bytes() != before


class TestRefused:
    def refusal(
        self, folder: Path, pem: bytes, authority: str | None = AUTHORITY.pem, now: float = NOW
    ) -> IdentityError:
        member = ClientCertificate(folder)
        member.request("north")
        with pytest.raises(IdentityError) as raised:
            member.install(pem, authority, now)
        assert not member.file.exists()
        assert "certificate request" in raised.value.mend
        return raised.value

    def test_one_for_another_key(self, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        assert "another key" in self.refusal(tmp_path, signed(ClientCertificate(tmp_path / "other"))).what

    def test_one_of_another_authority(self, tmp_path: Path) -> None:
        pem = signed(ClientCertificate(tmp_path), Authority.new("north-sea", NOW))
        assert "not signed by this deployment's authority" in self.refusal(tmp_path, pem).what

    @pytest.mark.parametrize("later", [-7200, 91 * 86400])
    def test_one_that_is_not_good_now(self, later: float, tmp_path: Path) -> None:
        assert "not now" in self.refusal(tmp_path, signed(ClientCertificate(tmp_path)), now=NOW + later).what

    def test_what_is_none(self, tmp_path: Path) -> None:
        assert "not a certificate" in self.refusal(tmp_path, b"nothing").what

    def test_one_that_was_not_asked_for(self, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        pem = signed(ClientCertificate(tmp_path / "other"))
        with pytest.raises(IdentityError, match="cannot be read"):
            ClientCertificate(tmp_path).install(pem, None, NOW)


def _key(request: str) -> object:
    return x509.load_pem_x509_csr(request.encode()).public_key()
