"""Known answers of committee mode: what the code gives, and what a reading of the specification without it gives."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from support.lattice_vectors import answers

Q, N = 2013265921, 2048
FILE = Path(__file__).parent / "vectors" / "committee-10-3.json"
Words = NDArray[np.uint64]


@pytest.fixture
def facts() -> dict[str, Any]:
    known: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return known


def test_the_code_gives_the_known_answers(facts: dict[str, Any]) -> None:
    for name, found in answers().items():
        assert json.loads(json.dumps(found)) == facts[name], name


def words(key: bytes, count: int) -> Words:
    """Words of AES-128-CTR from counter zero."""
    raw = Cipher(algorithms.AES128(key), modes.CTR(bytes(16))).encryptor().update(bytes(4 * count))
    return np.frombuffer(raw, "<u4").astype(np.uint64)


def below_q(stream: Words) -> Words:
    """The 31 low bits of each word, where they are below q."""
    low = stream & np.uint64(2**31 - 1)
    return low[low < Q]


def derived(purpose: bytes, *parts: bytes) -> bytes:
    framed = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hashlib.sha256(b"comity/secure-sum/1 " + purpose + b"\n" + framed).digest()[:16]


def sha256(elements: Words) -> str:
    return hashlib.sha256(elements.astype("<u4").tobytes()).hexdigest()


def powers() -> Words:
    """ψ to the exponents 0 to 4095."""
    psi = pow(31, (Q - 1) // (2 * N), Q)
    return np.array([pow(psi, exponent, Q) for exponent in range(2 * N)], np.uint64)


def mask(public: Words, secret: Words, length: int) -> list[int]:
    """The first coefficients of the product, from the definition of the transform, term by term."""
    table, coefficients = powers(), np.arange(N)
    places = np.arange(N)
    roots = 2 * (places // 64 + 32 * (places % 64)) + 1
    of_secret = np.array(
        [int((secret * table[root * coefficients % (2 * N)] % Q).sum()) % Q for root in roots.tolist()], np.uint64
    )
    product = public * of_secret % Q
    inverse = pow(N, -1, Q)
    return [int((product * table[-roots * k % (2 * N)] % Q).sum()) * inverse % Q for k in range(length)]


def test_masked_vectors_follow_from_aes_and_the_transform_as_it_is_defined(facts: dict[str, Any]) -> None:
    context = bytes.fromhex(facts["terms"]["context"])
    assert hashlib.sha256(bytes.fromhex(facts["terms"]["bytes"])).digest() == context
    public = below_q(words(derived(b"public polynomials", context, bytes(8)), 4 * N))[:N]
    assert public[:4].tolist() == facts["public_polynomial"]["first"]
    assert sha256(public) == facts["public_polynomial"]["sha256"]
    for party in facts["parties"]:
        secret = below_q(words(bytes.fromhex(party["keys"][0]), 4 * N))[:N]
        assert sha256(secret) == party["secret"]["sha256"]
        length = len(party["numbers"])
        coins = words(bytes.fromhex(party["keys"][1]), 3 * length)
        heads = [
            int(coins[2 * k]).bit_count()
            + int(coins[2 * k + 1]).bit_count()
            + (int(coins[2 * length + k]) & (2**20 - 1)).bit_count()
            for k in range(length)
        ]
        assert [count - 42 for count in heads] == party["errors"]
        expected = np.array(mask(public, secret, length)) + party["numbers"] + party["errors"]
        assert (expected % Q).tolist() == party["masked"]


def test_the_sum_is_that_of_the_numbers_and_the_errors(facts: dict[str, Any]) -> None:
    parts = [np.array(party["numbers"]) + party["errors"] for party in facts["parties"]]
    assert (np.sum(parts, axis=0) % Q).tolist() == facts["sum"]


def test_the_combinations_lie_on_a_polynomial_of_degree_t_plus_l_minus_1(facts: dict[str, Any]) -> None:
    """Divided differences of order t + l are zero."""
    order = facts["sharing"]["t"] + facts["sharing"]["l"]
    context, root = bytes.fromhex(facts["terms"]["context"]), bytes.fromhex(facts["signatures"])
    for position, party in enumerate(facts["parties"]):
        row = party["combinations"]
        for distance in range(1, order + 1):
            row = [(after - before) * pow(distance, -1, Q) % Q for before, after in pairwise(row)]
        assert row == [0] * (facts["sharing"]["c"] - order)
        key = derived(b"challenge", context, root, position.to_bytes(4, "big"))
        weights = below_q(words(key, N))[: N // facts["sharing"]["l"]]
        assert sha256(weights) == party["challenge"]["sha256"]
