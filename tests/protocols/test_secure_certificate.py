"""Votes and certificates: one set a round, and never two certified ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from comity.protocols.secure_sum.certificate import (
    Proposal,
    Vote,
    certificate,
    check_certificate,
    check_set,
    check_vote,
    vote,
)
from comity.protocols.secure_sum.errors import CertificateError, PromiseError, SetError
from comity.protocols.secure_sum.promises import MemoryPromises
from support.secure_sums import World

WORLD = World.new(5, size=5, threshold=2, n_max=4)
TERMS = WORLD.terms
U = Proposal(TERMS.context, (0, 1, 3), (2, 4))


def votes(*members: int, chosen: bytes = U.digest) -> list[Vote]:
    return [vote(TERMS, chosen, member, WORLD.members[member].signing) for member in members]


def test_a_quorum_of_votes_is_a_certificate() -> None:
    given = certificate(TERMS, U.digest, votes(4, 0, 2, 1))
    check_certificate(given, TERMS, U.digest, WORLD.committee)
    assert [member.member for member in given.votes] == [0, 1, 2, 4]


def test_one_vote_less_is_none() -> None:
    with pytest.raises(CertificateError, match="3 votes are fewer than the quorum 4"):
        check_certificate(certificate(TERMS, U.digest, votes(0, 1, 2)), TERMS, U.digest, WORLD.committee)


def test_a_vote_counts_once() -> None:
    with pytest.raises(CertificateError, match="counted twice"):
        check_certificate(certificate(TERMS, U.digest, votes(0, 1, 2, 2)), TERMS, U.digest, WORLD.committee)


def test_votes_for_another_set_do_not_count() -> None:
    other = Proposal(TERMS.context, (0, 1), (2, 3, 4)).digest
    mixed = certificate(TERMS, U.digest, [*votes(0, 1, 2), *votes(3, chosen=other)])
    with pytest.raises(CertificateError, match="another set"):
        check_certificate(mixed, TERMS, U.digest, WORLD.committee)
    with pytest.raises(CertificateError, match="another set"):
        check_certificate(certificate(TERMS, U.digest, votes(0, 1, 2, 3)), TERMS, other, WORLD.committee)


def test_votes_of_another_round_do_not_count() -> None:
    given = certificate(TERMS, U.digest, votes(0, 1, 2, 3))
    with pytest.raises(CertificateError, match="another round"):
        check_certificate(given, replace(TERMS, attempt=1), U.digest, WORLD.committee)


def test_a_vote_is_its_members_own() -> None:
    (honest,) = votes(1)
    with pytest.raises(CertificateError, match="does not hold"):
        check_vote(replace(honest, member=2), TERMS, U.digest, WORLD.committee)
    with pytest.raises(CertificateError, match="has 5 members"):
        check_vote(replace(honest, member=5), TERMS, U.digest, WORLD.committee)
    stranger = vote(TERMS, U.digest, 1, WORLD.coordinator.signing)
    with pytest.raises(CertificateError, match="does not hold"):
        check_vote(stranger, TERMS, U.digest, WORLD.committee)


@pytest.mark.parametrize(
    ("alive", "dropped", "fault"),
    [
        ((0, 1, 1), (), "listed twice among those alive"),
        ((0, 1), (3, 3), "listed twice among those dropped"),
        ((0, 1, 2), (2,), "party 2 is listed as alive and as dropped"),
        ((1, 0), (), "not in the order"),
        ((0, 5), (), "nobody stands at 5"),
        ((0,), (), "fewer than n_min = 2"),
        ((), (), "fewer than n_min = 2"),
        ((0, 1, 2, 3, 4), (), "more than n_max = 4"),
    ],
)
def test_sets_that_nobody_signs(alive: tuple[int, ...], dropped: tuple[int, ...], fault: str) -> None:
    with pytest.raises(SetError, match=fault):
        check_set(TERMS, Proposal(TERMS.context, alive, dropped), 5)


def test_a_set_of_another_context_is_not_signed() -> None:
    check_set(TERMS, U, 5)
    with pytest.raises(SetError, match="another context"):
        check_set(TERMS, replace(U, context=bytes(32)), 5)


def test_one_set_a_round_is_promised() -> None:
    promises = MemoryPromises()
    promises.sign(TERMS, U.digest)
    promises.sign(TERMS, U.digest)
    with pytest.raises(PromiseError, match="another set was signed"):
        promises.sign(TERMS, bytes(32))
    with pytest.raises(PromiseError, match="another set was signed"):
        promises.sign(replace(TERMS, clip=2.0), U.digest)
    promises.sign(replace(TERMS, attempt=1), bytes(32))
    with pytest.raises(PromiseError, match="came after this"):
        promises.sign(TERMS, U.digest)
    promises.sign(replace(TERMS, job=bytes(32)), U.digest)


def test_a_round_is_joined_once_and_only_later_ones_after_it() -> None:
    promises = MemoryPromises()
    promises.join(TERMS)
    for terms in (TERMS, replace(TERMS, clip=2.0), replace(TERMS, round=0, attempt=9)):
        with pytest.raises(PromiseError, match="is not after round 1, attempt 0"):
            promises.join(terms)
    promises.join(replace(TERMS, attempt=1))
    promises.join(replace(TERMS, round=2))
    promises.join(replace(TERMS, job=bytes(32)))
