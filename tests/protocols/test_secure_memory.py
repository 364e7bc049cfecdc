"""Vectors of any length in constant memory: what each role holds does not grow with the vector or with the parties."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from comity.protocols.secure_sum.coordinator import Coordinator
from comity.protocols.secure_sum.masks import RUN, summed
from comity.protocols.secure_sum.party import Party, PartyKeys
from comity.protocols.secure_sum.promises import MemoryPromises
from comity.protocols.secure_sum.quantise import Grid, Weighted
from comity.protocols.secure_sum.schema import Upload
from comity.protocols.secure_sum.streams import Outgoing
from comity.protocols.secure_sum.terms import Floors, Part
from support.helper_rounds import HelperRound
from support.secure_sums import MODEL, World, tokens

MIB = 1 << 20


def world_of(length: int, parties: int = 2) -> World:
    return World.new(parties, parts=(Part("vector", length, 1.0), Part("weight", 1, 1.0)))


def peak(work: Callable[[], object]) -> int:
    """The most memory in bytes that Python and NumPy hold while `work` is done, beyond what they held before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def of_party(length: int) -> int:
    """The peak of a party that rounds and masks; its vector is one number, seen `length` times and stored once."""
    world = world_of(length)
    party = HelperRound.of(world).party(0)
    given = Weighted(np.broadcast_to(np.float32(0.3), (length,)), 1.0)
    return peak(lambda: gone(party.send(Grid.of(world.terms).rounded(given)), length + 1))


def of_helper(length: int) -> int:
    """The peak of what a helper does for an answer."""
    keys = [bytes([number]) * 16 for number in range(3)]
    return peak(lambda: gone(summed(keys, length), length))


def gone(runs: Outgoing[Upload] | Iterator[NDArray[np.uint32]], length: int) -> None:
    assert sum(len(run) for run in runs) == length


def of_coordinator(length: int, parties: int) -> int:
    """The peak of one that collects; each vector comes from its party anew whenever it is read."""
    world = world_of(length, parties)
    announcement = world.announce()

    def send(position: int) -> Outgoing[Upload]:
        keys = PartyKeys(world.parties[position].signing, Floors(), MemoryPromises())
        party = Party(announcement, world.view, keys, MODEL, tokens(f"seeds of {position}"))
        return party.send(
            np.full(min(RUN, length + 1 - start), position, np.int32) for start in range(0, length + 1, RUN)
        )

    def collect() -> None:
        coordinator = Coordinator(world.terms, world.view, world.coordinator.signing)
        for position in range(parties):
            outgoing = send(position)
            gone(outgoing, length + 1)
            coordinator.accept(outgoing.message, partial(send, position))
        coordinator.close()

    return peak(collect)


@pytest.mark.parametrize("hold", [of_party, of_helper])
def test_a_party_and_a_helper_hold_a_few_runs_however_long_the_vector_is(hold: Callable[[int], int]) -> None:
    hold(RUN)
    assert hold(24 * RUN) < hold(4 * RUN) + MIB / 8


def test_a_coordinator_holds_one_vector_whatever_the_number_of_parties() -> None:
    length = 16 * RUN
    of_coordinator(RUN, 2)
    few, many = of_coordinator(length, 2), of_coordinator(length, 8)
    assert many < few + MIB / 4
    assert many < 4 * length + 3 * MIB


@pytest.mark.long
@pytest.mark.parametrize("hold", [of_party, of_helper])
def test_a_hundred_million_entries_are_400_mb_on_the_wire_and_a_few_in_memory(hold: Callable[[int], int]) -> None:
    assert hold(100_000_000) < 4 * MIB
