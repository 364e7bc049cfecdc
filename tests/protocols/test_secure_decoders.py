"""Every decoder of the secure sums takes any bytes: it gives the message with just these bytes, or a typed error."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.protocols.secure_sum.certificate import Certificate, Proposal, Vote
from comity.protocols.secure_sum.encoding import Message
from comity.protocols.secure_sum.errors import MessageError, SecureSumError
from comity.protocols.secure_sum.roster import Entry
from comity.protocols.secure_sum.schema import Announcement, Answer, Closing, Delivery, Findings, Reveal, Upload
from comity.protocols.secure_sum.streams import checked_digest
from comity.protocols.secure_sum.terms import Part, Terms
from support.helper_rounds import HelperRound, numbers_of
from support.secure_sums import World


def examples() -> dict[type[Message], Message]:
    """One of each message, from a round."""
    world = World.new(3)
    round_ = HelperRound.of(world)
    round_.run(numbers_of(world, range(3)))
    found = {type(crossed.message): crossed.message for crossed in round_.wire}
    others = [round_.announcement, world.terms, world.terms.parts[0], world.parties[0].entry]
    closing = round_.coordinator.closing()
    return {**found, **{type(message): message for message in (*others, closing, closing.certificate)}}


EXAMPLES = examples()
KINDS = sorted(EXAMPLES, key=lambda kind: kind.__name__)


def test_there_is_an_example_of_every_message() -> None:
    common = {Announcement, Upload, Delivery, Findings, Proposal, Vote, Certificate, Reveal, Answer, Closing}
    assert set(KINDS) == common | {Terms, Part, Entry}


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_is_what_its_bytes_say(kind: type[Message]) -> None:
    raw = EXAMPLES[kind].encode()
    assert kind.decode(raw) == EXAMPLES[kind]
    assert kind.decode(raw).encode() == raw


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=120, deadline=None)
def test_changed_bytes_are_another_message_or_none(kind: type[Message], data: st.DataObject) -> None:
    raw = bytearray(EXAMPLES[kind].encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 12))] = data.draw(st.binary(max_size=12))
    read_back(kind, bytes(raw))


@pytest.mark.parametrize("kind", KINDS)
@given(noise=st.binary(max_size=400))
@settings(max_examples=60, deadline=None)
def test_noise_after_the_right_first_line_is_a_message_or_none(kind: type[Message], noise: bytes) -> None:
    read_back(kind, EXAMPLES[kind].encode().split(b"\n")[0] + b"\n" + noise)


def read_back(kind: type[Message], raw: bytes) -> None:
    try:
        message = kind.decode(raw)
    except SecureSumError:
        return
    assert message.encode() == raw


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_cut_short_or_followed_by_more_is_none(kind: type[Message]) -> None:
    raw = EXAMPLES[kind].encode()
    for length in {0, 1, len(raw) // 2, len(raw) - 1}:
        with pytest.raises(SecureSumError):
            kind.decode(raw[:length])
    with pytest.raises(MessageError, match=r"follow the message|at most"):
        kind.decode(raw + b"\0")


@pytest.mark.parametrize("kind", KINDS)
def test_no_message_is_taken_for_another(kind: type[Message]) -> None:
    for other in KINDS:
        if other is not kind:
            with pytest.raises(MessageError):
                other.decode(EXAMPLES[kind].encode())


def test_a_length_that_is_claimed_and_not_there_allocates_nothing() -> None:
    proposal = Proposal(bytes(32), (), ()).encode()
    claims = proposal[:-8] + (1 << 20).to_bytes(4, "big") + bytes(8)
    beyond = proposal[:-8] + ((1 << 20) + 1).to_bytes(4, "big") + bytes(8)
    tracemalloc.start()
    try:
        with pytest.raises(MessageError, match="ends within a field"):
            Proposal.decode(claims)
        with pytest.raises(MessageError, match="1048577 values where at most 1048576"):
            Proposal.decode(beyond)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "changes",
    [{"party": -1}, {"party": 1 << 32}, {"context": b"short"}, {"boxes": [b""]}, {"boxes": (bytes(20_000),)}],
)
def test_a_value_out_of_bounds_has_no_bytes(changes: dict[str, Any]) -> None:
    with pytest.raises(MessageError, match="Upload"):
        replace(EXAMPLES[Upload], **changes).encode()  # type: ignore[type-var]  # every message is a dataclass


@pytest.mark.parametrize(
    "vector",
    [
        np.zeros(5, dtype=np.uint32),
        np.zeros(7, dtype=np.uint32),
        np.zeros(6, dtype=np.int64),
        np.zeros((1, 6), dtype=np.uint32),
    ],
)
def test_a_vector_of_another_form_has_no_digest(vector: Any) -> None:
    with pytest.raises(MessageError, match="vector"):
        checked_digest([vector], 6)
