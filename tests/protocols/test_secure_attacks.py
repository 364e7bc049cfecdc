"""Attacks of the coordinator, of parties and of strangers on helper mode: each is refused by whom it would harm.

What is attacked is named by the specification's list: two sets for a round, a duplicate in a set, a set below n_min,
wrap at n_max + 1, a party alive and dropped at once, replays, two models, a wrong roster, a chosen committee, bad
seeds, and a second message with other content.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from comity.protocols.secure_sum.certificate import Certificate, Proposal, certificate
from comity.protocols.secure_sum.coordinator import Coordinator, Fault
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
from comity.protocols.secure_sum.masks import SEED, Masks, stream_key
from comity.protocols.secure_sum.party import Party, PartyKeys
from comity.protocols.secure_sum.promises import MemoryPromises
from comity.protocols.secure_sum.quantise import Grid
from comity.protocols.secure_sum.roster import Roster, committee, roster_of
from comity.protocols.secure_sum.schema import Announcement, Reveal, delivery
from comity.protocols.secure_sum.sealing import seal
from comity.protocols.secure_sum.terms import Floors, Ring
from support.helper_rounds import HelperRound, numbers_of, plain_sum, resigned, stored, taken
from support.secure_sums import BEACON, MODEL, Keys, World

ACTORS = ("party", "helper")


def admit(actor: str, round_: HelperRound, announcement: Announcement) -> object:
    return round_.party(0, announcement) if actor == "party" else round_.helper(0, announcement)


def checked(**changes: Any) -> HelperRound:
    """A round in which four of five parties have sent, and the helpers have their boxes."""
    round_ = HelperRound.of(World.new(5, 5, 2, **changes))
    round_.collect(numbers_of(round_.world, range(4)))
    round_.check()
    return round_


def voted(round_: HelperRound, *members: int) -> Certificate:
    proposal = round_.coordinator.propose()
    votes = [round_.helpers[member].vote(proposal) for member in members]
    return certificate(round_.world.terms, proposal.digest, votes)


# The coordinator announces what is not so.


@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"roster": bytes(32)}, "the roster is another one than the registrar's"),
        ({"committee": bytes(32)}, "the committee is not the one that the beacon draws"),
        ({"beacon": b"ground until it fits"}, "the committee is not the one that the beacon draws"),
        ({"size": 4}, "a committee of 4 cannot be drawn from 3"),
    ],
)
def test_another_roster_or_committee_is_refused(actor: str, changes: dict[str, Any], fault: str) -> None:
    round_ = HelperRound.of(World.new(4))
    with pytest.raises(RefusalError, match=fault):
        admit(actor, round_, round_.world.announce(**changes))


@pytest.mark.parametrize("actor", ACTORS)
def test_a_committee_that_the_coordinator_chose_is_refused(actor: str) -> None:
    """Consistent terms for helpers of its own, or for the others of the right ones, do not help."""
    world = World.new(4, size=3)
    round_ = HelperRound.of(world)
    own = committee(roster_of([Keys.of(f"accomplice-{index}").entry for index in range(3)]), BEACON, 3)
    reordered = Roster(tuple(reversed(world.committee.entries)))
    for chosen in (own, reordered):
        with pytest.raises(RefusalError, match="not the one that the beacon draws"):
            admit(actor, round_, world.announce(committee=chosen.root))


@pytest.mark.parametrize("actor", ACTORS)
def test_a_roster_with_sybils_is_refused(actor: str) -> None:
    round_ = HelperRound.of(World.new(4))
    entries = [keys.entry for keys in round_.world.parties[:1]]
    sybils = roster_of([*entries, *(Keys.of(f"sybil-{index}").entry for index in range(3))])
    with pytest.raises(RefusalError, match="another one than the registrar's"):
        admit(actor, round_, round_.world.announce(roster=sybils.root))


@pytest.mark.parametrize("actor", ACTORS)
def test_terms_that_the_coordinator_has_not_signed_are_refused(actor: str) -> None:
    round_ = HelperRound.of(World.new(4))
    for announcement in (
        replace(round_.announcement, signature=bytes(64)),
        replace(round_.announcement, terms=replace(round_.world.terms, n_min=3)),
    ):
        with pytest.raises(RefusalError, match="not signed by the coordinator"):
            admit(actor, round_, announcement)


def test_terms_below_the_floors_are_refused() -> None:
    world = World.new(4)
    floors = Floors(t=2, n_min=3, n_max=999, dp=1.0)
    party, member = world.parties[0], world.members[0]
    with pytest.raises(RefusalError, match="corrupt helpers or members, not 2; it allows a sum of 2"):
        Party(world.announce(), world.view, PartyKeys(party.signing, floors, MemoryPromises()), MODEL)
    keys = HelperKeys(member.signing, member.agreement, floors, MemoryPromises())
    with pytest.raises(RefusalError, match="corrupt helpers or members, not 2; it allows a sum of 2"):
        Helper(world.announce(), world.view, keys)


def test_a_party_that_got_another_model_sends_nothing() -> None:
    """Two models would make two contexts; whoever trained on another model than the announced one stays away."""
    world = World.new(4)
    promises = MemoryPromises()
    keys = PartyKeys(world.parties[0].signing, Floors(), promises)
    with pytest.raises(RefusalError, match="the model that was received is not the announced one"):
        Party(world.announce(), world.view, keys, bytes(32))
    Party(world.announce(), world.view, keys, MODEL).send([])


def test_parties_that_were_shown_different_models_are_not_added_up() -> None:
    """Pasquini et al. 2021: here the second party's message is for another context, and is not even accepted."""
    round_ = HelperRound.of(World.new(4))
    other = bytes(range(32))
    keys = PartyKeys(round_.world.parties[0].signing, Floors(), MemoryPromises())
    party = Party(round_.world.announce(model=other), round_.world.view, keys, other)
    outgoing = party.send([numbers_of(round_.world, [0])[0]])
    vector = taken(outgoing)
    with pytest.raises(UploadError, match="another round, attempt or other terms"):
        round_.coordinator.accept(outgoing.message, stored(vector))
    with pytest.raises(UploadError, match="another round, attempt or other terms"):
        round_.helpers[0].take(delivery(outgoing.message, 0))


