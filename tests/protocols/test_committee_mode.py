"""Rounds of committee mode: the sum with its stated error, whoever drops, and as many members as may."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.core import merkle
from comity.protocols.secure_sum.certificate import check_certificate
from comity.protocols.secure_sum.errors import AbortError, OrderError, QuantisationError, RefusalError
from comity.protocols.secure_sum.field import Q
from comity.protocols.secure_sum.lattice import add_elements, in_blocks, subtract_elements
from comity.protocols.secure_sum.quantise import Grid, Weighted
from comity.protocols.secure_sum.ring import BLOCK, error_std
from comity.protocols.secure_sum.schema import Upload
from comity.protocols.secure_sum.sizing import consortium, size
from support.helper_rounds import Numbers, numbers_of
from support.lattice_rounds import LatticeRound, errors_of, lattice_world

WORLD = lattice_world()
NUMBERS = numbers_of(WORLD, range(12))


def within_error(round_: LatticeRound, numbers: dict[int, Numbers]) -> bool:
    """Whether the total is the plain sum over U, but for errors that six standard deviations hold."""
    parties = round_.coordinator.parties
    away = errors_of(round_.coordinator.total, [numbers[party] for party in parties], Q)
    return bool(np.abs(away).max() <= 6 * error_std(len(parties)))


def test_the_sum_is_the_plain_sum_within_the_stated_error() -> None:
    round_ = LatticeRound.of(WORLD)
    round_.run(NUMBERS)
    assert round_.coordinator.parties == tuple(range(12))
    assert within_error(round_, NUMBERS)
    assert round_.coordinator.faults == []
    assert not round_.coordinator.unwitnessed


@pytest.mark.parametrize("parties", [2, 7])
def test_the_error_has_the_stated_standard_deviation(parties: int) -> None:
    world = lattice_world(parties=10, length=40_000)
    numbers = numbers_of(world, range(parties))
    round_ = LatticeRound.of(world)
    away = errors_of(round_.run(numbers), numbers.values(), Q)
    assert round_.coordinator.error_std == error_std(parties) == pytest.approx((21 * parties) ** 0.5)
    assert abs(away.std() / error_std(parties) - 1) < 5 / (2 * 40_000) ** 0.5
    assert abs(away.mean()) < 5 * error_std(parties) / 200
    assert np.abs(away).max() <= 42 * parties


@given(
    st.integers(0, 2**32),
    st.sampled_from([1, 2047, 2048, 2049, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5]),
    st.sampled_from([(4, 1, 1), (5, 1, 2), (10, 3, 4), (7, 2, 2)]),
)
@settings(max_examples=12, deadline=None)
def test_any_length_and_any_committee(seed: int, length: int, shape: tuple[int, int, int]) -> None:
    world = lattice_world(10, *shape, length=length + 1)
    numbers = numbers_of(world, [1, 4, 9], seed)
    round_ = LatticeRound.of(world)
    round_.run(numbers)
    assert within_error(round_, numbers)


@pytest.mark.parametrize("dropped", [0, 30, 50, 99])
def test_parties_drop(dropped: int) -> None:
    world = lattice_world(parties=200, n_max=200)
    numbers = numbers_of(world, range(200 * dropped // 100, 200))
    round_ = LatticeRound.of(world)
    round_.run(numbers)
    assert round_.coordinator.parties == tuple(numbers)
    assert within_error(round_, numbers)


@pytest.mark.parametrize("phase", ["check", "reveal"])
def test_as_many_members_are_down_as_may_be(phase: str) -> None:
    """Before the vote c − Q may be, afterwards c − t − l."""
    round_ = LatticeRound.of(WORLD)
    round_.collect(NUMBERS)
    if phase == "check":
        round_.check(down=[0, 4, 9])
        round_.reveal(round_.agree(down=[0, 4, 9]))
    else:
        round_.check()
        round_.reveal(round_.agree(), down=[0, 1, 2, 3, 4])
        assert round_.coordinator.unwitnessed
    assert within_error(round_, NUMBERS)


def test_one_member_more_down_before_the_vote_ends_the_attempt() -> None:
    round_ = LatticeRound.of(WORLD)
    round_.collect(NUMBERS)
    with pytest.raises(AbortError, match="6 members are live, and 7 are needed to agree"):
        round_.check(down=[0, 4, 9, 2])
    assert round_.coordinator.step == "aborted"
    assert not [crossed for crossed in round_.wire if type(crossed.message).__name__ in ("Combinations", "ShareSum")]


def test_one_member_more_down_after_the_vote_ends_the_attempt_and_nothing_is_revealed() -> None:
    round_ = LatticeRound.of(WORLD)
    round_.collect(NUMBERS)
    round_.check()
    certificate = round_.agree()
    with pytest.raises(AbortError, match="4 members can answer, and 5 are needed"):
        round_.reveal(certificate, down=[0, 1, 2, 3, 4, 5])
    with pytest.raises(OrderError, match="aborted"):
        _ = round_.coordinator.total


def test_fewer_answers_than_t_plus_l_do_not_end_an_attempt() -> None:
    round_ = LatticeRound.of(WORLD)
    round_.collect(NUMBERS)
    round_.check()
    certificate = round_.agree()
    proposal = round_.coordinator._agreed()
    for member in range(4):
        round_.coordinator.answer(round_.members[member].reveal(proposal, certificate))
    with pytest.raises(OrderError, match="4 answers, and 5 are needed"):
        round_.coordinator.finish()
    round_.coordinator.answer(round_.members[7].reveal(proposal, certificate))
    round_.coordinator.finish()
    assert round_.coordinator.unwitnessed
    assert within_error(round_, NUMBERS)


def test_contributions_come_back_from_the_grid_as_their_weighted_sum() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.uniform(-1, 1, (5, 49)).astype(np.float32)
    weights = [1.0, 0.5, 0.25, 0.75, 1.0]
    grid, round_ = Grid.of(WORLD.terms), LatticeRound.of(WORLD)
    given_ = [Weighted(vector, weight) for vector, weight in zip(vectors, weights, strict=True)]
    total = round_.run({party: np.concatenate(list(grid.rounded(own))) for party, own in enumerate(given_)})
    sums = grid.sums([total], 5)
    allowed = (6 * error_std(5) + 5) / grid.steps
    assert abs(sums.weight - 3.5) < allowed
    assert np.abs(sums.vector - np.array(weights) @ vectors).max() < allowed + 1e-6


def test_a_drawn_committee_of_the_specification() -> None:
    c, t, q = drawn = size(0.05, 0.1)
    world = lattice_world(parties=70, size=c, threshold=t, blocks=drawn.blocks, quorum=q)
    numbers = numbers_of(world, range(0, 70, 7))
    round_ = LatticeRound.of(world)
    down = range(c - q)
    round_.collect(numbers)
    round_.check(down=down)
    round_.reveal(round_.agree(down=down))
    assert within_error(round_, numbers)


def test_a_consortium_of_four() -> None:
    c, t, q = whole = consortium(4)
    world = lattice_world(parties=4, size=c, threshold=t, blocks=whole.blocks, quorum=q)
    round_ = LatticeRound.of(world)
    numbers = numbers_of(world, range(4))
    round_.run(numbers)
    assert within_error(round_, numbers)


def test_an_upload_is_no_longer_than_the_vector_but_for_its_boxes() -> None:
    world = lattice_world(length=100_001)
    upload, vector = LatticeRound.of(world).upload(3, numbers_of(world, [3])[3])
    assert vector.nbytes == 4 * 100_001
    assert len(upload.encode()) < 10 * (4 * (1024 + 1) + 48 + 4) + 300


def test_masked_vectors_and_shares_are_uniform() -> None:
    """A χ² test with 256 cells, of the vector of a party whose numbers are all zero."""
    world = lattice_world(length=1 << 18)
    _, vector = LatticeRound.of(world).upload(3, np.zeros(1 << 18, np.int32))
    counts = np.bincount((vector.astype(np.uint64) * 256 // Q).astype(np.int64), minlength=256)
    statistic = float(((counts - len(vector) / 256) ** 2 / (len(vector) / 256)).sum())
    assert vector.max() < Q
    assert abs(statistic - 255) < 5 * (2 * 255) ** 0.5


def test_only_the_declared_messages_cross_and_nobody_s_numbers() -> None:
    round_ = LatticeRound.of(WORLD)
    round_.run(NUMBERS)
    names = {type(crossed.message).__name__ for crossed in round_.wire}
    assert names == {"Upload", "Delivery", "Challenge", "Combinations", "Proposal", "Vote", "ShareSum"}
    assert [type(crossed.message) for crossed in round_.wire if crossed.vector is not None] == [Upload] * 12
    sent = b"".join(crossed.raw for crossed in round_.wire)
    for numbers in NUMBERS.values():
        assert numbers[:4].astype("<i4").tobytes() not in sent
        assert (numbers[:4].astype(np.int64) % Q).astype("<u4").tobytes() not in sent


def test_the_closing_has_the_hashes_and_the_certificate() -> None:
    round_ = LatticeRound.of(WORLD)
    round_.run(NUMBERS)
    closing = round_.coordinator.closing()
    check_certificate(closing.certificate, WORLD.terms, closing.chosen, WORLD.committee)


def test_the_challenge_is_over_all_signatures() -> None:
    round_ = LatticeRound.of(WORLD)
    round_.collect({0: NUMBERS[0], 5: NUMBERS[5]})
    signatures = [crossed.message.signature for crossed in round_.wire if isinstance(crossed.message, Upload)]
    assert round_.coordinator.close().signatures == merkle.root(signatures)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"headroom": 41}, "headroom of 41"),
        ({"blocks": 3}, "2048 elements in 3 blocks"),
        ({"size": 10, "threshold": 4, "blocks": 6, "quorum": 8}, "fewer than t \\+ l"),
    ],
)
def test_terms_that_committee_mode_cannot_keep_are_refused(changes: dict[str, int], fault: str) -> None:
    round_ = LatticeRound.of(WORLD)
    announcement = WORLD.announce(**changes)
    with pytest.raises(RefusalError, match=fault):
        round_.party(0, announcement)
    with pytest.raises(RefusalError, match=fault):
        round_.member(0, announcement)


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [(np.zeros(49, np.int32), "49 numbers, not 50"), (np.zeros(51, np.int32), "more than 50")],
)
def test_numbers_of_another_length_are_not_sent(wrong: Numbers, fault: str) -> None:
    with pytest.raises(QuantisationError, match=fault):
        LatticeRound.of(WORLD).upload(0, wrong)


def test_numbers_that_could_wrap_are_not_sent() -> None:
    most = WORLD.terms.steps + WORLD.terms.headroom - 42
    wrong = np.full(50, -most, np.int32)
    LatticeRound.of(WORLD).upload(0, wrong)
    wrong[7] -= 1
    with pytest.raises(QuantisationError, match="sums could wrap"):
        LatticeRound.of(WORLD).upload(0, wrong)


@given(st.lists(st.integers(0, 2 * BLOCK + 1), max_size=5))
@settings(deadline=None)
def test_runs_are_put_together_in_blocks(lengths: list[int]) -> None:
    whole = np.arange(sum(lengths), dtype=np.int32)
    ends = np.cumsum(lengths)
    blocks = list(in_blocks(whole[end - length : end] for end, length in zip(ends, lengths, strict=True)))
    assert np.array_equal(np.concatenate([*blocks, whole[:0]]), whole)
    assert all(len(block) == BLOCK for block in blocks[:-1])


@given(st.lists(st.tuples(st.integers(0, Q - 1), st.integers(0, Q - 1)), min_size=1, max_size=20))
def test_vectors_are_added_and_taken_off_modulo_q(pairs: list[tuple[int, int]]) -> None:
    left, right = (np.array(side, np.uint32) for side in zip(*pairs, strict=True))
    total = left.copy()
    add_elements(total, [right])
    assert total.tolist() == [(one + other) % Q for one, other in pairs]
    subtract_elements(total, [right])
    assert np.array_equal(total, left)
