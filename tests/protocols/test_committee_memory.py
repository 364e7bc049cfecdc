"""Vectors of any length in constant memory: a party holds a few blocks, the coordinator one vector."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from comity.protocols.secure_sum.lattice_coordinator import LatticeCoordinator
from comity.protocols.secure_sum.ring import BLOCK
from comity.protocols.secure_sum.schema import Upload
from comity.protocols.secure_sum.streams import Outgoing
from support.lattice_rounds import LatticeRound, lattice_world

MIB = 1 << 20


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


def numbers(length: int) -> Iterator[NDArray[np.int32]]:
    for start in range(0, length, 1 << 16):
        yield np.full(min(1 << 16, length - start), start & 1023, np.int32)


def send(round_: LatticeRound, position: int) -> Outgoing[Upload]:
    round_.promises.clear()
    return round_.party(position).send(numbers(round_.world.terms.length))


def gone(outgoing: Outgoing[Upload], length: int) -> None:
    assert sum(len(run) for run in outgoing) == length


def of_party(length: int) -> int:
    round_ = LatticeRound.of(lattice_world(length=length))
    return peak(lambda: gone(send(round_, 3), length))


def of_coordinator(length: int, parties: int) -> int:
    """The peak of one that collects, checks and unmasks; each vector comes from its party anew when it is read."""
    round_ = LatticeRound.of(lattice_world(length=length))

    def work() -> None:
        coordinator = LatticeCoordinator(round_.world.terms, round_.world.view, round_.world.coordinator.signing)
        for position in range(parties):
            outgoing = send(round_, position)
            gone(outgoing, length)
            coordinator.accept(outgoing.message, partial(send, round_, position))
        round_.coordinator = coordinator
        round_.check()
        round_.reveal(round_.agree())

    return peak(work)


def test_a_party_holds_a_few_blocks_however_long_the_vector_is() -> None:
    of_party(BLOCK)
    assert of_party(40 * BLOCK) < of_party(8 * BLOCK) + MIB / 8


def test_a_coordinator_holds_one_vector_whatever_the_number_of_parties() -> None:
    """Beside the vector only the sealed boxes of each party stay: 41 KB here, and what the ten members hold of them."""
    length = 32 * BLOCK
    of_coordinator(BLOCK, 2)
    few, many = of_coordinator(length, 2), of_coordinator(length, 8)
    assert many < few + 2 * MIB
    assert many < 4 * length + 14 * MIB


@pytest.mark.long
def test_a_hundred_million_entries_are_400_mb_on_the_wire_and_16_in_memory() -> None:
    assert of_party(100_000_000) < 16 * MIB
