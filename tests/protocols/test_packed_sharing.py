"""Packed sharing: any t + l shares give the secret, t tell nothing, bad shares and lying members are seen."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.protocols.secure_sum.errors import TermsError
from comity.protocols.secure_sum.field import Elements, Q, interpolation, matrix_product, uniform
from comity.protocols.secure_sum.keystream import Keystream
from comity.protocols.secure_sum.sharing import Sharing
from comity.protocols.secure_sum.terms import Ring
from support.secure_sums import World

SHARING = Sharing(members=11, threshold=3, blocks=2, length=8)
MEMBERS = range(SHARING.members)


def deal(seed: int, sharing: Sharing = SHARING) -> tuple[Elements, Elements]:
    stream = Keystream(seed.to_bytes(16, "big"))
    secret = uniform(stream, sharing.length)
    return secret, sharing.shares(secret, stream)


def combinations(shares: Elements, weights: Elements, sharing: Sharing = SHARING) -> Elements:
    return np.array([sharing.combination(share, weights) for share in shares], np.uint32)


@given(st.integers(0, 2**64), st.permutations(MEMBERS))
def test_any_t_plus_l_shares_give_the_secret(seed: int, order: list[int]) -> None:
    secret, shares = deal(seed)
    chosen = order[: SHARING.dimension]
    assert np.array_equal(SHARING.secret(chosen, shares[chosen, :-1]), secret)


@given(st.integers(0, 2**64), st.integers(0, 2**64))
def test_shares_add_up(one: int, other: int) -> None:
    (first, of_first), (second, of_second) = deal(one), deal(other)
    total = ((of_first.astype(np.uint64) + of_second) % Q).astype(np.uint32)
    chosen = [10, 2, 5, 7, 0]
    found = SHARING.secret(chosen, total[chosen, :-1])
    assert np.array_equal(found, ((first.astype(np.uint64) + second) % Q).astype(np.uint32))


@given(st.permutations(MEMBERS))
def test_t_shares_tell_nothing(order: list[int]) -> None:
    """Given any secret, the map from the t random elements to t members' shares is one to one, so these are uniform."""
    chosen = tuple(member + 1 for member in order[: SHARING.threshold])
    secret_places = tuple(range(-1, -SHARING.blocks - 1, -1))
    back = interpolation(secret_places + chosen, tuple(range(-SHARING.blocks - 1, -SHARING.dimension - 1, -1)))
    there = interpolation(tuple(range(-1, -SHARING.dimension - 1, -1)), chosen)
    fixed = np.zeros((SHARING.blocks, SHARING.threshold), np.uint32)
    identity = np.eye(SHARING.threshold, dtype=np.uint32)
    assert np.array_equal(matrix_product(there, np.concatenate([fixed, back[:, SHARING.blocks :]])), identity)


@pytest.mark.parametrize("seen", [(1, 2), (1, 5), (4, 5)])
def test_in_a_tiny_field_t_shares_have_the_same_distribution_for_every_secret(seen: tuple[int, int]) -> None:
    """The same places modulo 11, t = 2, l = 2, five members, every polynomial: each view comes up once."""
    p, places = 11, (-1, -2, -3, -4)

    def at(target: int, known: tuple[int, ...]) -> int:
        total = 0
        for place, value in zip(places, known, strict=True):
            weight = 1
            for other in places:
                if other != place:
                    weight = weight * (target - other) * pow(place - other, -1, p) % p
            total += weight * value
        return total % p

    for secret in ((0, 0), (1, 0), (7, 10)):
        views = [tuple(at(member, secret + drawn) for member in seen) for drawn in product(range(p), repeat=2)]
        assert sorted(views) == sorted(product(range(p), repeat=2))


