"""The folder of a member who is a person: who it is, where the server is, and its keys."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from comity.core.files import replace_file
from comity.identity.errors import IdentityError
from comity.identity.keys import AgreementKey, SigningKey
from comity.identity.renewal import KeyFiles
from comity.wire.messages import Message, Name, RoleName


class Membership(Message):
    """Who one is in which deployment, and where its server is."""

    name: Name
    role: RoleName
    address: str
    deployment: str
    registrar: str


@dataclass(frozen=True)
class IdentityFolder:
    """`member.json`, `authority.pem`, `signing.pem` and `agreement.pem`, for their owner's eyes alone."""

    path: Path

    @classmethod
    def default(cls) -> IdentityFolder:
        """`$COMITY_IDENTITY`, or `.comity` in the home folder."""
        named = os.environ.get("COMITY_IDENTITY")
        return cls(Path(named) if named else Path.home() / ".comity")

    @classmethod
    def of(cls, path: Path | None) -> IdentityFolder:
        """The folder that was named, or the default one."""
        return cls(path) if path is not None else cls.default()

    @property
    def signing_file(self) -> Path:
        return self.path / "signing.pem"

    @property
    def agreement_file(self) -> Path:
        return self.path / "agreement.pem"

    @property
    def keys(self) -> KeyFiles:
        return KeyFiles(self.signing_file, self.agreement_file)

    @property
    def client_certificate(self) -> Path:
        """The certificate and its key, PEM, where the server asks for one (`identity.client_certificate`)."""
        return self.path / "tls.pem"

    @property
    def exists(self) -> bool:
        return (self.path / "member.json").exists()

    @property
    def authority(self) -> str | None:
        """The certificate authority of the server, PEM; None where its certificate is one that every system trusts."""
        file = self.path / "authority.pem"
        return file.read_text("ascii") if file.exists() else None

    def write(
        self, membership: Membership, authority: str | None, signing: SigningKey, agreement: AgreementKey
    ) -> None:
        """Write it anew. Raises `IdentityError` where somebody's identity is there already."""
        self.check_free()
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        signing.save(self.signing_file)
        agreement.save(self.agreement_file)
        if authority is not None:
            replace_file(self.path / "authority.pem", authority.encode("ascii"))
        replace_file(self.path / "member.json", membership.model_dump_json(indent=1).encode(), mode=0o600)

    def check_free(self) -> None:
        """Raises `IdentityError` where somebody's identity is there already."""
        if self.exists:
            raise IdentityError(
                "there is an identity in this folder already",
                where=str(self.path),
                mend="choose another folder: --identity, COMITY_IDENTITY",
            )

    def read(self) -> Membership:
        """Raises `IdentityError` where there is none."""
        try:
            return Membership.model_validate_json((self.path / "member.json").read_bytes())
        except FileNotFoundError:
            raise IdentityError(
                "there is no identity here",
                where=str(self.path),
                mend="join a deployment (comity join TOKEN), or name the folder: --identity, COMITY_IDENTITY",
            ) from None
        except (OSError, ValidationError) as error:
            raise IdentityError(f"the identity cannot be read: {error}", where=str(self.path)) from error

    def signing_key(self) -> SigningKey:
        return SigningKey.load(self.signing_file)

    def agreement_key(self) -> AgreementKey:
        return AgreementKey.load(self.agreement_file)
