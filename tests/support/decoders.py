"""Every decoder of bytes that come from outside, as one function each, with valid bytes to begin from.

`Decoder.decode` gives the value, or raises a `ComityError`; anything else is a fault of Comity's. What only reads files
gets its bytes in a file of its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

import comity as ct
from comity.core import manifest, tables
from comity.identity.certificates import Authority
from comity.identity.invitation import Invitation
from comity.identity.keys import AgreementKey, SigningKey
from comity.identity.roster import check_roster, sign_roster
from comity.node.bundle import unpack
from comity.node.data import DataRegistry
from comity.node.home import NodeConfig
from comity.node.log import NodeLog, entries, verify
from comity.node.policy import Policy, read_manifest
from comity.node.seal_key import SealKey
from comity.node.sealing import open_sealed, seal
from comity.server.config import read as read_settings
from comity.server.description import described, job_digest
from comity.server.vectors import StoredVectors, written
from comity.store.backup import backup, restore
from comity.store.blobs import Blobs
from comity.store.journal import Journal
from comity.wire import messages
from comity.wire.bodies import parse
from comity.wire.digests import blob_of
from comity.wire.messages import Blob, Member, Message, Roster, Source
from comity.wire.signature import read, sign
from comity.wire.transport import Request
from support.quadratic import Quadratic

NOW = 1_750_000_000.0
NAME = "north-sea"
KEY = SigningKey.new()
JOB = ct.Job(ct.FedAvg(Quadratic(), ct.LocalSGD(lr=0.1)), ct.Rounds(count=2))
LIMIT = 1 << 20


@dataclass(frozen=True)
class Decoder:
    """One way in: what decodes bytes, and valid bytes for it."""

    name: str
    decode: Callable[[bytes], Any]
    seeds: Callable[[], list[bytes]]


@cache
def decoders() -> dict[str, Decoder]:
    """All of them, by name."""
    made = [
        *(Decoder(f"body {kind.__name__}", _body(kind), _seeds_of(kind)) for kind in kinds()),
        Decoder("signature", _signature, _signed),
        Decoder("invitation", lambda data: Invitation.of(data.decode("utf-8", "surrogateescape")), _invitations),
        Decoder("vectors", _vectors, _vector_files),
        Decoder("manifest", _manifest, _manifests),
        Decoder("manifest at a node", lambda data: read_manifest(_text(data), JOB.id), _manifests),
        Decoder("layout", lambda data: described(JOB.to_json(), _text(data)), _layouts),
        Decoder("bundle", _bundle, _bundles),
        Decoder("roster", _roster, _rosters),
        Decoder("sealed file", _in_file(_opened), _sealed),
        Decoder("node log", _in_file(_logged), _logs),
        Decoder("backup facts", _backup("backup.json"), lambda: [_whole_backup()["backup.json"]]),
        Decoder("backup journal", _backup("journal.db"), lambda: [_whole_backup()["journal.db"]]),
        Decoder("toml", lambda data: tables.parse(data, "a file"), _tables),
        Decoder("policy", _in_file(Policy.load), _tables),
        Decoder("node settings", lambda data: NodeConfig.of(data.decode("utf-8", "replace"), "node.toml"), _tables),
        Decoder("server settings", _in_folder("server.toml", lambda at: read_settings(at, {}, {})), _tables),
        Decoder("data sets", _in_folder("datasets.toml", lambda at: DataRegistry(at).entries()), _tables),
        Decoder("signing key", _in_file(SigningKey.load), _keys),
        Decoder("agreement key", _in_file(AgreementKey.load), _keys),
        Decoder("authority", _in_file(Authority.load), _keys),
        Decoder("certificate request", _certificate_request, _certificate_requests),
    ]
    return {one.name: one for one in made}


def kinds() -> Iterable[type[Message]]:
    """Every message that travels."""
    for kind in vars(messages).values():
        if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message:
            yield kind


def _text(data: bytes) -> str:
    """What JSON strings can hold: any text, lone surrogates among it where they were escaped."""
    return data.decode("utf-8", "replace")


def _body(kind: type[Message]) -> Callable[[bytes], Any]:
    return lambda data: parse(kind, data, LIMIT)


def _seeds_of(kind: type[Message]) -> Callable[[], list[bytes]]:
    return lambda: [_example(kind.model_json_schema(), kind.model_json_schema())]


def _example(schema: Any, root: Any) -> bytes:
    """A body that a message's own schema allows: every field, lists of two."""
    return json.dumps(_node(schema, root)).encode()


