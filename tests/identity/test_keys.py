"""Keys: made here, kept by their owner alone, known by their thumbprint."""

from __future__ import annotations

import base64
import hashlib
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from comity.identity.errors import IdentityError
from comity.identity.keys import AgreementKey, SigningKey, thumbprint, verify
from comity.wire.messages import Key

KEY = SigningKey.new()
KINDS = pytest.mark.parametrize("kind", [SigningKey, AgreementKey])


def test_the_signature_is_that_of_rfc_8032() -> None:
    secret = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    key = SigningKey(Ed25519PrivateKey.from_private_bytes(secret))
    assert key.sign(b"").hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )
    assert base64.urlsafe_b64decode(key.public + "=").hex() == (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    )


@given(st.binary(max_size=40), st.integers(0, 511))
def test_a_signature_fits_one_message_and_one_key(message: bytes, bit: int) -> None:
    signature = KEY.sign(message)
    changed = bytearray(signature)
    changed[bit // 8] ^= 1 << bit % 8
    assert verify(KEY.public, signature, message)
    assert not verify(KEY.public, bytes(changed), message)
    assert not verify(KEY.public, signature, message + b"!")
    assert not verify(SigningKey.new().public, signature, message)


@pytest.mark.parametrize("key", ["", "A" * 42, "A" * 42 + "B", "A" * 44, "é" * 43, " " + "A" * 42])
def test_what_is_no_key_verifies_nothing_and_has_no_thumbprint(key: str) -> None:
    assert not verify(key, KEY.sign(b"x"), b"x")
    with pytest.raises(IdentityError):
        thumbprint(key)


@KINDS
def test_a_key_comes_back_from_its_file(kind: type[SigningKey] | type[AgreementKey], tmp_path: Path) -> None:
    key = kind.new()
    key.save(tmp_path / "identity" / "key.pem")
    loaded = kind.load(tmp_path / "identity" / "key.pem")
    assert (loaded.public, loaded.id) == (key.public, key.id)
    assert TypeAdapter(Key).validate_python(key.public) == key.public


@KINDS
def test_nobody_else_can_read_the_file(kind: type[SigningKey] | type[AgreementKey], tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("")
    path.chmod(0o666)
    kind.new().save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@KINDS
def test_the_secret_shows_nowhere(kind: type[SigningKey] | type[AgreementKey]) -> None:
    assert repr(kind.new()) == f"{kind.__name__}()"


def test_the_id_is_the_digest_of_the_public_key() -> None:
    raw = base64.urlsafe_b64decode(KEY.public + "=")
    assert KEY.id == base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).decode().rstrip("=")


def test_every_key_is_new() -> None:
    assert len({SigningKey.new().id for _ in range(50)} | {AgreementKey.new().id for _ in range(50)}) == 100


class TestFilesThatAreNoKeys:
    def refusal(self, path: Path) -> IdentityError:
        with pytest.raises(IdentityError) as caught:
            SigningKey.load(path)
        assert caught.value.where == str(path)
        return caught.value

    def test_missing(self, tmp_path: Path) -> None:
        assert "join again" in self.refusal(tmp_path / "key.pem").mend

    @pytest.mark.parametrize(
        "content", [b"", b"\x00" * 64, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
    )
    def test_garbled(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "key.pem").write_bytes(content)
        assert "PEM" in self.refusal(tmp_path / "key.pem").what

    def test_of_the_other_kind(self, tmp_path: Path) -> None:
        AgreementKey.new().save(tmp_path / "key.pem")
        assert "Ed25519" in self.refusal(tmp_path / "key.pem").what

    def test_of_another_algorithm(self, tmp_path: Path) -> None:
        pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / "key.pem").write_bytes(pem)
        assert "Ed25519" in self.refusal(tmp_path / "key.pem").what

    def test_with_a_password(self, tmp_path: Path) -> None:
        locked = KEY.secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
        (tmp_path / "key.pem").write_bytes(locked)
        assert "without a password" in self.refusal(tmp_path / "key.pem").what