def test_a_stranger_is_no_party_and_no_helper() -> None:
    world = World.new(4)
    stranger = Keys.of("stranger")
    with pytest.raises(RefusalError, match="this party is not in the roster"):
        Party(world.announce(), world.view, PartyKeys(stranger.signing, Floors(), MemoryPromises()), MODEL)
    keys = HelperKeys(stranger.signing, stranger.agreement, Floors(), MemoryPromises())
    with pytest.raises(RefusalError, match="this helper is not in the committee"):
        Helper(world.announce(), world.view, keys)


def test_roles_of_helper_mode_take_no_terms_of_committee_mode() -> None:
    world = World.new(4, ring=Ring.LATTICE)
    keys = world.parties[0]
    with pytest.raises(RefusalError, match="committee mode"):
        Party(world.announce(), world.view, PartyKeys(keys.signing, Floors(), MemoryPromises()), MODEL)
    with pytest.raises(RefusalError, match="committee mode"):
        Helper(world.announce(), world.view, HelperKeys(keys.signing, keys.agreement, Floors(), MemoryPromises()))


def test_a_coordinator_cannot_announce_for_another_deployment() -> None:
    world, other = World.new(4), World.new(5)
    with pytest.raises(RefusalError, match="roster"):
        Coordinator(world.terms, other.view, other.coordinator.signing)


# Rounds are replayed, and messages repeated.


def test_a_party_answers_a_round_once_even_after_a_restart() -> None:
    world = World.new(4)
    round_ = HelperRound.of(world)
    round_.upload(0, numbers_of(world, [0])[0])
    for replayed in (world.announce(), world.announce(clip=2.0), world.announce(round=0), world.announce(model=MODEL)):
        with pytest.raises(PromiseError, match="is not after round 1, attempt 0"):
            round_.party(0, replayed).send([numbers_of(world, [0])[0]])
    taken(round_.party(0, world.announce(attempt=1)).send([numbers_of(world, [0])[0]]))


