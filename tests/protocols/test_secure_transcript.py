"""What crosses the wire in a round of helper mode: the declared messages, of the declared sizes, and nothing clear."""

from __future__ import annotations

import struct
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from comity.protocols.secure_sum import schema
from comity.protocols.secure_sum.certificate import Certificate, Proposal, Vote
from comity.protocols.secure_sum.quantise import Grid, Weighted
from comity.protocols.secure_sum.schema import Answer, Delivery, Findings, Reveal, Upload
from comity.protocols.secure_sum.sealing import OVERHEAD
from comity.protocols.secure_sum.terms import Part
from support.helper_rounds import HelperRound, taken
from support.secure_sums import World

LENGTH = 50_000
PARTIES = 4
CLEAR = Weighted(np.full(LENGTH, 0.8125, dtype=np.float32), 0.4375, {"loss": np.asarray([2.718281828, 3.141592653])})


@pytest.fixture(scope="module")
def played() -> HelperRound:
    parts = (Part("vector", LENGTH, 1.0), Part("weight", 1, 1.0), Part("loss", 2, 10.0))
    world = World.new(PARTIES, 5, 2, parts=parts)
    round_ = HelperRound.of(world)
    round_.run({party: np.concatenate(list(Grid.of(world.terms).rounded(CLEAR))) for party in range(PARTIES)})
    return round_


def test_only_the_declared_messages_cross_each_in_its_direction(played: HelperRound) -> None:
    crossed = {(type(one.message), one.sender.split("-")[0].split()[0], one.receiver.split()[0]) for one in played.wire}
    assert crossed == {
        (Upload, "party", "coordinator"),
        (Delivery, "coordinator", "helper"),
        (Findings, "helper", "coordinator"),
        (Proposal, "coordinator", "helper"),
        (Vote, "helper", "coordinator"),
        (Reveal, "coordinator", "helper"),
        (Answer, "helper", "coordinator"),
    }
    assert {kind.__name__ for kind, _, _ in crossed} <= set(schema.__all__)


def test_every_party_sends_one_message(played: HelperRound) -> None:
    senders = Counter(one.sender for one in played.wire if one.sender.startswith("party"))
    assert senders == {f"party-{index:05}": 1 for index in range(PARTIES)}


def test_sizes_depend_on_the_terms_alone(played: HelperRound) -> None:
    """Nothing that a party has changes the size of what it sends: 4 bytes a coordinate and an envelope."""
    terms = played.world.terms
    seeds, boxes = 32 * terms.subsets, 5 * (4 + 6 * 16 + OVERHEAD)
    envelope = len(b"comity/secure-sum/1 Upload\n") + 32 + 4 + 32 + 4 + seeds + 4 + boxes + 64
    for one in played.wire:
        if isinstance(one.message, Upload):
            assert one.vector is not None
            assert len(one.raw) == 4 * terms.length + envelope
        if isinstance(one.message, Answer):
            assert one.vector is None or len(one.vector) == terms.length
            assert len(one.message.encode()) < 300
    assert envelope + 4 * 10**6 < 1.02 * 4 * 10**6


def test_no_vector_weight_or_metric_crosses_in_the_clear(played: HelperRound) -> None:
    """Neither as floats nor on the grid, in a whole coordinate or the whole vector."""
    grid = Grid.of(played.world.terms)
    weight, loss = CLEAR.weight, CLEAR.metrics["loss"]
    clear = [CLEAR.vector.tobytes()[:16], (CLEAR.vector * weight).astype(np.float32).tobytes()[:16]]
    for value in (weight, *loss, *(weight * loss)):
        clear += [struct.pack("<d", value), struct.pack(">d", value), np.float32(value).tobytes() + bytes(4)]
    numbers = np.concatenate(list(grid.rounded(CLEAR)))
    clear += [numbers[-3:].tobytes(), numbers[-3:].byteswap().tobytes()]
    for one in played.wire:
        assert not [pattern for pattern in clear if pattern in one.raw], type(one.message)


def test_a_certificate_and_the_sum_are_all_that_the_coordinator_has_at_the_end(played: HelperRound) -> None:
    sums = Grid.of(played.world.terms).sums([played.coordinator.total], PARTIES)
    np.testing.assert_allclose(sums.vector, PARTIES * CLEAR.weight * CLEAR.vector, atol=1e-5)
    assert isinstance(played.coordinator.closing().certificate, Certificate)


def test_a_masked_vector_is_uniform(played: HelperRound) -> None:
    """χ² over bytes, over high and low halves, and over differences of neighbours, each at 10⁻⁶."""
    numbers = np.zeros(played.world.terms.length, dtype=np.int32)
    vectors = [one.vector for one in played.wire if isinstance(one.message, Upload) and one.vector is not None]
    fresh = HelperRound.of(played.world)
    vectors.append(taken(fresh.party(0).send([numbers])))
    for vector in vectors:
        halves = vector.view(np.uint16)
        for drawn, bins in (
            (vector.view(np.uint8), 256),
            (halves >> 4, 4096),
            (halves & 4095, 4096),
            (np.diff(vector) >> np.uint32(22), 1024),
        ):
            assert stats.chisquare(np.bincount(drawn, minlength=bins)).pvalue > 1e-6


def test_summed_masks_are_uniform_too(played: HelperRound) -> None:
    for one in played.wire:
        if isinstance(one.message, Answer) and one.vector is not None:
            assert stats.chisquare(np.bincount(one.vector.view(np.uint8), minlength=256)).pvalue > 1e-6


def test_without_its_mask_the_vector_fails_the_same_test(played: HelperRound) -> None:
    numbers = np.concatenate(list(Grid.of(played.world.terms).rounded(CLEAR)))
    assert stats.chisquare(np.bincount(numbers.view(np.uint8), minlength=256)).pvalue < 1e-6


def test_two_parties_with_the_same_numbers_send_nothing_alike(played: HelperRound) -> None:
    vectors = [one.vector for one in played.wire if isinstance(one.message, Upload)]
    assert len(vectors) == PARTIES
    first, second, *_ = vectors
    assert first is not None
    assert second is not None
    assert (first == second).mean() < 1e-3
