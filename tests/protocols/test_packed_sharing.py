"""Packed shares: any t + l give the secret, t tell nothing, sums are shared sums, and what was not dealt shows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.protocols.secure_sum.errors import TermsError
from comity.protocols.secure_sum.field import Elements, Q, interpolation, matrix_product, uniform
from comity.protocols.secure_sum.keystream import KEY, Keystream
from comity.protocols.secure_sum.ring import N
from comity.protocols.secure_sum.sharing import Sharing

SHARING = Sharing(members=9, threshold=3, blocks=2, length=8)
CONTEXT, ROOT = b"c" * 32, b"r" * 32


def stream(seed: int) -> Keystream:
    return Keystream(seed.to_bytes(KEY, "big"))


def secret_of(seed: int, length: int = SHARING.length) -> Elements:
    return uniform(stream(10_000 + seed), length)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 999), members=st.permutations(range(SHARING.members)))
def test_any_t_plus_l_shares_give_the_secret(seed: int, members: list[int]) -> None:
    secret = secret_of(seed)
    shares = SHARING.shares(secret, stream(seed))
    chosen = members[: SHARING.dimension]
    assert np.array_equal(SHARING.secret(chosen, shares[chosen, :-1]), secret)


def test_one_share_less_gives_something_else() -> None:
    secret = secret_of(1)
    shares = SHARING.shares(secret, stream(1))
    guessed = shares[: SHARING.dimension, :-1].copy()
    guessed[-1] = 0
    assert not np.array_equal(SHARING.secret(range(SHARING.dimension), guessed), secret)


def test_t_shares_are_the_same_for_any_secret() -> None:
    """For the shares of t members there is, for each secret, exactly one that would have dealt them."""
    shares = SHARING.shares(secret_of(1), stream(1))[: SHARING.threshold, :-1]
    for seed in (2, 3):
        other = secret_of(seed).reshape(SHARING.blocks, SHARING.columns)
        # As if the secret's places and the t members' were where the polynomial is fixed.
        points = (*range(-1, -SHARING.blocks - 1, -1), *range(1, SHARING.threshold + 1))
        fixed = np.concatenate([other, shares])
        dealt = matrix_product(interpolation(points, tuple(range(1, SHARING.members + 1))), fixed)
        assert np.array_equal(dealt[: SHARING.threshold], shares)
        chosen = range(SHARING.members - SHARING.dimension, SHARING.members)
        assert np.array_equal(SHARING.secret(chosen, dealt[list(chosen)]), other.reshape(-1))


def test_shares_of_several_secrets_add_up() -> None:
    secrets = [secret_of(seed) for seed in range(5)]
    total = sum(SHARING.shares(one, stream(seed)).astype(np.uint64) for seed, one in enumerate(secrets)) % Q
    chosen = [8, 0, 4, 2, 6]
    summed = SHARING.secret(chosen, total[chosen, :-1].astype(np.uint32))
    assert np.array_equal(summed, sum(one.astype(np.uint64) for one in secrets) % Q)


def combinations(shares: Elements) -> Elements:
    weights = SHARING.challenge(CONTEXT, ROOT, party=3)
    return np.array([SHARING.combination(share, weights) for share in shares], np.uint32)


def test_combinations_of_what_was_dealt_lie_on_one_polynomial() -> None:
    shares = SHARING.shares(secret_of(1), stream(1))
    assert SHARING.consistent(range(9), combinations(shares)[:, None]).all()


@settings(max_examples=60, deadline=None)
@given(member=st.integers(0, 8), column=st.integers(0, SHARING.columns), change=st.integers(1, Q - 1))
def test_a_bad_share_shows(member: int, column: int, change: int) -> None:
    shares = SHARING.shares(secret_of(1), stream(1))
    shares[member, column] = (int(shares[member, column]) + change) % Q
    assert not SHARING.consistent(range(9), combinations(shares)[:, None]).any()


def test_the_challenge_is_another_for_every_party_round_and_set_of_uploads() -> None:
    found = [
        SHARING.challenge(context, root, party).tobytes()
        for context, root, party in [
            (CONTEXT, ROOT, 0),
            (CONTEXT, ROOT, 1),
            (b"d" * 32, ROOT, 0),
            (CONTEXT, b"s" * 32, 0),
        ]
    ]
    assert len(set(found)) == 4


@settings(max_examples=100, deadline=None)
@given(liars=st.sets(st.integers(0, 8), max_size=2), lies=st.integers(1, Q - 1))
def test_members_that_lie_are_found_while_they_are_few(liars: set[int], lies: int) -> None:
    values = SHARING.shares(secret_of(1), stream(1))[:, 0].copy()
    for member in liars:
        values[member] = (int(values[member]) + lies + member) % Q if (lies + member) % Q else 1
    honest = SHARING.shares(secret_of(1), stream(1))[:, 0]
    wrong = {member for member in range(9) if values[member] != honest[member]}
    assert set(SHARING.astray(range(9), values) or ()) == wrong


def test_more_liars_than_the_spare_answers_tell_are_no_ones_fault() -> None:
    values = uniform(stream(77), 9)
    assert SHARING.astray(range(9), values) is None


@pytest.mark.parametrize(("members", "threshold", "blocks"), [(5, 4, 2), (5, 2, 3), (5, 2, 0)])
def test_what_does_not_go_together_is_refused(members: int, threshold: int, blocks: int) -> None:
    with pytest.raises(TermsError, match="cannot be shared"):
        Sharing(members, threshold, blocks, N)