def test_shares_of_one_secret_are_uniform() -> None:
    secret = np.zeros(SHARING.length, np.uint32)
    stream = Keystream(bytes(16))
    drawn = np.concatenate([SHARING.shares(secret, stream)[4] for _ in range(4000)])
    counts = np.bincount((drawn.astype(np.uint64) * 64 // Q).astype(np.int64), minlength=64)
    statistic = float(((counts - len(drawn) / 64) ** 2 / (len(drawn) / 64)).sum())
    assert abs(statistic - 63) < 5 * (2 * 63) ** 0.5


def test_two_sharings_of_one_secret_have_nothing_in_common() -> None:
    stream = Keystream(bytes(16))
    secret = uniform(stream, SHARING.length)
    assert not np.intersect1d(SHARING.shares(secret, stream), SHARING.shares(secret, stream)).size


@given(st.integers(0, 2**64), st.integers(5, 11))
def test_combinations_of_good_shares_agree(seed: int, answering: int) -> None:
    _, shares = deal(seed)
    weights = SHARING.challenge(b"c" * 32, b"r" * 32, 7)
    members = list(MEMBERS)[:answering]
    said = combinations(shares, weights)[:answering]
    assert SHARING.consistent(members, said[:, None]).all()
    assert SHARING.astray(members, said) == ()


@given(st.integers(0, 2**64), st.sets(st.sampled_from(MEMBERS), min_size=1, max_size=3), st.integers(1, Q - 1))
def test_bad_shares_are_located(seed: int, bad: set[int], shift: int) -> None:
    _, shares = deal(seed)
    weights = SHARING.challenge(b"c" * 32, b"r" * 32, 7)
    for member in bad:
        shares[member, member % 5] = (int(shares[member, member % 5]) + shift) % Q
    said = combinations(shares, weights)
    assert not SHARING.consistent(list(MEMBERS), said[:, None])[0]
    assert SHARING.astray(list(MEMBERS), said) == tuple(sorted(bad))


@given(st.integers(0, 2**64), st.sets(st.sampled_from(MEMBERS), min_size=5, max_size=8))
def test_too_many_bad_shares_are_seen_and_blamed_on_nobody(seed: int, bad: set[int]) -> None:
    _, shares = deal(seed)
    said = combinations(shares, SHARING.challenge(b"c" * 32, b"r" * 32, 7))
    for member in bad:
        said[member] = Keystream(member.to_bytes(16, "big")).words(1)[0] >> 2
    assert SHARING.astray(list(MEMBERS), said) is None


def test_with_t_plus_l_answers_nothing_can_be_seen() -> None:
    members = list(range(SHARING.dimension))
    assert SHARING.consistent(members, np.arange(5, dtype=np.uint32)[:, None])[0]
    assert SHARING.astray(members, np.arange(5, dtype=np.uint32)) == ()


def test_challenges_differ_by_context_root_and_party() -> None:
    drawn = [
        SHARING.challenge(context, root, party).tolist()
        for context, root, party in [(b"c", b"r", 0), (b"d", b"r", 0), (b"c", b"s", 0), (b"c", b"r", 1)]
    ]
    assert len(set(map(tuple, drawn))) == 4


def test_a_combination_is_masked() -> None:
    """The masking element is uniform and in nothing else, so what a member says of a share is uniform too."""
    _, shares = deal(3)
    weights = SHARING.challenge(b"c" * 32, b"r" * 32, 7)
    changed = shares[0].copy()
    changed[-1] = (int(changed[-1]) + 12345) % Q
    gap = SHARING.combination(changed, weights) - SHARING.combination(shares[0], weights)
    assert gap % Q == 12345


@given(st.sampled_from([(59, 20, 8), (173, 50, 16), (10, 3, 2), (4, 1, 1)]))
@settings(deadline=None, max_examples=8)
def test_the_sizes_of_the_specification_share_whole_secrets(shape: tuple[int, int, int]) -> None:
    sharing = Sharing(*shape)
    secret, shares = deal(1, sharing)
    chosen = list(range(sharing.members))[-sharing.dimension :]
    assert shares.shape == (sharing.members, 2048 // sharing.blocks + 1)
    assert np.array_equal(sharing.secret(chosen, shares[chosen, :-1]), secret)


@pytest.mark.parametrize("shape", [(5, 3, 3), (5, 2, 0), (9, 1, 3)])
def test_what_does_not_go_together_is_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(TermsError, match="cannot be shared"):
        Sharing(*shape)


def test_terms_say_how_to_share() -> None:
    terms = World.new(9, size=7, threshold=2, ring=Ring.LATTICE, blocks=4).terms
    assert Sharing.of(terms) == Sharing(7, 2, 4)
