"""The proof that who asks for new keys holds them: a signature by the new signing key, for one member alone."""

from __future__ import annotations

import json

from comity.identity.keys import AgreementKey, SigningKey, verify
from comity.wire.messages import Rekey

_DOMAIN = b"comity keys 1\n"


def rekey(name: str, deployment: str, signing: SigningKey, agreement: AgreementKey) -> Rekey:
    """The wish of the member `name` for these keys, with the proof."""
    proof = signing.sign(_signed_bytes(name, deployment, signing.public, agreement.public))
    return Rekey(signing_key=signing.public, agreement_key=agreement.public, proof=proof.hex())


def proves(wish: Rekey, name: str, deployment: str) -> bool:
    """Whether the wish is signed by its own signing key, for this member of this deployment."""
    message = _signed_bytes(name, deployment, wish.signing_key, wish.agreement_key)
    return verify(wish.signing_key, bytes.fromhex(wish.proof), message)


def _signed_bytes(name: str, deployment: str, signing_key: str, agreement_key: str) -> bytes:
    content = {"agreement_key": agreement_key, "deployment": deployment, "name": name, "signing_key": signing_key}
    return _DOMAIN + json.dumps(content, sort_keys=True, separators=(",", ":")).encode("ascii")
