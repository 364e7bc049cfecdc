"""Attacks on committee mode: each is refused by an honest party or member, or seen through and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.core import merkle
from comity.protocols.secure_sum.certificate import Proposal, certificate, vote
from comity.protocols.secure_sum.disputes import settle
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
from comity.protocols.secure_sum.field import Elements, Q
from comity.protocols.secure_sum.lattice_party import LatticeParty
from comity.protocols.secure_sum.party import PartyKeys
from comity.protocols.secure_sum.promises import MemoryPromises, Promises
from comity.protocols.secure_sum.ring import error_std
from comity.protocols.secure_sum.schema import Challenge, Upload
from comity.protocols.secure_sum.sealing import seal
from comity.protocols.secure_sum.terms import Floors
from support.helper_rounds import numbers_of, resigned, stored
from support.lattice_rounds import LatticeRound, errors_of, lattice_world
from support.secure_sums import MODEL

WORLD = lattice_world()
TERMS = WORLD.terms
NUMBERS = numbers_of(WORLD, range(12))
COLUMNS = 1024


def garbage(member: int) -> bytes:
    """A share that belongs to nothing."""
    return np.random.default_rng(member).integers(0, Q, COLUMNS + 1, dtype=np.uint32).tobytes()


def spoiling(
    party: int, members: tuple[int, ...], box: Callable[[int], bytes] | None = None
) -> Callable[[Upload], Upload]:
    """What a corrupt party sends: boxes of other content for some members, rightly signed."""

    def change(upload: Upload) -> Upload:
        if upload.party != party:
            return upload
        boxes = list(upload.boxes)
        for member in members:
            public = WORLD.committee.entry(member).agreement
            sealed = seal(public, TERMS.context, party, member, garbage(member))
            boxes[member] = sealed if box is None else box(member)
        return resigned(WORLD, replace(upload, boxes=tuple(boxes)))

    return change


def assert_sum(round_: LatticeRound, parties: tuple[int, ...]) -> None:
    assert round_.coordinator.parties == parties
    away = errors_of(round_.coordinator.total, [NUMBERS[party] for party in parties], Q)
    assert np.abs(away).max() <= 6 * error_std(len(parties))


def voted() -> tuple[LatticeRound, Proposal]:
    """A round that is agreed on, and its proposal."""
    round_ = LatticeRound.of(WORLD)
    round_.collect(NUMBERS)
    round_.check()
    round_.agree()
    return round_, round_.coordinator._agreed()


@pytest.mark.parametrize("members", [(0,), (2, 8), (0, 1, 2, 3, 4), tuple(range(10))])
def test_a_party_that_deals_bad_shares_is_dropped_and_named(members: tuple[int, ...]) -> None:
    round_ = LatticeRound.of(WORLD)
    round_.collect(NUMBERS, spoiling(5, members))
    round_.check()
    round_.reveal(round_.agree())
    assert_sum(round_, tuple(party for party in range(12) if party != 5))
    assert {fault.who for fault in round_.coordinator.faults} == {"party-00005"}


@pytest.mark.parametrize("box", [lambda _: b"", lambda _: bytes(48 + 4 * (COLUMNS + 1))])
def test_a_party_whose_boxes_do_not_open_is_dropped_and_named(box: Callable[[int], bytes]) -> None:
    round_ = LatticeRound.of(WORLD)
    round_.collect(NUMBERS, spoiling(5, (1, 6), box))
    round_.check()
    round_.reveal(round_.agree())
    assert_sum(round_, tuple(party for party in range(12) if party != 5))
    assert {fault.who for fault in round_.coordinator.faults} == {"party-00005"}


@pytest.mark.parametrize("content", [bytes(4 * COLUMNS), b"\xff" * 4 * (COLUMNS + 1)])
def test_shares_of_another_form_are_of_no_use(content: bytes) -> None:
    def box(member: int) -> bytes:
        return seal(WORLD.committee.entry(member).agreement, TERMS.context, 5, member, content)

    round_ = LatticeRound.of(WORLD)
    round_.collect(NUMBERS, spoiling(5, (3,), box))
    round_.check()
    round_.agree()
    assert 5 not in round_.coordinator._agreed().alive


def test_a_member_that_lies_about_shares_is_set_aside_and_nobody_is_dropped() -> None:
    def lie(member: int, said: Elements) -> Elements:
        return (said + np.uint32(1)) % np.uint32(Q) if member == 4 else said

    round_ = LatticeRound.of(WORLD)
    round_.collect(NUMBERS)
    round_.check(lie=lie)
    certificate = round_.agree()
    assert 4 not in round_.coordinator.waiting()
    with pytest.raises(AnswerError, match="set aside"):
        round_.coordinator.answer(round_.members[4].reveal(round_.coordinator._agreed(), certificate))
    round_.reveal(certificate)
    assert_sum(round_, tuple(range(12)))
    assert [fault.who for fault in round_.coordinator.faults] == [WORLD.members[4].name]


def test_a_member_that_frames_one_party_costs_that_party_and_no_more() -> None:
    def lie(member: int, said: Elements) -> Elements:
        said[7] = (said[7] + (member == 4)) % Q
        return said

    round_ = LatticeRound.of(WORLD)
    round_.collect(NUMBERS)
    round_.check(lie=lie)
    round_.reveal(round_.agree())
    assert_sum(round_, tuple(party for party in range(12) if party != 7))


@pytest.mark.parametrize("liars", [(4,), (0, 9)])
def test_members_that_lie_about_the_sum_are_found_out(liars: tuple[int, ...]) -> None:
    def lie(member: int, share: Elements) -> Elements:
        if member in liars:
            share[3] = (int(share[3]) + 1) % Q
        return share

    round_ = LatticeRound.of(WORLD)
    round_.collect(NUMBERS)
    round_.check()
    round_.reveal(round_.agree(), lie)
    assert_sum(round_, tuple(range(12)))
    assert {fault.who for fault in round_.coordinator.faults} == {WORLD.members[member].name for member in liars}


def test_more_liars_than_can_be_told_end_the_attempt() -> None:
    def lie(member: int, share: Elements) -> Elements:
        return np.full_like(share, member) if member < 5 else share

    round_ = LatticeRound.of(WORLD)
    round_.collect(NUMBERS)
    round_.check()
    with pytest.raises(AbortError, match="contradict each other"):
        round_.reveal(round_.agree(), lie)
    assert round_.coordinator.step == "aborted"


def test_a_member_signs_one_set_a_round() -> None:
    round_, proposal = voted()
    other = replace(proposal, alive=proposal.alive[1:], dropped=(0,))
    with pytest.raises(PromiseError, match="another set was signed"):
        round_.members[0].vote(other)
    again = round_.member(0)
    for given_ in [crossed.message for crossed in round_.wire if crossed.receiver == "member 0"]:
        if type(given_).__name__ == "Delivery":
            again.take(given_)  # type: ignore[arg-type]  # a delivery by its name
    with pytest.raises(PromiseError, match="another set was signed"):
        again.vote(other)
    assert again.vote(proposal) == round_.members[0].vote(proposal)


def test_a_set_that_other_members_certified_is_not_revealed_to_who_signed_another() -> None:
    """A coordinator with t = 3 corrupt members shows the others two sets: neither is certified by Q = 7."""
    round_ = LatticeRound.of(WORLD)
    round_.collect(NUMBERS)
    round_.check()
    whole = round_.coordinator.propose()
    without = replace(whole, alive=whole.alive[1:], dropped=(0,))
    corrupt = [vote(TERMS, without.digest, member, WORLD.members[member].signing) for member in (0, 1, 2)]
    honest = [round_.members[member].vote(without) for member in (3, 4, 5)]
    for member in (6, 7, 8, 9):
        round_.members[member].vote(whole)
    short = certificate(TERMS, without.digest, [*corrupt, *honest])
    with pytest.raises(CertificateError, match="6 votes are fewer than the quorum 7"):
        round_.members[3].reveal(without, short)


@pytest.mark.parametrize(
    ("alive", "dropped", "fault"),
    [
        ((0, 1, 1, 2), (), "listed twice"),
        ((0,), (), "fewer than n_min"),
        ((0, 1, 2), (2, 3), "alive and as dropped"),
        ((2, 1), (), "not in the order"),
        ((0, 1, 99), (), "nobody stands at 99"),
    ],
)
def test_sets_that_no_member_signs(alive: tuple[int, ...], dropped: tuple[int, ...], fault: str) -> None:
    round_ = LatticeRound.of(WORLD)
    round_.collect(NUMBERS)
    round_.check()
    with pytest.raises(SetError, match=fault):
        round_.members[0].vote(Proposal(TERMS.context, alive, dropped))


def test_a_set_of_more_than_n_max_could_wrap_and_is_not_signed() -> None:
    world = lattice_world(n_max=3)
    round_ = LatticeRound.of(world)
    numbers = numbers_of(world, range(4))
    round_.collect({party: numbers[party] for party in range(3)})
    upload, vector = round_.upload(3, numbers[3])
    with pytest.raises(UploadError, match="the round is full"):
        round_.coordinator.accept(upload, stored(vector))
    round_.check()
    with pytest.raises(SetError, match="their sum could wrap"):
        round_.members[0].vote(Proposal(world.terms.context, (0, 1, 2, 3), ()))


def test_sums_of_n_max_parties_at_the_bound_do_not_wrap() -> None:
    world = lattice_world(n_max=12)
    most = world.terms.steps
    for extreme in (most, -most):
        round_ = LatticeRound.of(world)
        total = round_.run({party: np.full(50, extreme, np.int32) for party in range(12)})
        signed = np.where(total > Q // 2, total.astype(np.int64) - Q, total)
        assert np.abs(signed - 12 * extreme).max() <= 12 * 42


def test_a_set_with_a_party_whose_share_was_not_delivered_is_not_signed() -> None:
    round_ = LatticeRound.of(WORLD)
    round_.collect({party: NUMBERS[party] for party in range(4)})
    round_.check()
    with pytest.raises(SetError, match="party 8 is in the set, and its share was not delivered"):
        round_.members[0].vote(Proposal(TERMS.context, (0, 1, 8), ()))


def test_a_second_list_of_parties_is_not_answered_for() -> None:
    """With two challenges for one masking column, its element would cancel."""
    round_ = LatticeRound.of(WORLD)
    round_.collect(NUMBERS)
    round_.coordinator.close()
    deliveries = list(round_.coordinator.deliveries(0))
    first = Challenge(TERMS.context, (0, 1), merkle.root([given_.signature for given_ in deliveries[:2]]))
    whole = Challenge(TERMS.context, tuple(range(12)), merkle.root([given_.signature for given_ in deliveries]))
    early = round_.members[0]
    for given_ in deliveries[:2]:
        early.take(given_)
    early.combine(first)
    with pytest.raises(OrderError, match="the list of parties is closed"):
        early.take(deliveries[2])
    restarted = round_.member(0)
    for given_ in deliveries:
        restarted.take(given_)
    with pytest.raises(PromiseError, match="another set was signed"):
        restarted.combine(whole)


def test_a_list_that_is_not_that_of_the_deliveries_is_not_answered_for() -> None:
    round_ = LatticeRound.of(WORLD)
    round_.collect(NUMBERS)
    challenge = round_.coordinator.close()
    for given_ in list(round_.coordinator.deliveries(0))[:-1]:
        round_.members[0].take(given_)
    with pytest.raises(SetError, match="not those that were delivered"):
        round_.members[0].combine(challenge)


def test_nothing_is_revealed_without_a_certificate() -> None:
    round_, proposal = voted()
    own = [round_.members[member].vote(proposal) for member in range(6)]
    for votes in (own, own + own[:1], [*own, replace(own[0], member=6)]):
        with pytest.raises(CertificateError):
            round_.members[0].reveal(proposal, certificate(TERMS, proposal.digest, votes))


def test_a_round_is_not_replayed() -> None:
    promises: dict[str, Promises] = {}
    LatticeRound.of(WORLD, promises).run(NUMBERS)
    again = LatticeRound.of(WORLD, promises)
    with pytest.raises(PromiseError, match="round 1, attempt 0 is not after round 1, attempt 0"):
        again.upload(3, NUMBERS[3])
    LatticeRound.of(lattice_world(attempt=1), promises).upload(3, NUMBERS[3])


def test_a_party_sends_one_message() -> None:
    party = LatticeRound.of(WORLD).party(3)
    party.send([NUMBERS[3]])
    with pytest.raises(OrderError, match="has sent its message"):
        party.send([NUMBERS[3]])


def test_another_message_of_a_party_does_not_count_and_the_party_is_named() -> None:
    round_ = LatticeRound.of(WORLD)
    round_.collect({3: NUMBERS[3], 4: NUMBERS[4]})
    round_.promises.clear()
    upload, vector = round_.upload(3, NUMBERS[5])
    with pytest.raises(UploadError, match="another message"):
        round_.coordinator.accept(upload, stored(vector))
    assert [fault.who for fault in round_.coordinator.faults] == ["party-00003"]


def test_the_same_message_again_changes_nothing() -> None:
    round_ = LatticeRound.of(WORLD)
    round_.collect({3: NUMBERS[3], 4: NUMBERS[4]})
    first = next(crossed for crossed in round_.wire if isinstance(crossed.message, Upload))
    assert isinstance(first.message, Upload)
    assert first.vector is not None
    round_.coordinator.accept(first.message, stored(first.vector))
    round_.check()
    round_.reveal(round_.agree())
    assert_sum(round_, (3, 4))


def test_a_vector_that_is_not_the_signed_one_or_not_below_q_does_not_count() -> None:
    round_ = LatticeRound.of(WORLD)
    upload, vector = round_.upload(3, NUMBERS[3])
    changed = vector.copy()
    changed[0] ^= 1
    with pytest.raises(UploadError, match="not the one that was signed"):
        round_.coordinator.accept(upload, stored(changed))
    changed[0] = Q
    with pytest.raises(UploadError, match="not below q"):
        round_.coordinator.accept(upload, stored(changed))
    with pytest.raises(UploadError, match="signature does not hold"):
        round_.coordinator.accept(replace(upload, party=4), stored(vector))
    round_.coordinator.accept(upload, stored(vector))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [({"committee": bytes(32)}, "committee is not the one"), ({"roster": bytes(32)}, "roster is another")],
)
def test_a_committee_or_roster_that_the_coordinator_chose_is_refused(changes: dict[str, bytes], fault: str) -> None:
    round_ = LatticeRound.of(WORLD)
    announcement = WORLD.announce(**changes)
    with pytest.raises(RefusalError, match=fault):
        round_.party(0, announcement)
    with pytest.raises(RefusalError, match=fault):
        round_.member(0, announcement)


def test_another_model_is_refused_and_nothing_is_promised() -> None:
    keys = WORLD.parties[0]
    promises = MemoryPromises()
    own = PartyKeys(keys.signing, Floors(), promises)
    with pytest.raises(RefusalError, match="model"):
        LatticeParty(WORLD.announce(), WORLD.view, own, bytes(32))
    LatticeParty(WORLD.announce(), WORLD.view, own, MODEL).send([NUMBERS[0]])


def test_parties_that_are_shown_different_models_get_masks_that_do_not_cancel() -> None:
    """Even if all of them went along: the public polynomials come from the context (Pasquini et al. 2021)."""
    shown = LatticeRound.of(WORLD)
    _, one = shown.upload(3, np.zeros(50, np.int32))
    other_round = LatticeRound.of(lattice_world(model=bytes(32)))
    keys = WORLD.parties[3]
    token = iter([b"s" * 16, b"e" * 16])
    party = LatticeParty(
        other_round.announcement,
        WORLD.view,
        PartyKeys(keys.signing, Floors(), MemoryPromises()),
        bytes(32),
        lambda _: next(token),
    )
    other = np.concatenate(list(party.send([np.zeros(50, np.int32)])))
    assert np.abs(errors_of(other, [one.astype(np.int64).astype(np.int32)], Q)).min() > 1000


@given(st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30), st.integers(0, 4))
def test_every_dispute_is_settled_and_the_committee_is_not_used_up(disputes: set[tuple[int, int]], spare: int) -> None:
    parties, members = settle(disputes, spare)
    assert all(party in parties or member in members for party, member in disputes)
    assert len(members) <= spare


def test_corrupt_parties_cannot_use_up_the_committee() -> None:
    """Six parties with bad shares for the same two members: two members go at most, and the parties' sum is right."""
    round_ = LatticeRound.of(WORLD)

    def change(upload: Upload) -> Upload:
        return spoiling(upload.party, (0, 9))(upload) if upload.party < 6 else upload

    round_.collect(NUMBERS, change)
    round_.check()
    round_.reveal(round_.agree())
    assert_sum(round_, tuple(range(12)))
    assert {fault.who for fault in round_.coordinator.faults} == {WORLD.members[0].name, WORLD.members[9].name}
