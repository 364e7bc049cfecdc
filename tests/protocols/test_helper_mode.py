"""Helper mode from the announcement to the sum: who drops, who lies, and what never crosses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from comity.protocols.secure_sum.certificate import Proposal
from comity.protocols.secure_sum.coordinator import Coordinator, Step
from comity.protocols.secure_sum.errors import (
    AbortError,
    AnswerError,
    CertificateError,
    OrderError,
    PromiseError,
    RefusalError,
    SetError,
    UploadError,
)
from comity.protocols.secure_sum.helper import Helper, HelperKeys
from comity.protocols.secure_sum.party import Party, PartyKeys
from comity.protocols.secure_sum.promises import MemoryPromises
from comity.protocols.secure_sum.quantise import Grid, Weighted
from comity.protocols.secure_sum.schema import Answer, Reveal, Upload
from comity.protocols.secure_sum.streams import Outgoing
from comity.protocols.secure_sum.terms import Floors
from support.secure_sums import MODEL, World

Vector = NDArray[np.uint32]


def stored(outgoing: Outgoing[Upload] | Outgoing[Answer]) -> Vector:
    return np.concatenate([run.copy() for run in outgoing])


def party_of(world: World, number: int, promises: MemoryPromises | None = None, **changes: object) -> Party:
    keys = PartyKeys(world.parties[number].signing, Floors(), promises or MemoryPromises())
    return Party(world.announce(**changes), world.view, keys, MODEL)


def helper_of(world: World, number: int, promises: MemoryPromises | None = None) -> Helper:
    keys = world.members[number]
    given = HelperKeys(keys.signing, keys.agreement, Floors(), promises or MemoryPromises())
    return Helper(world.announce(), world.view, given)


def numbers_of(world: World, number: int) -> NDArray[np.int32]:
    """What a party has on the grid, as far out as it goes."""
    steps = world.terms.steps
    drawn = np.random.default_rng(number).integers(-steps, steps + 1, world.terms.length)
    return drawn.astype(np.int32)


@dataclass
class Round:
    """A round in which `senders` send; helpers in `down` never answer, and answers pass through `meddle`."""

    world: World
    senders: Sequence[int]
    down: frozenset[int] = frozenset()
    meddle: Callable[[int, Vector], Vector] = lambda member, vector: vector
    uploads: list[tuple[Upload, Vector]] = field(default_factory=list)

    def __post_init__(self) -> None:
        world = self.world
        self.coordinator = Coordinator(world.terms, world.view, world.coordinator.signing)
        self.helpers = {m: helper_of(world, m) for m in range(world.terms.size) if m not in self.down}

    def collect(self) -> None:
        for number in self.senders:
            outgoing = party_of(self.world, number).send([numbers_of(self.world, number)])
            vector = stored(outgoing)
            self.uploads.append((outgoing.message, vector))
            self.coordinator.accept(outgoing.message, lambda vector=vector: [vector])
        self.coordinator.close()

    def agree(self) -> Proposal:
        for member, helper in self.helpers.items():
            for one in self.coordinator.deliveries(member):
                helper.take(one)
            self.coordinator.found(helper.findings())
        for member in sorted(self.down):
            self.coordinator.lost(member)
        proposal = self.coordinator.propose()
        for helper in self.helpers.values():
            self.coordinator.vote(helper.vote(proposal))
        return proposal

    def reveal(self) -> None:
        while self.coordinator.step is Step.REVEALING:
            for member, request in self.coordinator.questions():
                self.answer(member, request)
                break

    def answer(self, member: int, request: Reveal) -> None:
        outgoing = self.helpers[member].reveal(request)
        honest = stored(outgoing)
        vector = self.meddle(member, honest)
        message = outgoing.message
        if vector is not honest:
            changed = Outgoing(iter([vector]), self._signed(member, message))
            vector = stored(changed)
            message = changed.message
        self.coordinator.answer(message, None if request.witness else lambda: [vector])

    def _signed(self, member: int, message: Answer) -> Callable[[bytes], Answer]:
        """A lie that its helper has signed."""
        return lambda digest: self.helpers[member]._answer(message.chosen, message.subsets, digest)

    def played(self) -> Vector:
        self.collect()
        self.agree()
        self.reveal()
        return self.coordinator.total


def plain(world: World, senders: Iterable[int]) -> Vector:
    """The sum as anybody would compute it who saw everything."""
    total = np.zeros(world.terms.length, dtype=np.int64)
    for number in senders:
        total += numbers_of(world, number)
    return total.astype(np.int32).view(np.uint32)


@pytest.mark.parametrize(("size", "threshold"), [(3, 1), (5, 2), (7, 3)])
def test_the_sum_is_the_plain_one(size: int, threshold: int) -> None:
    world = World.new(6, size, threshold)
    assert np.array_equal(Round(world, range(6)).played(), plain(world, range(6)))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.99])
def test_parties_may_drop(share: float) -> None:
    world = World.new(200)
    senders = range(round(share * 200), 200)
    one = Round(world, senders)
    assert np.array_equal(one.played(), plain(world, senders))
    assert one.coordinator.parties == tuple(senders)


@pytest.mark.parametrize(("size", "threshold", "down"), [(5, 2, {0}), (5, 2, {4}), (7, 3, {0})])
def test_helpers_may_be_down_as_long_as_a_quorum_is_there(size: int, threshold: int, down: set[int]) -> None:
    world = World.new(4, size, threshold)
    assert np.array_equal(Round(world, range(4), frozenset(down)).played(), plain(world, range(4)))


def test_when_too_many_helpers_are_down_the_attempt_ends_and_nothing_is_revealed() -> None:
    one = Round(World.new(4, 5, 2), range(4), frozenset({0, 1}))
    one.collect()
    with pytest.raises(AbortError, match="3 helpers are live, and 4 are needed"):
        one.agree()
    assert one.coordinator.step is Step.ABORTED
    with pytest.raises(OrderError):
        _ = one.coordinator.total


@pytest.mark.parametrize(("size", "threshold"), [(3, 1), (5, 2), (7, 3)])
def test_c_minus_t_minus_1_helpers_that_are_lost_after_the_vote_are_done_without(size: int, threshold: int) -> None:
    world = World.new(4, size, threshold)
    one = Round(world, range(4))
    one.collect()
    one.agree()
    for member in range(size - threshold - 1):
        one.coordinator.lost(member)
    one.reveal()
    assert np.array_equal(one.coordinator.total, plain(world, range(4)))


def test_one_more_and_nothing_is_revealed() -> None:
    one = Round(World.new(4, 5, 2), range(4))
    one.collect()
    one.agree()
    for member in (0, 1):
        one.coordinator.lost(member)
    with pytest.raises(AbortError):
        one.coordinator.lost(2)
    assert one.coordinator.step is Step.ABORTED


def test_a_helper_that_lies_is_found_out_and_named_and_the_sum_is_right() -> None:
    world = World.new(4, 5, 2)
    one = Round(world, range(4), meddle=lambda member, vector: vector + np.uint32(1) if member == 2 else vector)
    assert np.array_equal(one.played(), plain(world, range(4)))
    assert [fault.who for fault in one.coordinator.faults] == [world.members[2].name]


def test_weights_and_metrics_come_back_from_the_sum() -> None:
    world = World.new(3)
    grid = Grid.of(world.terms)
    given = [
        Weighted(np.full(6, 0.1 * (number + 1)), 0.25 * (number + 1), {"loss": np.array([1.5, 2.0])})
        for number in range(3)
    ]
    coordinator = Coordinator(world.terms, world.view, world.coordinator.signing)
    one = Round(world, ())
    one.coordinator = coordinator
    for number, contribution in enumerate(given):
        outgoing = party_of(world, number).send(grid.rounded(contribution))
        vector = stored(outgoing)
        coordinator.accept(outgoing.message, lambda vector=vector: [vector])
    coordinator.close()
    one.agree()
    one.reveal()
    sums = grid.sums([coordinator.total], 3)
    assert sums.weight == pytest.approx(1.5, abs=1e-5)
    expected = sum(one.weight * one.vector for one in given)
    assert sums.vector == pytest.approx(expected, abs=1e-5)
    assert sums.metrics["loss"] == pytest.approx(1.5 * np.array([1.5, 2.0]), abs=1e-4)


class TestParty:
    def test_sends_one_message(self) -> None:
        world = World.new()
        party = party_of(world, 0)
        stored(party.send([numbers_of(world, 0)]))
        with pytest.raises(OrderError, match="has sent its message"):
            party.send([numbers_of(world, 0)])

    def test_joins_no_round_again_and_no_earlier_one(self) -> None:
        world, promises = World.new(), MemoryPromises()
        stored(party_of(world, 0, promises, round=7).send([numbers_of(world, 0)]))
        for turn in ({"round": 7}, {"round": 6}):
            with pytest.raises(PromiseError, match="is not after round 7"):
                party_of(world, 0, promises, **turn).send([numbers_of(world, 0)])

    def test_refuses_another_model_than_the_announced_one(self) -> None:
        with pytest.raises(RefusalError, match="model"):
            party_of(World.new(), 0, model=b"\1" * 32)

    def test_refuses_another_roster_and_another_committee(self) -> None:
        for change in ({"roster": b"\1" * 32}, {"committee": b"\1" * 32}, {"beacon": b"chosen by the server"}):
            with pytest.raises(RefusalError):
                party_of(World.new(), 0, **change)

    def test_refuses_what_falls_below_its_floors(self) -> None:
        world = World.new()
        keys = PartyKeys(world.parties[0].signing, Floors(n_min=3), MemoryPromises())
        with pytest.raises(RefusalError, match="2 parties"):
            Party(world.announce(), world.view, keys, MODEL)

    def test_a_masked_vector_looks_like_noise(self) -> None:
        """χ² of its bytes over 256 values: below its 10⁻⁹ quantile's distance from what is expected."""
        world = World.new(parts=(replace(World.new().terms.parts[0], length=200_000), *World.new().terms.parts[1:]))
        vector = stored(party_of(world, 0).send([np.zeros(world.terms.length, dtype=np.int32)]))
        counts = np.bincount(vector.view(np.uint8), minlength=256)
        expected = counts.sum() / 256
        assert ((counts - expected) ** 2 / expected).sum() < 255 + 6.5 * (2 * 255) ** 0.5 + 30


