"""Known answers of helper mode: all of tests/protocols/vectors follows from the keys, seeds and uploads in it."""

from __future__ import annotations

import hashlib
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from comity.protocols.secure_sum.sealing import unseal
from support.secure_vectors import CASES, given_uploads, played, world_of

FOLDER = Path(__file__).parent / "vectors"


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def facts(case: str) -> dict[str, Any]:
    answers: dict[str, Any] = json.loads((FOLDER / f"{case}.json").read_text("utf-8"))
    return answers


def test_every_message_and_the_sum_are_the_known_ones(case: str, facts: dict[str, Any]) -> None:
    _, again = played(world_of(case), given_uploads(facts))
    for name, known in facts.items():
        assert json.loads(json.dumps(again[name])) == known, name


def test_a_party_masks_as_it_did(case: str, facts: dict[str, Any]) -> None:
    """The vector, the commitments and the seeds do not depend on the ephemeral keys of the boxes."""
    _, again = played(world_of(case))
    for party, known in zip(again["parties"], facts["parties"], strict=True):
        assert {**party, "upload": ""} == {**known, "upload": ""}


def test_the_answers_follow_from_standard_parts_alone(facts: dict[str, Any]) -> None:
    """A reading of the specification with SHA-256, AES-CTR and whole numbers, and none of this package's code."""
    context = hashlib.sha256(bytes.fromhex(facts["terms"]["bytes"])).digest()
    assert context.hex() == facts["terms"]["context"]
    size, threshold = facts["terms"]["fields"]["size"], facts["terms"]["fields"]["threshold"]
    assert facts["subsets"] == [list(subset) for subset in combinations(range(size), threshold)]
    for position, party in enumerate(facts["parties"]):
        masked = np.asarray(party["numbers"], dtype=np.int64)
        for number, seed in enumerate(party["seeds"]):
            framed = [context, position.to_bytes(4, "big"), number.to_bytes(4, "big"), bytes.fromhex(seed)]
            told = b"comity/secure-sum/1 seed\n" + b"".join(len(part).to_bytes(4, "big") + part for part in framed)
            assert hashlib.sha256(told).hexdigest() == party["commitments"][number]
            key = algorithms.AES128(bytes.fromhex(party["stream_keys"][number]))
            stream = Cipher(key, modes.CTR(bytes(16))).encryptor().update(bytes(4 * len(masked)))
            masked = masked + np.frombuffer(stream, dtype="<u4")
        assert (masked % 2**32).astype("<u4").tobytes().hex() == party["masked"]
    assert facts["sum"] == np.sum([party["numbers"] for party in facts["parties"]], axis=0).tolist()


def test_the_boxes_open_to_the_seeds_of_the_subsets_that_a_helper_is_not_in(facts: dict[str, Any]) -> None:
    context = bytes.fromhex(facts["terms"]["context"])
    for position, (upload, _) in given_uploads(facts).items():
        seeds = facts["parties"][position]["seeds"]
        for member, box in enumerate(upload.boxes):
            private = bytes.fromhex(facts["keys"][f"helper {member}"]["x25519_private"])
            plain = unseal(X25519PrivateKey.from_private_bytes(private), context, position, member, box)
            held = [seeds[number] for number, subset in enumerate(facts["subsets"]) if member not in subset]
            assert plain.hex() == "".join(held)