def test_a_party_object_is_spent_even_when_its_message_was_never_finished() -> None:
    round_ = HelperRound.of(World.new(4))
    party = round_.party(0)
    outgoing = party.send([numbers_of(round_.world, [0])[0]])
    with pytest.raises(OrderError, match="has sent its message"):
        party.send([np.zeros(9, dtype=np.int32)])
    taken(outgoing)
    with pytest.raises(OrderError, match="goes out once"):
        taken(outgoing)


def test_a_party_that_cannot_remember_sends_nothing() -> None:
    class Broken(MemoryPromises):
        def join(self, terms: object) -> None:
            raise PromiseError("the disk is full")

    round_ = HelperRound.of(World.new(4))
    round_.promises["party-00000"] = Broken()
    with pytest.raises(PromiseError, match="the disk is full"):
        round_.party(0).send([numbers_of(round_.world, [0])[0]])


def test_a_helper_that_cannot_remember_signs_nothing() -> None:
    class Broken(MemoryPromises):
        def sign(self, terms: object, chosen: bytes) -> None:
            raise PromiseError("the disk is full")

    world = World.new(5, 5, 2)
    round_ = HelperRound.of(world, {world.members[0].name: Broken()})
    round_.collect(numbers_of(world, range(4)))
    round_.check()
    with pytest.raises(PromiseError, match="the disk is full"):
        round_.helpers[0].vote(round_.coordinator.propose())


def test_an_upload_of_another_round_is_not_taken() -> None:
    world = World.new(4)
    round_ = HelperRound.of(world)
    upload, vector = round_.upload(0, numbers_of(world, [0])[0])
    later = HelperRound.of(replace(world, terms=replace(world.terms, round=2)))
    with pytest.raises(UploadError, match="another round"):
        later.coordinator.accept(upload, stored(vector))
    with pytest.raises(UploadError, match="another round"):
        later.helpers[0].take(delivery(upload, 0))


def test_a_second_message_with_other_content_is_refused_by_all_and_named() -> None:
    """A party with two memories signs two messages; neither the coordinator nor a helper takes the second."""
    world = World.new(4)
    round_ = HelperRound.of(world)
    first, vector = round_.upload(0, numbers_of(world, [0])[0])
    round_.promises.clear()
    second, other = round_.upload(0, numbers_of(world, [0], seed=1)[0])
    round_.coordinator.accept(first, stored(vector))
    with pytest.raises(UploadError, match="sent another message"):
        round_.coordinator.accept(second, stored(other))
    assert round_.coordinator.faults == [Fault("party-00000", "signed two different messages for one round")]
    round_.helpers[0].take(delivery(first, 0))
    with pytest.raises(UploadError, match="signed another message"):
        round_.helpers[0].take(delivery(second, 0))


# The coordinator proposes sets that would isolate a party.


@pytest.mark.parametrize(
    ("alive", "dropped", "fault"),
    [
        ((0, 1, 2, 2), (), "listed twice among those alive"),
        ((0, 1, 2), (2, 3), "party 2 is listed as alive and as dropped"),
        ((0, 1, 2, 3), (0,), "party 0 is listed as alive and as dropped"),
        ((3,), (0, 1, 2), "1 parties are fewer than n_min = 3"),
        ((0, 1), (2, 3), "2 parties are fewer than n_min = 3"),
        ((0, 1, 2, 3), (), "more than n_max = 3"),
        ((0, 1, 4), (), "party 4 is in the set, and its seeds are not with this helper"),
        ((0, 1, 9), (), "nobody stands at 9"),
        ((1, 0, 2), (), "not in the order"),
    ],
)
def test_a_set_that_could_isolate_somebody_is_not_signed_nor_answered_for(
    alive: tuple[int, ...], dropped: tuple[int, ...], fault: str
) -> None:
    """Neither before the vote, nor with a certificate that corrupt helpers have made for it."""
    n_max = 3 if "n_max" in fault else 1000
    world = World.new(5, 5, 2, n_min=3, n_max=n_max)
    round_ = HelperRound.of(world)
    uploads = {party: round_.upload(party, numbers_of(world, [party])[party])[0] for party in range(4)}
    helper = round_.helpers[0]
    for upload in uploads.values():
        helper.take(delivery(upload, 0))
    proposal = Proposal(world.terms.context, alive, dropped)
    with pytest.raises(SetError, match=fault):
        helper.vote(proposal)
    with pytest.raises(SetError, match=fault):
        helper.reveal(Reveal(proposal, certificate(world.terms, proposal.digest, []), (5,), 0))