class TestHelper:
    @pytest.fixture
    def one(self) -> Round:
        one = Round(World.new(5), range(4))
        one.collect()
        return one

    def test_signs_one_set(self, one: Round) -> None:
        proposal = one.agree()
        with pytest.raises(PromiseError, match="another set"):
            one.helpers[0].vote(Proposal(proposal.context, (0, 1), (2, 3, 4)))

    @pytest.mark.parametrize(
        ("alive", "dropped"),
        [
            ((0, 0, 1), (2, 3, 4)),
            ((0,), (1, 2, 3, 4)),
            ((0, 1, 2), (2, 3, 4)),
            ((0, 1, 4), (2, 3)),
        ],
        ids=["a duplicate", "below n_min", "alive and dropped", "no upload of it"],
    )
    def test_signs_no_set_that_could_isolate_a_party(
        self, one: Round, alive: tuple[int, ...], dropped: tuple[int, ...]
    ) -> None:
        helper = one.helpers[0]
        for delivery in one.coordinator.deliveries(0):
            helper.take(delivery)
        with pytest.raises(SetError):
            helper.vote(Proposal(one.world.terms.context, alive, dropped))

    def test_reveals_nothing_without_a_quorum(self, one: Round) -> None:
        one.agree()
        member, request = one.coordinator.questions()[0]
        few = replace(request.certificate, votes=request.certificate.votes[:1])
        with pytest.raises(CertificateError, match="fewer than the quorum"):
            one.helpers[member].reveal(replace(request, certificate=few))

    def test_reveals_nothing_of_another_set_than_the_certified_one(self, one: Round) -> None:
        one.agree()
        member, request = one.coordinator.questions()[0]
        other = Proposal(request.proposal.context, (0, 1), (2, 3, 4))
        with pytest.raises(CertificateError):
            one.helpers[member].reveal(replace(request, proposal=other))

    def test_reveals_only_what_it_was_given_the_seeds_of(self, one: Round) -> None:
        one.agree()
        member, request = one.coordinator.questions()[0]
        with pytest.raises(SetError, match="does not have the seeds"):
            one.helpers[member].reveal(replace(request, subsets=tuple(range(one.world.terms.subsets))))

    def test_takes_no_second_message_of_a_party(self, one: Round) -> None:
        helper = one.helpers[0]
        first, *_ = one.coordinator.deliveries(0)
        helper.take(first)
        with pytest.raises(UploadError):
            helper.take(replace(first, vector=b"\1" * 32))


