"""The folder of a server: made once by `init`, and everything that `start` needs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from comity.core.errors import ConfigError
from comity.core.files import replace_file
from comity.identity.certificates import Authority
from comity.identity.errors import IdentityError
from comity.identity.folder import IdentityFolder, Membership
from comity.identity.keys import AgreementKey, PublicKey, SigningKey
from comity.server.config import ServerConfig
from comity.server.deployment import LIFETIME, Deployment
from comity.server.federation import Federation
from comity.server.gate import Gate
from comity.server.observed import Observe
from comity.server.rates import Rates
from comity.server.telling import tell
from comity.store.blobs import Blobs
from comity.store.journal import Journal
from comity.wire.messages import Member

OPERATOR = "operator"
AUTHORITY = "authority.pem"
_JOURNAL = "sqlite:///journal.db"

_STARTER = """\
# The settings of this server. Flags of `comity server start` come before environment variables (COMITY_SERVER_PORT=…),
# those before this file.

name = {name}                  # the deployment; every signature is bound to it
address = {address}            # where parties reach this server; it is told in invitations
host = {host}                  # the address to listen on
port = {port}
journal = {journal}            # or postgresql+psycopg://user@host/database, for several replicas

# blobs = "blobs"                                     # a folder, or s3://bucket/prefix?endpoint=…
# tls = true                                          # false behind a proxy on this machine that ends TLS
# client_certificates = "off"                         # "required": TLS refuses whoever has none of the authority's
# absence = 120.0                                     # seconds of silence after which a party loses its leases
# metrics = "127.0.0.1:9464"                          # where Prometheus may scrape; without it, nowhere
# log = "info"
"""


@dataclass(frozen=True)
class ServerHome:
    """`server.toml`, the certificate authority and the server's certificate, the registrar's key, journal and blobs."""

    path: Path

    def init(
        self,
        *,
        name: str,
        address: str,
        host: str,
        port: int,
        hosts: Sequence[str],
        now: Callable[[], float],
        registrar: PublicKey | None = None,
        journal: str = _JOURNAL,
    ) -> None:
        """Make a new server over an empty journal; its registrar is a new one, or one whose key is kept elsewhere.

        Raises `ConfigError` where there is a server already; what is there is never overwritten.
        """
        if (self.path / "server.toml").exists():
            raise ConfigError("there is a server in this folder already", where=str(self.path), mend="choose another")
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        authority = Authority.new(f"Comity {name}", now())
        authority.save(self.path / AUTHORITY)
        if registrar is None:
            key = SigningKey.new()
            key.save(self._registrar)
            registrar = PublicKey(key.public)
        registrar.save(self._registrar_public)
        self.certify(hosts, now)
        with closing(Journal.open(self._journal_url(journal))) as opened:
            operator = Membership(
                name=OPERATOR, role="admin", address=address, deployment=name, registrar=registrar.public
            )
            _admit(opened, IdentityFolder(self.path / OPERATOR), operator, authority.pem, now())
        # A JSON text of one line is a basic string of TOML.
        texts = {key: json.dumps(text) for key, text in (("name", name), ("address", address), ("host", host))}
        text = _STARTER.format(**texts, port=port, journal=json.dumps(journal))
        replace_file(self.path / "server.toml", text.encode())

    def certify(self, hosts: Sequence[str], now: Callable[[], float]) -> None:
        """Issue the server's certificate for these hosts, or issue it anew."""
        certificate, key = Authority.load(self.path / AUTHORITY).issue(hosts, now())
        replace_file(self.path / "server.key", key, mode=0o600)
        replace_file(self.path / "server.pem", certificate)

    def add_admin(self, config: ServerConfig, name: str, into: IdentityFolder, now: float) -> None:
        """A new admin with keys in `into`. Raises `ConfigError` and `IdentityError` where name or folder are taken."""
        into.check_free()
        registrar, authority = self._signer().public, Authority.load(self.path / AUTHORITY)
        membership = Membership(
            name=name, role="admin", address=config.address, deployment=config.name, registrar=registrar
        )
        with closing(Journal.open(self._journal_url(config.journal))) as journal:
            if journal.member(name) is not None:
                raise ConfigError(f"{name} is or was a member already", where="NAME", mend="choose another name")
            _admit(journal, into, membership, authority.pem, now)
            journal.note(now, "server folder", "added", name)

    def open(
        self,
        config: ServerConfig,
        now: Callable[[], float],
        token: Callable[[int], bytes],
        observe: Observe = tell,
    ) -> Deployment:
        """The deployment of this folder, ready to be served. Raises `StoreError`, `IdentityError`."""
        journal, blobs = self.store(config)
        authority = Authority.load(self.path / AUTHORITY)
        federation = Federation(journal, blobs, now, token, config.absence, observe=observe)
        return Deployment(
            federation=federation,
            gate=Gate(journal, config.name, now, Rates(now, config.rate, 4 * config.rate), observe),
            name=config.name,
            address=config.address,
            authority=authority.pem,
            fingerprint=authority.fingerprint,
            registrar=self._signer(),
            lifetime=config.lifetime_days * 86400,
        )

    @property
    def _registrar(self) -> Path:
        return self.path / "registrar.pem"

    @property
    def _registrar_public(self) -> Path:
        return self.path / "registrar.pub"

    def _signer(self) -> SigningKey | PublicKey:
        """The registrar's key, or its public half where the key is kept elsewhere."""
        if not self._registrar.exists():
            return PublicKey.load(self._registrar_public)
        key = SigningKey.load(self._registrar)
        if not self._registrar_public.exists():
            PublicKey(key.public).save(self._registrar_public)
        if key.public != PublicKey.load(self._registrar_public).public:
            raise IdentityError(
                "this is not the key of the deployment's registrar",
                where=str(self._registrar),
                mend="remove it; the registrar that members know is in registrar.pub",
            )
        return key

    def store(self, config: ServerConfig) -> tuple[Journal, Blobs]:
        """The journal and the blobs of this server. Raises `StoreError`."""
        journal = Journal.open(self._journal_url(config.journal))
        return journal, Blobs.open(config.blobs if "://" in config.blobs else self.path / config.blobs)

    def _journal_url(self, url: str) -> str:
        """A relative path of SQLite is in this folder."""
        prefix, _, path = url.partition(":///")
        return f"{prefix}:///{self.path / path}" if prefix == "sqlite" else url


def _admit(journal: Journal, folder: IdentityFolder, membership: Membership, authority: str, now: float) -> None:
    """A member without an invitation, with new keys in `folder`, which are there before anybody relies on them."""
    signing, agreement = SigningKey.new(), AgreementKey.new()
    member = Member(
        name=membership.name,
        role=membership.role,
        signing_key=signing.public,
        agreement_key=agreement.public,
        enrolled=now,
        expires=now + LIFETIME,
    )
    folder.write(membership, authority, signing, agreement)
    journal.add_member(member)
