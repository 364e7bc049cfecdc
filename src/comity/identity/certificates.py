"""A deployment's own certificate authority: it signs the server's certificate, and those of members for mutual TLS.

Joiners know it by its fingerprint.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import TypeAdapter

from comity.core.files import replace_file
from comity.identity.errors import IdentityError
from comity.identity.pem import key_pem, read_key
from comity.wire.messages import Name

_AUTHORITY_LIFETIME = timedelta(days=3650)
_SERVER_LIFETIME = timedelta(days=397)
# Clocks of those who check may be behind a little.
_BACKDATED = timedelta(hours=1)
# What cryptography raises for bytes that are no certificate or request.
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, InternalError, x509.InvalidVersion)


@dataclass(frozen=True)
class Authority:
    """A certificate and its key (ECDSA on P-256, which every TLS library takes)."""

    certificate: x509.Certificate
    secret: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def new(cls, name: str, now: float) -> Authority:
        """An authority that signs itself, good for ten years from `now` (seconds since 1970)."""
        secret = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
        begins = datetime.fromtimestamp(int(now), UTC)
        builder = (
            _builder(subject, subject, secret.public_key(), begins, begins + _AUTHORITY_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(certificates=True), critical=True)
        )
        return cls(builder.sign(secret, hashes.SHA256()), secret)

    @classmethod
    def load(cls, path: Path) -> Authority:
        """Raises `IdentityError` where there is no authority at `path`."""
        mend = "restore it from a backup; without it every node has to join again"
        secret, pem = read_key(path, ec.EllipticCurvePrivateKey, what="certificate authority", mend=mend)
        try:
            certificate = x509.load_pem_x509_certificate(pem)
            of_certificate = certificate.public_key()
        except _UNREADABLE as error:
            raise IdentityError("there is no certificate in PEM beside the key", where=str(path)) from error
        if secret.public_key() != of_certificate:
            raise IdentityError("the key is not that of the certificate", where=str(path))
        return cls(certificate, secret)

    def save(self, path: Path) -> None:
        """Write certificate and key as one PEM file that its owner alone can read."""
        replace_file(path, self.pem.encode("ascii") + key_pem(self.secret), mode=0o600)

    def issue(self, hosts: Sequence[str], now: float) -> tuple[bytes, bytes]:
        """A server's certificate for these names and addresses, and its new key, both as PEM.

        It is good for 13 months, and never longer than the authority. Raises `IdentityError` without a host, or for one
        that cannot stand in a certificate.
        """
        names = [_subject_name(host) for host in hosts]
        if not names:
            raise IdentityError("a server's certificate needs a host", where="hosts", mend="name the server's host")
        secret = ec.generate_private_key(ec.SECP256R1())
        purpose = ExtendedKeyUsageOID.SERVER_AUTH
        certificate = self._certificate(hosts[0][:64], names, secret.public_key(), purpose, now, _SERVER_LIFETIME)
        return certificate, key_pem(secret)

    def sign_request(self, pem: bytes, now: float, lifetime: timedelta) -> tuple[str, bytes]:
        """A member's certificate for mutual TLS, as PEM, for the key of its request; and the member's name.

        It is good for `lifetime`, never longer than the authority, and for clients alone. Raises `IdentityError` for
        what is no request, or is not signed by the key that it is for.
        """
        try:
            request = x509.load_pem_x509_csr(pem)
            (common,) = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            key, name = request.public_key(), TypeAdapter(Name).validate_python(common.value)
            if not request.is_signature_valid or not isinstance(key, ec.EllipticCurvePublicKey):
                raise ValueError
        except _UNREADABLE as error:
            raise IdentityError(
                "this is not the request of a member",
                where="request",
                mend="it is what `comity node certificate request`, or `comity certificate request`, has written",
            ) from error
        # No host: that it cannot be taken for a server's certificate does not hang on its purpose alone.
        names = [x509.UniformResourceIdentifier(f"comity:{name}")]
        return name, self._certificate(name, names, key, ExtendedKeyUsageOID.CLIENT_AUTH, now, lifetime)

    def _certificate(
        self,
        common_name: str,
        names: Sequence[x509.GeneralName],
        key: ec.EllipticCurvePublicKey,
        purpose: x509.ObjectIdentifier,
        now: float,
        lifetime: timedelta,
    ) -> bytes:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        key_id = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        begins = datetime.fromtimestamp(int(now), UTC)
        ends = min(begins + lifetime, self.certificate.not_valid_after_utc)
        builder = (
            _builder(subject, self.certificate.subject, key, begins, ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False)
        )
        return builder.sign(self.secret, hashes.SHA256()).public_bytes(Encoding.PEM)

    @cached_property
    def pem(self) -> str:
        """The certificate, without the key."""
        return self.certificate.public_bytes(Encoding.PEM).decode("ascii")

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate (DER), in hexadecimal."""
        return hashlib.sha256(self.certificate.public_bytes(Encoding.DER)).hexdigest()


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    begins: datetime,
    ends: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins - _BACKDATED)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        key_cert_sign=certificates,
        crl_sign=certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _subject_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        if (
            not host
            or host.startswith(".")
            or any(not character.isprintable() or character in " /:" for character in host)
        ):
            raise ValueError
        return x509.DNSName(host.encode("idna").decode("ascii"))
    except ValueError:
        raise IdentityError(
            f"{host!r} is neither a host name nor an address",
            where="hosts",
            mend="give names such as server.example.org",
        ) from None
