"""The deployment's certificate authority: what it makes, and what a strict TLS library makes of it.

That a wrong authority, a wrong host and a wrong time are refused over a real connection is in tests/wire/test_http.py.
"""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from comity.identity.certificates import Authority
from comity.identity.errors import IdentityError

NOW = 1_750_000_000.0
AUTHORITY = Authority.new("north-sea", NOW)


def verified(host: str, pem: bytes, authority: Authority = AUTHORITY, at: float = NOW) -> None:
    """Raises `VerificationError` where `cryptography` does not take the certificate for `host`."""
    store = Store([authority.certificate])
    policy = PolicyBuilder().store(store).time(datetime.fromtimestamp(at, UTC).replace(tzinfo=None))
    policy.build_server_verifier(x509.DNSName(host)).verify(x509.load_pem_x509_certificate(pem), [])


class TestServerCertificates:
    def test_it_is_good_for_each_of_its_hosts(self) -> None:
        certificate, _ = AUTHORITY.issue(["server.example.org", "localhost", "127.0.0.1", "::1"], NOW)
        verified("server.example.org", certificate)
        verified("localhost", certificate)
        with pytest.raises(VerificationError):
            verified("example.org", certificate)

    def test_it_is_the_authoritys_and_no_other_of_the_same_name(self) -> None:
        certificate, _ = AUTHORITY.issue(["localhost"], NOW)
        with pytest.raises(VerificationError):
            verified("localhost", certificate, Authority.new("north-sea", NOW))

    def test_it_begins_a_little_early_and_ends(self) -> None:
        certificate, _ = AUTHORITY.issue(["localhost"], NOW)
        verified("localhost", certificate, at=NOW - 1800)
        for wrong in (NOW - 86400, NOW + 398 * 86400):
            with pytest.raises(VerificationError):
                verified("localhost", certificate, at=wrong)

    def test_it_does_not_outlive_its_authority(self) -> None:
        certificate, _ = AUTHORITY.issue(["localhost"], NOW + 3600 * 86400)
        end = x509.load_pem_x509_certificate(certificate).not_valid_after_utc
        assert end == AUTHORITY.certificate.not_valid_after_utc

    def test_it_comes_with_its_own_key(self) -> None:
        certificate, key = AUTHORITY.issue(["localhost"], NOW)
        public = load_pem_private_key(key, None).public_key()
        assert public == x509.load_pem_x509_certificate(certificate).public_key()
        assert public != AUTHORITY.certificate.public_key()

    def test_a_server_cannot_be_an_authority(self) -> None:
        certificate, _ = AUTHORITY.issue(["localhost"], NOW)
        extensions = x509.load_pem_x509_certificate(certificate).extensions
        assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert not extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign

    @pytest.mark.parametrize(
        "host", ["", "https://server", "a b", "server:8443", ".example.org", "a..b", "x" * 64 + ".org"]
    )
    def test_what_is_no_host_is_refused(self, host: str) -> None:
        with pytest.raises(IdentityError, match="host"):
            AUTHORITY.issue([host], NOW)

    def test_no_host_is_refused(self) -> None:
        with pytest.raises(IdentityError, match="needs a host"):
            AUTHORITY.issue([], NOW)


class TestFile:
    def test_an_authority_comes_back_from_its_file(self, tmp_path: Path) -> None:
        AUTHORITY.save(tmp_path / "authority.pem")
        loaded = Authority.load(tmp_path / "authority.pem")
        assert (loaded.pem, loaded.fingerprint) == (AUTHORITY.pem, AUTHORITY.fingerprint)
        verified("localhost", loaded.issue(["localhost"], NOW)[0])

    def test_nobody_else_can_read_the_key(self, tmp_path: Path) -> None:
        AUTHORITY.save(tmp_path / "authority.pem")
        assert stat.S_IMODE((tmp_path / "authority.pem").stat().st_mode) == 0o600

    def test_the_certificate_is_handed_out_without_the_key(self) -> None:
        assert "PRIVATE" not in AUTHORITY.pem
        assert "secret" not in repr(AUTHORITY)

    def test_the_key_of_another_is_refused(self, tmp_path: Path) -> None:
        other = Authority.new("north-sea", NOW)
        Authority(AUTHORITY.certificate, other.secret).save(tmp_path / "authority.pem")
        with pytest.raises(IdentityError, match="not that of the certificate"):
            Authority.load(tmp_path / "authority.pem")

    @pytest.mark.parametrize("content", [b"", b"garbled", AUTHORITY.pem.encode()])
    def test_what_is_no_authority_is_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "authority.pem").write_bytes(content)
        with pytest.raises(IdentityError, match="PEM"):
            Authority.load(tmp_path / "authority.pem")

    def test_a_missing_one_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(IdentityError, match=r"authority\.pem"):
            Authority.load(tmp_path / "authority.pem")