def test_a_helper_signs_one_set_and_answers_for_no_other_even_after_a_restart() -> None:
    round_ = checked()
    first = round_.coordinator.propose()
    smaller = Proposal(first.context, (0, 1, 2), (3, 4))
    vote = round_.helpers[0].vote(first)
    assert round_.helpers[0].vote(first) == vote
    restarted = round_.helper(0)
    for given in round_.coordinator.deliveries(0):
        restarted.take(given)
    for helper in (round_.helpers[0], restarted):
        with pytest.raises(PromiseError, match="another set was signed"):
            helper.vote(smaller)
        assert helper.vote(first) == vote


def test_two_sets_are_never_both_certified() -> None:
    """With t corrupt helpers that sign anything, and the honest ones split as the coordinator likes."""
    round_ = checked()
    world, t = round_.world, round_.world.terms.threshold
    first = round_.coordinator.propose()
    second = Proposal(first.context, (0, 1, 2), (3, 4))
    honest = range(t, world.terms.size)
    for split in range(len(honest) + 1):
        counts = (t + split, t + len(honest) - split)
        assert sum(count >= world.terms.quorum for count in counts) <= 1
    assert first.digest != second.digest


def test_a_helper_that_reveals_for_a_certified_set_signs_no_other_afterwards() -> None:
    round_ = checked()
    given = voted(round_, 1, 2, 3, 4)
    proposal = round_.coordinator._agreed()
    round_.helpers[0].reveal(Reveal(proposal, given, (9,), 0))
    with pytest.raises(PromiseError, match="another set was signed"):
        round_.helpers[0].vote(Proposal(proposal.context, (0, 1, 2), (3, 4)))


def test_votes_for_the_whole_set_are_no_certificate_for_a_part_of_it() -> None:
    round_ = checked()
    given = voted(round_, 1, 2, 3, 4)
    smaller = Proposal(given.context, (0, 1, 2), (3, 4))
    forged = replace(given, chosen=smaller.digest)
    restamped = replace(forged, votes=tuple(replace(vote, chosen=smaller.digest) for vote in given.votes))
    for shown in (given, forged, restamped):
        with pytest.raises(CertificateError):
            round_.helpers[0].reveal(Reveal(smaller, shown, (9,), 0))


def test_a_helper_reveals_nothing_below_the_quorum_or_for_votes_counted_twice() -> None:
    round_ = checked()
    given = voted(round_, 1, 2, 3)
    proposal = round_.coordinator._agreed()
    twice = replace(given, votes=(*given.votes, given.votes[0]))
    for shown, fault in ((given, "fewer than the quorum"), (twice, "counted twice")):
        with pytest.raises(CertificateError, match=fault):
            round_.helpers[0].reveal(Reveal(proposal, shown, (9,), 0))


@pytest.mark.parametrize("subsets", [(), (0,), (9, 9), (9, 8), (4, 10), (99,)])
def test_a_helper_answers_only_for_subsets_whose_seeds_it_has(subsets: tuple[int, ...]) -> None:
    """Helper 0 is in subsets 0 to 3; and a subset listed twice would be added twice."""
    round_ = checked()
    given = voted(round_, 1, 2, 3, 4)
    with pytest.raises(SetError, match="does not have the seeds"):
        round_.helpers[0].reveal(Reveal(round_.coordinator._agreed(), given, subsets, 0))


