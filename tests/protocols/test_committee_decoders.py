"""The messages of committee mode take any bytes, and its roles any message: a value, or a typed error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.protocols.secure_sum.encoding import Message
from comity.protocols.secure_sum.errors import AnswerError, MessageError, SecureSumError
from comity.protocols.secure_sum.field import Q
from comity.protocols.secure_sum.schema import Challenge, Combinations, Delivery, ShareSum, combined, summed_share
from support.helper_rounds import numbers_of
from support.lattice_rounds import LatticeRound, lattice_world

WORLD = lattice_world(parties=5, size=4, threshold=1, blocks=1)


def played() -> LatticeRound:
    round_ = LatticeRound.of(WORLD)
    round_.run(numbers_of(WORLD, range(3)))
    return round_


ROUND = played()
EXAMPLES = {type(crossed.message): crossed.message for crossed in ROUND.wire}
KINDS = [Challenge, Combinations, Delivery, ShareSum]


def read_back(kind: type[Message], raw: bytes) -> None:
    try:
        message = kind.decode(raw)
    except SecureSumError:
        return
    assert message.encode() == raw


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_is_what_its_bytes_say(kind: type[Message]) -> None:
    assert kind.decode(EXAMPLES[kind].encode()) == EXAMPLES[kind]


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_changed_bytes_are_another_message_or_none(kind: type[Message], data: st.DataObject) -> None:
    raw = bytearray(EXAMPLES[kind].encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 12))] = data.draw(st.binary(max_size=12))
    read_back(kind, bytes(raw))


@pytest.mark.parametrize("kind", KINDS)
@given(noise=st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_noise_after_the_right_first_line_is_a_message_or_none(kind: type[Message], noise: bytes) -> None:
    read_back(kind, EXAMPLES[kind].encode().split(b"\n")[0] + b"\n" + noise)


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_cut_short_or_followed_by_more_is_none(kind: type[Message]) -> None:
    raw = EXAMPLES[kind].encode()
    for length in {0, 1, len(raw) // 2, len(raw) - 1}:
        with pytest.raises(SecureSumError):
            kind.decode(raw[:length])
    with pytest.raises(MessageError, match=r"follow the message|at most"):
        kind.decode(raw + b"\0")


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        (b"", ()),
        (bytes(11), ()),
        (bytes(16), ()),
        (np.full(3, Q, "<u4").tobytes(), ()),
        (bytes(12), (3,)),
    ],
)
def test_combinations_of_another_form_are_not_taken(values: bytes, refused: tuple[int, ...]) -> None:
    round_ = LatticeRound.of(WORLD)
    round_.collect(numbers_of(WORLD, range(3)))
    challenge = round_.coordinator.close()
    signed = combined(WORLD.terms.context, challenge.signatures, 2, refused, values)
    said = Combinations(
        WORLD.terms.context, challenge.signatures, 2, refused, values, WORLD.members[2].signing.sign(signed)
    )
    with pytest.raises(AnswerError, match=r"one element for each party|another list"):
        round_.coordinator.combined(said)
    with pytest.raises(AnswerError, match="signature does not hold"):
        round_.coordinator.combined(replace(said, member=1))


@pytest.mark.parametrize("share", [b"", bytes(4), bytes(8191), np.full(2048, Q, "<u4").tobytes()])
def test_summed_shares_of_another_form_are_not_taken(share: bytes) -> None:
    round_ = LatticeRound.of(WORLD)
    round_.collect(numbers_of(WORLD, range(3)))
    round_.check()
    round_.agree()
    chosen = round_.coordinator._agreed().digest
    signed = summed_share(WORLD.terms.context, chosen, 2, share)
    answer = ShareSum(WORLD.terms.context, chosen, 2, share, WORLD.members[2].signing.sign(signed))
    with pytest.raises(AnswerError, match="2048 elements"):
        round_.coordinator.answer(answer)


@given(said=st.lists(st.integers(0, Q - 1), min_size=12, max_size=12), liars=st.sets(st.integers(0, 3), max_size=4))
@settings(max_examples=30, deadline=None)
def test_whatever_members_say_of_shares_the_round_goes_on_or_ends_with_a_typed_error(
    said: list[int], liars: set[int]
) -> None:
    def lie(
        member: int, true: np.ndarray[tuple[int], np.dtype[np.uint32]]
    ) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
        return np.array(said[3 * member : 3 * member + 3], np.uint32) if member in liars else true

    round_ = LatticeRound.of(WORLD)
    round_.collect(numbers_of(WORLD, range(3)))
    round_.check(lie=lie)
    try:
        round_.reveal(round_.agree())
    except SecureSumError:
        return
    assert len(round_.coordinator.parties) >= WORLD.terms.n_min