_TEXTS = {
    "^[0-9a-f]{64}$": "0" * 64,
    "^[0-9a-f]{16}$": "0" * 16,
    "^[0-9a-f]{128}$": "0" * 128,
    "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$": "A" * 43,
    r"^comity1\.[A-Za-z0-9_-]{1,4096}$": "comity1.AAAA",
}


def _node(schema: Any, root: Any) -> Any:
    if "$ref" in schema:
        return _node(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        return _node(schema["anyOf"][0], root)
    if "enum" in schema or "const" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    match schema.get("type"):
        case "object":
            fields = {name: _node(field, root) for name, field in schema.get("properties", {}).items()}
            more = schema.get("additionalProperties") or next(iter(schema.get("patternProperties", {}).values()), None)
            return fields | ({"name": _node(more, root)} if isinstance(more, dict) else {})
        case "array":
            items = schema.get("prefixItems") or [schema.get("items", {})] * 2
            return [_node(item, root) for item in items]
        case "integer" | "number":
            return max(1, schema.get("minimum", 0))
        case "boolean":
            return True
        case "string":
            return _TEXTS.get(schema.get("pattern", ""), "name")
        case _:
            return None


def _signature(data: bytes) -> Any:
    """Three header fields, a line each."""
    names = ("signature-input", "signature", "content-digest")
    headers = dict(zip(names, data.decode("latin-1").split("\n"), strict=False))
    return read(Request("POST", "/v1/work", {}, headers, b"{}"), NAME, NOW, lambda keyid: KEY.public)


def _signed() -> list[bytes]:
    signed = sign(Request("POST", "/v1/work", {}, {}, b"{}"), KEY, NAME, NOW, bytes(16)).headers
    return ["\n".join(signed[name] for name in ("signature-input", "signature", "content-digest")).encode()]


def _invitations() -> list[bytes]:
    address, secret = "https://comity.test:8443", "s" * 32
    return [Invitation(address, "0" * 64, secret, "north", "node", NOW).token.encode()]


@dataclass(frozen=True)
class _Held:
    """Blobs of one blob."""

    data: bytes

    def read(self, owner: str, blob: Blob, start: int, stop: int) -> bytes:
        return self.data[start:stop]

    def part(self, owner: str, digest: str) -> bytes:
        return self.data


def _vectors(data: bytes) -> Any:
    held: Any = _Held(data)
    stored = StoredVectors.open(held, "owner", blob_of(data))
    stored.check_digest()
    return stored.arrays()


def _vector_files() -> list[bytes]:
    files: list[dict[str, Any]] = [
        {"weights": np.ones(3, np.float32)},
        {"a": np.zeros((2, 2), np.float64), "b": np.ones(5, np.uint8), "c": np.zeros(0, np.float32)},
    ]
    return [b"".join(written(arrays)) for arrays in files]


def _manifest(data: bytes) -> Any:
    """As a server reads it, in its order."""
    text = _text(data)
    job = described(text, manifest.canonical(manifest.encode(JOB.program.model.layout)))
    return job, job_digest(text)


def _manifests() -> list[bytes]:
    return [JOB.to_json().encode()]


def _layouts() -> list[bytes]:
    return [manifest.canonical(manifest.encode(JOB.program.model.layout)).encode()]


def _bundle(data: bytes) -> None:
    source = parse(Source, data, LIMIT)
    with TemporaryDirectory() as folder:
        inside = Path(folder) / "inside"
        inside.mkdir()
        try:
            unpack(source.files, inside)
        finally:
            assert [path.name for path in Path(folder).iterdir()] == ["inside"], "something lies outside"


def _bundles() -> list[bytes]:
    files = [{"net.py": "x = 1\n", "package/__init__.py": ""}, {"../out.py": ""}, {"/tmp/out.py": "", "a": "", "A": ""}]
    return [json.dumps({"files": some}).encode() for some in files]


def _roster(data: bytes) -> Any:
    roster = parse(Roster, data, LIMIT)
    check_roster(roster, KEY.public, NOW)
    return roster


def _rosters() -> list[bytes]:
    agreement = AgreementKey.new().public
    member = Member(
        name="north", role="node", enrolled=0.0, expires=2 * NOW, signing_key=KEY.public, agreement_key=agreement
    )
    return [sign_roster([member], NAME, NOW, KEY).model_dump_json().encode()]


def _in_file(decode: Callable[[Path], Any]) -> Callable[[bytes], Any]:
    def from_file(data: bytes) -> Any:
        with TemporaryDirectory() as folder:
            file = Path(folder) / "file"
            file.write_bytes(data)
            return decode(file)

    return from_file


def _in_folder(name: str, decode: Callable[[Path], Any]) -> Callable[[bytes], Any]:
    return _in_file(lambda file: decode(file.rename(file.with_name(name)).parent))


_SEAL = SealKey(bytes(range(32)))


def _opened(file: Path) -> bytes:
    with open_sealed(file, _SEAL, "digits") as opened:
        return opened.read()


def _sealed() -> list[bytes]:
    with TemporaryDirectory() as folder:
        plain = Path(folder) / "digits.csv"
        plain.write_bytes(b"a,b\n1,2\n")
        return [seal(plain, _SEAL, "digits").read_bytes()]


def _logged(file: Path) -> Any:
    checked = verify(file)
    if checked.sound:
        list(entries(file))
    NodeLog(file, lambda: NOW).append("started", {})
    return checked


def _logs() -> list[bytes]:
    with TemporaryDirectory() as folder:
        log = NodeLog(Path(folder) / "log.jsonl", lambda: NOW)
        log.append("started", {})
        log.append("ruling", {"run": "0" * 16, "lines": ["yes"], "weight": 1.5})
        return [(Path(folder) / "log.jsonl").read_bytes()]


@cache
def _whole_backup() -> dict[str, bytes]:
    with TemporaryDirectory() as folder:
        journal = Journal.open(f"sqlite:///{Path(folder) / 'journal.db'}")
        journal.note(NOW, "operator", "invited", "north")
        blobs = Blobs.open(Path(folder) / "blobs")
        blobs.put("north", [b"content"])
        backup(journal, blobs, Path(folder) / "backup")
        journal.close()
        return {name: (Path(folder) / "backup" / name).read_bytes() for name in ("backup.json", "journal.db")}


def _backup(name: str) -> Callable[[bytes], Any]:
    """A backup with these bytes in place of one of its files."""

    def restored(data: bytes) -> Any:
        with TemporaryDirectory() as folder:
            source = Path(folder) / "backup"
            source.mkdir()
            for file, content in (_whole_backup() | {name: data}).items():
                (source / file).write_bytes(content)
            Blobs.open(source / "parts").put("north", [b"content"])
            journal = Journal.open(f"sqlite:///{Path(folder) / 'new.db'}")
            try:
                return restore(source, journal, Blobs.open(Path(folder) / "blobs"))
            finally:
                journal.close()

    return restored


def _tables() -> list[bytes]:
    policy = '[[allow]]\nprogram = "FedAvg"\ndatasets = ["digits"]\nmin_parties = 3\n"local.lr" = { max = 0.5 }\n'
    node = 'name = "north"\naddress = "https://comity.test:8443"\ndeployment = "study"\nregistrar = "AA"\ntasks = 2\n'
    server = 'name = "study"\naddress = "https://comity.test:8443"\nport = 8443\n'
    data = '[[dataset]]\nname = "digits"\npath = "digits.csv"\ntarget = "target"\n'
    return [text.encode() for text in (policy, node, server, data, "a = 1979-05-27T07:32:00Z\nb = [1, [2.5e3]]\n")]


_AUTHORITY = Authority.new("Comity test", NOW)


def _certificate_request(data: bytes) -> Any:
    return _AUTHORITY.sign_request(data, NOW, timedelta(days=1))


def _certificate_requests() -> list[bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "north")])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return [made.public_bytes(Encoding.PEM)]


def _keys() -> list[bytes]:
    with TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("signing", "agreement", "authority")]
        SigningKey.new().save(files[0])
        AgreementKey.new().save(files[1])
        Authority.new("Comity test", time.time()).save(files[2])
        return [file.read_bytes() for file in files]