def test_no_party_joins_after_the_set_is_signed() -> None:
    round_ = checked()
    late, _ = round_.upload(4, numbers_of(round_.world, [4])[4])
    round_.helpers[0].vote(round_.coordinator.propose())
    with pytest.raises(OrderError, match="the set is signed"):
        round_.helpers[0].take(delivery(late, 0))


# Sums wrap at n_max + 1.


def test_a_sum_of_n_max_is_exact_at_the_edge_and_one_more_party_is_not_taken() -> None:
    world = World.new(4, n_max=3)
    round_ = HelperRound.of(world)
    edge = {party: np.full(9, world.terms.steps, dtype=np.int32) for party in range(4)}
    round_.collect({party: edge[party] for party in range(3)})
    fourth, vector = round_.upload(3, edge[3])
    with pytest.raises(UploadError, match="the round is full: 3 parties"):
        round_.coordinator.accept(fourth, stored(vector))
    round_.check()
    round_.agree()
    round_.reveal()
    exact = plain_sum(edge[party] for party in range(3))
    np.testing.assert_array_equal(round_.coordinator.total.view(np.int32), exact)
    assert np.all(Grid.of(world.terms).sums([round_.coordinator.total], 3).vector == 3.0)
    assert 4 * world.terms.steps > 1 << 31


# Parties seal what helpers cannot use; helpers say what is not so.


def test_a_delivery_that_its_party_has_not_signed_is_not_taken() -> None:
    round_ = HelperRound.of(World.new(4))
    upload, _ = round_.upload(0, numbers_of(round_.world, [0])[0])
    honest = delivery(upload, 0)
    other = Keys.of("helper-0").entry.agreement
    forged_box = seal(other, honest.context, 0, 0, bytes(2 * SEED))
    changes: list[dict[str, Any]] = [
        {"vector": bytes(32)},
        {"commitments": tuple(reversed(honest.commitments))},
        {"commitments": honest.commitments[:2]},
        {"box": forged_box},
        {"proof": honest.proof[:-1]},
        {"boxes": bytes(32)},
        {"signature": bytes(64)},
        {"party": 1},
        {"party": 77},
        {"context": bytes(32)},
    ]
    for change in changes:
        with pytest.raises(UploadError):
            round_.helpers[0].take(replace(honest, **change))
    with pytest.raises(UploadError, match="not the one that was sealed for member 1"):
        round_.helpers[1].take(honest)
    round_.helpers[0].take(honest)


@pytest.mark.parametrize("plain", [bytes(2 * SEED), bytes(SEED), b""], ids=["other seeds", "too short", "empty"])
def test_a_box_with_other_seeds_than_the_committed_ones_is_told(plain: bytes) -> None:
    """Seeds that differ between helpers would have honest helpers contradict each other."""
    world = World.new(4)
    round_ = HelperRound.of(world)
    upload, _ = round_.upload(0, numbers_of(world, [0])[0])
    boxes = list(upload.boxes)
    boxes[1] = seal(world.committee.entry(1).agreement, world.terms.context, 0, 1, plain)
    bad = resigned(world, replace(upload, boxes=tuple(boxes)))
    for member in range(3):
        round_.helpers[member].take(delivery(bad, member))
    assert [round_.helpers[member].findings().refused for member in range(3)] == [(), (0,), ()]


def test_a_box_that_was_copied_from_another_party_is_told() -> None:
    world = World.new(4)
    round_ = HelperRound.of(world)
    victim, _ = round_.upload(0, numbers_of(world, [0])[0])
    thief, _ = round_.upload(1, numbers_of(world, [1])[1])
    bad = resigned(world, replace(thief, boxes=victim.boxes, commitments=victim.commitments))
    round_.helpers[0].take(delivery(bad, 0))
    assert round_.helpers[0].findings().refused == (1,)


def test_an_upload_with_too_few_boxes_is_not_taken() -> None:
    world = World.new(4)
    round_ = HelperRound.of(world)
    upload, vector = round_.upload(0, numbers_of(world, [0])[0])
    with pytest.raises(UploadError, match="2 boxes for a committee of 3"):
        round_.coordinator.accept(resigned(world, replace(upload, boxes=upload.boxes[:2])), stored(vector))
    with pytest.raises(UploadError, match="2 commitments where 3 belong"):
        round_.coordinator.accept(resigned(world, replace(upload, commitments=upload.commitments[:2])), stored(vector))


