"""A member's certificate for mutual TLS: its key is made where it is used, and the deployment's authority signs it.

It opens the connection and says nothing more: who asks is known by the signature of each request.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from comity.core.files import replace_file
from comity.identity.errors import IdentityError
from comity.identity.pem import key_pem, read_key

_REQUEST = "ask for another one: comity certificate request, or comity node certificate request"


@dataclass(frozen=True)
class ClientCertificate:
    """In `folder`: `tls.pem`, certificate and key in one file; `tls.key`, a key that a certificate is awaited for."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "tls.pem"

    @property
    def _awaited(self) -> Path:
        return self.folder / "tls.key"

    def request(self, name: str) -> str:
        """A request (PKCS #10, PEM) in the name of the member, for a new key that stays here; again the same key."""
        if not self._awaited.exists():
            replace_file(self._awaited, key_pem(ec.generate_private_key(ec.SECP256R1())), mode=0o600)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(self._key(), hashes.SHA256())
        return request.public_bytes(Encoding.PEM).decode("ascii")

    def install(self, pem: bytes, authority: str | None, now: float) -> datetime:
        """Take the certificate that answers the request, and say until when it is good.

        Raises `IdentityError` where it is for another key, is not good now, or is not signed by `authority` (PEM, None
        where it is not known here yet).
        """
        try:
            certificate = x509.load_pem_x509_certificate(pem)
        except ValueError as error:
            raise IdentityError("this is not a certificate in PEM", where="certificate", mend=_REQUEST) from error
        key = self._key()
        if certificate.public_key() != key.public_key():
            raise IdentityError(
                "the certificate is for another key than the one here", where="certificate", mend=_REQUEST
            )
        if authority is not None:
            _check_issuer(certificate, authority)
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if not begins <= datetime.fromtimestamp(now, UTC) < ends:
            what = f"the certificate is good from {begins:%Y-%m-%d %H:%MZ} to {ends:%Y-%m-%d %H:%MZ}, and not now"
            raise IdentityError(what, where="certificate", mend=f"check this machine's clock, or {_REQUEST}")
        replace_file(self.file, certificate.public_bytes(Encoding.PEM) + key_pem(key), mode=0o600)
        self._awaited.unlink()
        return ends

    def ends(self) -> datetime | None:
        """Until when the installed certificate is good; None where there is none. Raises `IdentityError`."""
        if not self.file.exists():
            return None
        try:
            return x509.load_pem_x509_certificate(self.file.read_bytes()).not_valid_after_utc
        except (OSError, ValueError) as error:
            raise IdentityError("the certificate cannot be read", where=str(self.file), mend=_REQUEST) from error

    def _key(self) -> ec.EllipticCurvePrivateKey:
        key: ec.EllipticCurvePrivateKey = read_key(
            self._awaited, ec.EllipticCurvePrivateKey, what="key that a certificate is awaited for", mend=_REQUEST
        )[0]
        return key


def _check_issuer(certificate: x509.Certificate, authority: str) -> None:
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.encode("ascii")))
    except (ValueError, TypeError, InvalidSignature) as error:
        raise IdentityError(
            "the certificate is not signed by this deployment's authority", where="certificate", mend=_REQUEST
        ) from error