class TestCoordinator:
    def test_takes_no_more_than_n_max(self) -> None:
        one = Round(World.new(5, n_max=3), range(4))
        with pytest.raises(UploadError, match="the round is full: 3 parties"):
            one.collect()

    def test_takes_the_same_message_once_and_no_other(self) -> None:
        world = World.new()
        one = Round(world, range(2))
        one.collect()
        again = Round(world, ())
        upload, vector = one.uploads[0]
        for _ in range(2):
            again.coordinator.accept(upload, lambda: [vector])
        other = party_of(world, 0).send([numbers_of(world, 1)])
        masked = stored(other)
        with pytest.raises(UploadError, match="another message"):
            again.coordinator.accept(other.message, lambda: [masked])
        assert [fault.who for fault in again.coordinator.faults] == [world.parties[0].name]

    def test_takes_no_vector_that_was_not_signed(self) -> None:
        world = World.new()
        outgoing = party_of(world, 0).send([numbers_of(world, 0)])
        vector = stored(outgoing)
        one = Round(world, ())
        with pytest.raises(UploadError, match="not the one that was signed"):
            one.coordinator.accept(outgoing.message, lambda: [vector + np.uint32(1)])

    def test_leaves_out_a_party_whose_seeds_are_bad_and_names_it(self) -> None:
        world = World.new(4)
        one = Round(world, range(1, 4))
        bad = party_of(world, 0)
        bad._seeds_of = lambda member, seeds: bytes(16 * len(seeds))  # type: ignore[method-assign]  # another's seeds
        outgoing = bad.send([numbers_of(world, 0)])
        vector = stored(outgoing)
        one.coordinator.accept(outgoing.message, lambda: [vector])
        assert np.array_equal(one.played(), plain(world, range(1, 4)))
        assert {fault.who for fault in one.coordinator.faults} == {world.parties[0].name}

    def test_takes_no_answer_that_it_did_not_ask_for(self) -> None:
        one = Round(World.new(4), range(4))
        one.collect()
        one.agree()
        member, request = one.coordinator.questions()[0]
        outgoing = one.helpers[member].reveal(request)
        stored(outgoing)
        with pytest.raises(AnswerError, match="signature"):
            one.coordinator.answer(replace(outgoing.message, member=(member + 1) % 3))

    def test_ends_below_n_min(self) -> None:
        one = Round(World.new(4), [0])
        with pytest.raises(AbortError, match="fewer than n_min"):
            one.collect()
