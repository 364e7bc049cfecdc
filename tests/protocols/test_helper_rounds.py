"""Rounds of helper mode with whoever dropping out, whichever helpers down, and helpers and parties that lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.protocols.secure_sum.coordinator import Fault
from comity.protocols.secure_sum.errors import AbortError, OrderError, QuantisationError
from comity.protocols.secure_sum.masks import SEED, subsets
from comity.protocols.secure_sum.schema import Closing
from comity.protocols.secure_sum.sealing import seal
from comity.protocols.secure_sum.terms import Part
from support.helper_rounds import HelperRound, Vector, numbers_of, plain_sum, resigned, stored, taken
from support.secure_sums import World

COMMITTEES = [(3, 1), (5, 2), (7, 3)]


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_any_parties_of_any_length_with_any_helpers_down(data: st.DataObject) -> None:
    size, threshold = data.draw(st.sampled_from([(3, 1), (4, 1), (5, 2)]))
    parts = (Part("vector", data.draw(st.integers(1, 3000)), 1.0), Part("weight", 1, 1.0))
    world = World.new(5, size, threshold, parts=parts, n_max=8)
    numbers = numbers_of(world, data.draw(st.sets(st.integers(0, 4), min_size=2)), data.draw(st.integers(0, 99)))
    down = data.draw(st.sets(st.integers(0, size - 1), max_size=size - threshold - 1))
    round_ = HelperRound.of(world)
    round_.collect(numbers)
    round_.check()
    round_.agree()
    for member in down:
        round_.coordinator.lost(member)
    round_.reveal()
    np.testing.assert_array_equal(round_.coordinator.total.view(np.int32), plain_sum(numbers.values()))


@pytest.mark.parametrize(("invited", "dropping"), [(20, 0), (20, 6), (20, 10), (200, 198)])
def test_parties_that_drop_out_change_nothing_for_the_others(invited: int, dropping: int) -> None:
    world = World.new(invited)
    numbers = numbers_of(world, range(dropping, invited))
    round_ = HelperRound.of(world)
    np.testing.assert_array_equal(round_.run(numbers).view(np.int32), plain_sum(numbers.values()))
    assert len(round_.coordinator.parties) == invited - dropping
    uploads = [crossed for crossed in round_.wire if crossed.vector is not None and crossed.receiver == "coordinator"]
    assert sum("party" in crossed.sender for crossed in uploads) == invited - dropping


def test_with_too_few_parties_nothing_is_asked_of_the_helpers() -> None:
    world = World.new(10, n_min=3)
    round_ = HelperRound.of(world)
    round_.collect(numbers_of(world, range(2)))
    with pytest.raises(AbortError, match="2 parties are left, fewer than n_min = 3"):
        round_.coordinator.close()
    assert [crossed for crossed in round_.wire if crossed.sender == "coordinator"] == []
    with pytest.raises(OrderError, match="aborted"):
        list(round_.coordinator.deliveries(0))


@pytest.mark.parametrize(("size", "threshold"), COMMITTEES)
def test_all_helpers_but_t_plus_1_may_be_down_when_masks_are_revealed(size: int, threshold: int) -> None:
    world = World.new(4, size, threshold)
    numbers = numbers_of(world, range(4))
    for live in list(combinations(range(size), threshold + 1))[:5]:
        round_ = HelperRound.of(world)
        round_.collect(numbers)
        round_.check()
        round_.agree()
        for member in set(range(size)) - set(live):
            round_.coordinator.lost(member)
        round_.reveal()
        np.testing.assert_array_equal(round_.coordinator.total.view(np.int32), plain_sum(numbers.values()))
        assert round_.coordinator.unwitnessed


@pytest.mark.parametrize(("size", "threshold"), COMMITTEES)
def test_one_helper_more_down_ends_the_attempt_and_nothing_is_revealed(size: int, threshold: int) -> None:
    world = World.new(4, size, threshold)
    round_ = HelperRound.of(world)
    round_.collect(numbers_of(world, range(4)))
    round_.check()
    round_.agree()
    for member in range(size - threshold - 1):
        round_.coordinator.lost(member)
    with pytest.raises(AbortError, match=f"{threshold} helpers are live"):
        round_.coordinator.lost(size - threshold - 1)
    assert not [crossed for crossed in round_.wire if "helper" in crossed.sender and crossed.vector is not None]
    with pytest.raises(OrderError, match="aborted"):
        _ = round_.coordinator.total
    with pytest.raises(OrderError, match="aborted"):
        round_.coordinator.questions()


def test_a_helper_that_goes_down_between_its_answers_is_replaced() -> None:
    world = World.new(4, 5, 2)
    numbers = numbers_of(world, range(4))
    round_ = HelperRound.of(world)
    round_.collect(numbers)
    round_.check()
    round_.agree()
    for _ in range(3):
        member, request = round_.coordinator.questions()[0]
        answer, vector = round_.answer(member, request)
        round_.coordinator.answer(answer, None if request.witness else stored(vector))
    round_.coordinator.lost(member)
    round_.coordinator.lost(round_.coordinator.questions()[0][0])
    round_.reveal()
    np.testing.assert_array_equal(round_.coordinator.total.view(np.int32), plain_sum(numbers.values()))


def test_the_result_is_logged_with_its_certificate() -> None:
    round_ = HelperRound.of(World.new(3))
    round_.run(numbers_of(round_.world, range(3)))
    closing = Closing.decode(round_.coordinator.closing().encode())
    assert closing.chosen == closing.certificate.chosen
    assert len(closing.certificate.votes) >= round_.world.terms.quorum


def test_a_helper_that_was_restarted_goes_on_where_it_was() -> None:
    world = World.new(3)
    numbers = numbers_of(world, range(3))
    round_ = HelperRound.of(world)
    round_.collect(numbers)
    round_.check()
    round_.agree()
    round_.helpers[1] = round_.helper(1)
    for delivery in round_.coordinator.deliveries(1):
        round_.helpers[1].take(delivery)
    round_.reveal()
    np.testing.assert_array_equal(round_.coordinator.total.view(np.int32), plain_sum(numbers.values()))


@pytest.mark.parametrize("count", [8, 10])
def test_a_party_with_too_few_or_too_many_numbers_finishes_no_message(count: int) -> None:
    round_ = HelperRound.of(World.new(3))
    outgoing = round_.party(0).send([np.zeros(count, dtype=np.int32)])
    with pytest.raises(QuantisationError, match="numbers"):
        taken(outgoing)
    with pytest.raises(OrderError, match="is made when its vector is out"):
        _ = outgoing.message


def test_steps_are_taken_in_their_order() -> None:
    round_ = HelperRound.of(World.new(3))
    with pytest.raises(OrderError, match="is collecting, not checking"):
        round_.coordinator.propose()
    with pytest.raises(OrderError, match="is collecting, not revealing"):
        round_.coordinator.questions()
    round_.collect(numbers_of(round_.world, range(2)))
    round_.coordinator.close()
    with pytest.raises(OrderError, match="helper 0 has not told its findings"):
        round_.coordinator.propose()
    upload, vector = round_.upload(2, numbers_of(round_.world, [2])[2])
    with pytest.raises(OrderError, match="is checking, not collecting"):
        round_.coordinator.accept(upload, stored(vector))


def lie_of(liar: int, once: bool = False) -> Callable[[int, tuple[int, ...], Vector], Vector]:
    told: list[int] = []

    def lie(member: int, subsets: tuple[int, ...], vector: Vector) -> Vector:
        if member != liar or (once and told):
            return vector
        told.append(member)
        return vector + np.uint32(1)

    return lie


@pytest.mark.parametrize("once", [False, True], ids=["always", "once"])
@pytest.mark.parametrize("liar", range(5))
def test_a_helper_that_lies_is_named_and_the_sum_is_right(liar: int, once: bool) -> None:
    world = World.new(4, 5, 2)
    numbers = numbers_of(world, range(4))
    round_ = HelperRound.of(world)
    round_.collect(numbers)
    round_.check()
    round_.agree()
    round_.reveal(lie_of(liar, once))
    np.testing.assert_array_equal(round_.coordinator.total.view(np.int32), plain_sum(numbers.values()))
    assert {fault.who for fault in round_.coordinator.faults} == {world.members[liar].name}


def test_two_helpers_against_each_other_end_the_attempt() -> None:
    round_ = HelperRound.of(World.new(4, 3, 1))
    round_.collect(numbers_of(round_.world, range(4)))
    round_.check()
    round_.agree()
    with pytest.raises(AbortError, match="contradict each other"):
        round_.reveal(lie_of(1))
    with pytest.raises(OrderError, match="aborted"):
        _ = round_.coordinator.total


def test_a_party_whose_seeds_a_helper_cannot_use_is_left_out_and_named() -> None:
    world = World.new(4)
    numbers = numbers_of(world, range(4))
    round_ = HelperRound.of(world)
    round_.collect({party: numbers[party] for party in (0, 1, 3)})
    upload, vector = round_.upload(2, numbers[2])
    box = seal(world.members[1].entry.agreement, world.terms.context, 2, 1, bytes(2 * SEED))
    bad = resigned(world, replace(upload, boxes=(upload.boxes[0], box, upload.boxes[2])))
    round_.coordinator.accept(bad, stored(vector))
    round_.check()
    round_.agree()
    round_.reveal()
    assert round_.coordinator.parties == (0, 1, 3)
    expected = plain_sum(numbers[party] for party in (0, 1, 3))
    np.testing.assert_array_equal(round_.coordinator.total.view(np.int32), expected)
    helper = world.members[1].name
    (fault,) = round_.coordinator.faults
    assert fault == Fault("party-00002", f"sealed seeds that helper {helper} says it cannot use")


@given(st.sampled_from([(3, 1), (4, 1), (5, 2), (6, 2), (7, 3)]), st.integers(0, 1 << 32))
@settings(max_examples=80, deadline=None)
def test_one_liar_among_helpers_that_come_and_go_never_spoils_the_sum_nor_blames_another(
    committee: tuple[int, int], seed: int
) -> None:
    """Whatever it lies about and whoever is lost when: the sum is exact, or there is none, and nobody else is named.

    Unless a part of the masks rests on the liar's word alone, which the coordinator says.
    """
    rng, (size, threshold) = np.random.default_rng(seed), committee
    world = World.new(3, size, threshold)
    numbers = numbers_of(world, range(3))
    liar = int(rng.integers(size))
    round_ = HelperRound.of(world)
    round_.collect(numbers)
    round_.check()
    round_.agree()
    try:
        while round_.coordinator.step == "revealing":
            if rng.random() < 0.1:
                round_.coordinator.lost(int(rng.integers(size)))
                continue
            open_ = round_.coordinator.questions()
            member, request = open_[rng.integers(len(open_))]
            answer, vector = round_.answer(member, request)
            if member == liar and rng.random() < 0.5:
                answer, vector = round_.lying(member, answer, vector + np.uint32(rng.integers(1, 4)))
            round_.coordinator.answer(answer, None if request.witness else stored(vector))
    except AbortError:
        assert {fault.who for fault in round_.coordinator.faults} <= {world.members[liar].name}
        return
    assert {fault.who for fault in round_.coordinator.faults} <= {world.members[liar].name}
    if not round_.coordinator.unwitnessed:
        np.testing.assert_array_equal(round_.coordinator.total.view(np.int32), plain_sum(numbers.values()))


def test_the_word_of_one_helper_alone_convicts_nobody() -> None:
    """Two differ over a group; the liar is then the only one left to ask about one subset, and lies again."""
    world = World.new(4, 5, 2)
    round_ = HelperRound.of(world)
    round_.collect(numbers_of(world, range(4)))
    round_.check()
    round_.agree()
    group = next(request.subsets for _, request in round_.coordinator.questions() if len(request.subsets) > 1)
    asked = [(member, request) for member, request in round_.coordinator.questions() if request.subsets == group]
    (honest, _), (liar, _) = asked

    def lie(member: int, about: tuple[int, ...], vector: Vector) -> Vector:
        return vector + np.uint32(1) if member == liar and about in (group, group[:1]) else vector

    for member, request in asked:
        answer, vector = round_.answer(member, request, lie)
        round_.coordinator.answer(answer, None if request.witness else stored(vector))
    for member in set(range(5)) - {liar} - set(subsets(5, 2)[group[0]]):
        round_.coordinator.lost(member)
    with pytest.raises(AbortError, match="contradict each other") as aborted:
        round_.reveal(lie)
    assert f"helpers {sorted((honest, liar))}" in aborted.value.what
    assert round_.coordinator.faults == []