def test_findings_and_answers_are_their_helpers_own() -> None:
    round_ = HelperRound.of(World.new(4))
    round_.collect(numbers_of(round_.world, range(4)))
    round_.coordinator.close()
    honest = round_.helpers[0].findings()
    for change in ({"member": 1}, {"refused": (2,)}, {"context": bytes(32)}, {"member": 9}):
        with pytest.raises(AnswerError):
            round_.coordinator.found(replace(honest, **change))


def test_an_answer_of_one_helper_does_not_count_for_another_or_for_other_subsets() -> None:
    round_ = checked()
    round_.agree()
    member, request = round_.coordinator.questions()[0]
    answer, vector = round_.answer(member, request)
    for change in ({"member": (member + 1) % 5}, {"subsets": (0,)}, {"chosen": bytes(32)}, {"context": bytes(32)}):
        with pytest.raises(AnswerError):
            round_.coordinator.answer(replace(answer, **change), stored(vector))
    with pytest.raises(AnswerError, match="not the one that was signed"):
        round_.coordinator.answer(answer, stored(vector + np.uint32(1)))
    with pytest.raises(AnswerError, match="without its vector"):
        round_.coordinator.answer(answer)


def test_a_helper_that_answers_a_question_twice_is_a_liar() -> None:
    world = World.new(5, 5, 2)
    numbers = numbers_of(world, range(4))
    round_ = HelperRound.of(world)
    round_.collect(numbers)
    round_.check()
    round_.agree()
    member, request = round_.coordinator.questions()[0]
    answer, vector = round_.answer(member, request)
    round_.coordinator.answer(answer, stored(vector))
    other, lie = round_.lying(member, answer, vector + np.uint32(7))
    round_.coordinator.answer(other, stored(lie))
    round_.reveal()
    assert round_.coordinator.faults == [Fault(world.members[member].name, "gave two answers to one question")]
    np.testing.assert_array_equal(round_.coordinator.total.view(np.int32), plain_sum(numbers.values()))


def test_helpers_that_refuse_everybody_end_the_attempt() -> None:
    round_ = HelperRound.of(World.new(3))
    round_.collect(numbers_of(round_.world, range(3)))
    blind = round_.helpers[2]
    blind._opened = lambda delivery: None  # type: ignore[method-assign]  # a helper that finds fault with every box
    round_.check()
    with pytest.raises(AbortError, match="0 parties are left"):
        round_.coordinator.propose()


# What t helpers and the coordinator know together.


@pytest.mark.parametrize(("size", "threshold"), [(3, 1), (5, 2)])
def test_t_helpers_and_the_coordinator_cannot_unmask_a_party(size: int, threshold: int) -> None:
    """They take off every mask whose seed they hold; what is left is still masked by one stream."""
    world = World.new(4, size, threshold, parts=World.new().terms.parts)
    round_ = HelperRound.of(world)
    numbers = numbers_of(world, range(4))
    round_.collect(numbers)
    round_.check()
    corrupt = [round_.helpers[member] for member in range(threshold)]
    known = {subset: seed for helper in corrupt for subset, seed in helper._seeds[0].items()}
    assert len(known) == world.terms.subsets - 1
    one_more = {**known, **round_.helpers[threshold]._seeds[0]}
    sent = next(crossed for crossed in round_.wire if crossed.sender == "party-00000").vector
    assert sent is not None
    assert not np.array_equal(unmasked(world, sent, known), numbers[0])
    np.testing.assert_array_equal(unmasked(world, sent, one_more), numbers[0])


def unmasked(world: World, sent: np.ndarray[Any, np.dtype[np.uint32]], seeds: dict[int, bytes]) -> Any:
    mask = np.zeros(len(sent), dtype=np.uint32)
    Masks(stream_key(world.terms.context, 0, subset, seed) for subset, seed in seeds.items()).add(0, mask)
    return (sent - mask).view(np.int32)
