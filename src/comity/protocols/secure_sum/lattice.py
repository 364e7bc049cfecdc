"""What committee mode asks of the terms, and the masks a·s of a vector's rows.

*Experimental: committee mode awaits outside review.* What a party sends is hidden by ring learning with errors: N =
2048, q of 31 bits, uniform secrets, errors of standard deviation 4.58. (For 128 bits of security at this N, the
homomorphic encryption standard of Albrecht et al. 2018 lets q have 54 bits.) The sums of the secrets and of the
errors over the certified set become known, so at least two parties of it must be honest, and the assumption is the
one with such hints (Kim et al. 2023, "Toward practical lattice-based proof of knowledge from Hint-MLWE").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from comity.protocols.secure_sum.errors import RefusalError, TermsError
from comity.protocols.secure_sum.field import Elements, Floats, Q
from comity.protocols.secure_sum.ring import BLOCK, ERROR_BOUND, Multiplier, N, public_polynomials
from comity.protocols.secure_sum.sharing import Sharing
from comity.protocols.secure_sum.terms import Terms


def agreed_sharing(terms: Terms) -> Sharing:
    """How secrets are shared under these terms. Raises `RefusalError` where they are no terms of committee mode."""
    if terms.helpers:
        raise _refusal(terms, "these terms are of helper mode")
    if terms.headroom < ERROR_BOUND:
        raise _refusal(terms, f"a headroom of {terms.headroom} does not hold an error of {ERROR_BOUND}")
    if terms.threshold + terms.blocks > terms.quorum:
        raise _refusal(terms, f"a quorum of {terms.quorum} is fewer than t + l, so a certified set could stay masked")
    try:
        return Sharing.of(terms)
    except TermsError as error:
        raise _refusal(terms, error.what) from error


class RowMasks:
    """The products a_r·s for the rows of a vector, block by block; `erase` when they are no longer needed."""

    def __init__(self, context: bytes, secret: Elements) -> None:
        self._context = context
        self._multiplier = Multiplier(secret)

    def block(self, index: int, entries: int) -> Floats:
        """The first `entries` (at most `BLOCK`) of block `index`, as whole numbers of at most q/2 + 4 in size."""
        rows = -(-entries // N)
        products = self._multiplier.products(public_polynomials(self._context, index, rows))
        return products.reshape(rows * N)[:entries]

    def erase(self) -> None:
        """Overwrite what the secret can be computed from."""
        self._multiplier.erase()


def in_blocks(runs: Iterable[NDArray[np.int32]]) -> Iterator[NDArray[np.int32]]:
    """The same numbers in runs of `BLOCK`; the last one may be shorter."""
    held: list[NDArray[np.int32]] = []
    size = 0
    for run in runs:
        held.append(run)
        size += len(run)
        if size < BLOCK:
            continue
        joined = np.concatenate(held) if len(held) > 1 else run
        whole = size - size % BLOCK
        yield from (joined[start : start + BLOCK] for start in range(0, whole, BLOCK))
        held, size = [joined[whole:]], size - whole
    if size:
        yield np.concatenate(held)


def add_elements(total: Elements, runs: Iterable[Elements]) -> None:
    """Add a vector to `total` in place, modulo q."""
    for part, run in _alongside(total, runs):
        np.add(part, run, out=part)
        np.minimum(part, part - np.uint32(Q), out=part)


def subtract_elements(total: Elements, runs: Iterable[Elements]) -> None:
    """Take a vector from `total` in place, modulo q."""
    for part, run in _alongside(total, runs):
        np.subtract(part, run, out=part)
        np.minimum(part, part + np.uint32(Q), out=part)


def _alongside(total: Elements, runs: Iterable[Elements]) -> Iterator[tuple[Elements, Elements]]:
    at = 0
    for long in runs:
        for start in range(0, len(long), BLOCK):
            run = long[start : start + BLOCK]
            yield total[at : at + len(run)], run
            at += len(run)


def _refusal(terms: Terms, fault: str) -> RefusalError:
    return RefusalError(
        fault,
        where=f"job {terms.job.hex()[:16]}, round {terms.round}, attempt {terms.attempt}",
        mend="nothing was sent; the coordinator announces other terms",
    )