def test_the_fingerprint_is_that_of_the_certificate() -> None:
    assert x509.load_pem_x509_certificate(AUTHORITY.pem.encode()) == AUTHORITY.certificate
    assert len(AUTHORITY.fingerprint) == 64
    assert AUTHORITY.fingerprint != Authority.new("north-sea", NOW).fingerprint


def test_an_authority_is_good_for_ten_years() -> None:
    lifetime = AUTHORITY.certificate.not_valid_after_utc - datetime.fromtimestamp(NOW, UTC)
    assert lifetime == timedelta(days=3650)


class TestClientCertificates:
    """What the authority signs for members: for opening connections, and for nothing else."""

    def test_it_is_a_clients_in_the_name_of_the_member(self) -> None:
        name, pem = AUTHORITY.sign_request(a_request("st-mary.2_B"), NOW, timedelta(days=90))
        assert name == "st-mary.2_B"
        store = Store([AUTHORITY.certificate])
        policy = PolicyBuilder().store(store).time(datetime.fromtimestamp(NOW, UTC).replace(tzinfo=None))
        client = policy.build_client_verifier().verify(x509.load_pem_x509_certificate(pem), [])
        assert client.subjects is not None
        assert [subject.value for subject in client.subjects] == [f"comity:{name}"]

    def test_it_is_no_servers(self) -> None:
        _, pem = AUTHORITY.sign_request(a_request("localhost"), NOW, timedelta(days=90))
        with pytest.raises(VerificationError):
            verified("localhost", pem)

    @pytest.mark.parametrize("days", [1, 90])
    def test_it_ends_when_it_should_and_not_after_its_authority(self, days: int) -> None:
        def end(now: float) -> datetime:
            _, pem = AUTHORITY.sign_request(a_request("north"), now, timedelta(days=days))
            return x509.load_pem_x509_certificate(pem).not_valid_after_utc

        assert end(NOW).timestamp() == NOW + days * 86400
        assert end(NOW + 3649.5 * 86400) == AUTHORITY.certificate.not_valid_after_utc

    @pytest.mark.parametrize("name", ["a b", "", "*", "_north", "north/../south"])
    def test_a_name_that_no_member_has_is_refused(self, name: str) -> None:
        with pytest.raises(IdentityError, match="not the request of a member"):
            AUTHORITY.sign_request(a_request(name or None), NOW, timedelta(days=1))

    def test_a_request_that_another_key_signed_is_refused(self) -> None:
        request = a_request("north")
        der = bytearray(x509.load_pem_x509_csr(request).public_bytes(Encoding.DER))
        at = der.index(b"north")
        der[at : at + 5] = b"south"
        tampered = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)
        with pytest.raises(IdentityError, match="not the request of a member"):
            AUTHORITY.sign_request(tampered, NOW, timedelta(days=1))

    def test_a_key_of_another_kind_is_refused(self) -> None:
        with pytest.raises(IdentityError, match="not the request of a member"):
            AUTHORITY.sign_request(a_request("north", rsa.generate_private_key(65537, 2048)), NOW, timedelta(days=1))

    def test_what_is_none_is_refused(self) -> None:
        with pytest.raises(IdentityError, match="not the request of a member"):
            AUTHORITY.sign_request(b"nothing", NOW, timedelta(days=1))


def a_request(name: str | None, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | None = None) -> bytes:
    names = [] if name is None else [x509.NameAttribute(NameOID.COMMON_NAME, name, _validate=False)]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names))
    return builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.PEM)
