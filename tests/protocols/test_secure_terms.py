"""Terms: what they refuse to be, the context they give, and the floors of a participant."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.protocols.secure_sum.errors import MessageError, SecureSumError, TermsError
from comity.protocols.secure_sum.terms import Floors, Part, Ring, Terms, context, refusals
from support.secure_sums import World

TERMS = World.new().terms
OTHERS: dict[str, Any] = {
    "job": bytes(32),
    "round": 2,
    "attempt": 1,
    "model": bytes(32),
    "roster": bytes(32),
    "committee": bytes(32),
    "beacon": b"another",
    "ring": Ring.LATTICE.value,
    "size": 4,
    "threshold": 2,
    "quorum": 4,
    "n_min": 3,
    "n_max": 1001,
    "clip": 2.0,
    "headroom": 64,
    "parts": (Part("vector", 9, 1.0),),
    "weights": "uniform",
    "mechanism": "gaussian",
    "noise": 0.5,
    "deadline": 0.0,
}


def test_the_context_is_the_hash_of_the_canonical_bytes() -> None:
    assert context(TERMS) == TERMS.context == hashlib.sha256(TERMS.encode()).digest()
    assert TERMS.encode().startswith(b"comity/secure-sum/1 Terms\n")


@pytest.mark.parametrize("field", OTHERS)
def test_every_field_is_in_the_context(field: str) -> None:
    changed: dict[str, Any] = {"size": 5, "quorum": 5} if field in ("threshold", "quorum") else {}
    before = replace(TERMS, **changed)
    assert context(replace(before, **{field: OTHERS[field]})) != context(before)


def test_terms_are_what_their_bytes_say() -> None:
    assert Terms.decode(TERMS.encode()) == TERMS


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"quorum": 2}, "does not rule out two certified sets"),
        ({"quorum": 4}, "more than the committee"),
        ({"threshold": 3}, "may be corrupt"),
        ({"threshold": 0}, "may be corrupt"),
        ({"size": 1}, "none of 2 to"),
        ({"size": 2000}, "none of 2 to"),
        ({"n_min": 1}, "hides nobody"),
        ({"n_min": 1001}, "below n_min"),
        ({"blocks": 2}, "share no blocks"),
        ({"blocks": 0}, "blocks and a threshold"),
        ({"ring": "Z/7"}, "is none of"),
        ({"parts": ()}, "empty"),
        ({"parts": (Part("vector", 0, 1.0),)}, "empty"),
        ({"parts": (Part("vector", 1, -1.0),)}, "no positive bound"),
        ({"parts": (Part("a", 1, 1.0), Part("a", 1, 1.0))}, "one name"),
        ({"clip": 0.0}, "not positive"),
        ({"noise": -1.0}, "negative"),
        ({"n_max": (1 << 31) - 1, "headroom": 5}, "leave no grid"),
        ({"size": 20, "threshold": 9, "quorum": 20}, "seeds a party"),
    ],
)
def test_terms_that_cannot_be_kept_are_none(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(TermsError, match=fault):
        replace(TERMS, **changes)


def test_a_field_out_of_bounds_has_no_bytes() -> None:
    with pytest.raises(MessageError, match=r"Terms\.job"):
        replace(TERMS, job=b"short").encode()
    with pytest.raises(MessageError, match=r"Terms\.weights"):
        replace(TERMS, weights="a\nb").encode()


@given(st.integers(2, 300), st.integers(1, 300), st.integers(1, 300))
def test_two_quorums_share_an_honest_member(size: int, threshold: int, quorum: int) -> None:
    lattice = replace(TERMS, ring=Ring.LATTICE.value)
    try:
        terms = replace(lattice, size=size, threshold=threshold, quorum=quorum)
    except TermsError:
        return
    assert 2 * terms.quorum - terms.size > terms.threshold


@given(st.data())
def test_the_decoder_gives_terms_or_says_why_not(data: st.DataObject) -> None:
    raw = bytearray(TERMS.encode())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    try:
        decoded = Terms.decode(bytes(raw))
    except SecureSumError:
        return
    assert decoded.encode() == bytes(raw)


def test_floors_name_each_thing_that_is_asked_for() -> None:
    assert refusals(TERMS, Floors()) == ()
    lines = refusals(TERMS, Floors(t=2, n_min=10, n_max=100, dp=0.8))
    assert len(lines) == 6
    assert lines[0] == "withstands 1 corrupt helpers or members, not 2"
    assert lines[1] == "allows a sum of 2 parties, not of 10 at least"
    assert "not 0.8 at least" in lines[3]
    private = replace(TERMS, noise=1.0, mechanism="discrete gaussian", weights="uniform")
    assert refusals(private, Floors(dp=0.8)) == ()


@pytest.mark.parametrize("ring", list(Ring))
@given(st.integers(2, 100_000), st.integers(0, 1000))
def test_no_sum_of_n_max_parties_wraps(ring: Ring, n_max: int, headroom: int) -> None:
    terms = replace(TERMS, ring=ring.value, n_max=n_max, headroom=headroom)
    greatest = n_max * (terms.steps + headroom)
    assert -(terms.modulus // 2) < -greatest
    assert greatest < terms.modulus // 2
