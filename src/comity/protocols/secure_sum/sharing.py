"""Packed secret sharing of a mask's secret (Shamir 1979; Franklin and Yung 1992), with a check of what was dealt.

A secret of N elements is cut into l blocks, one above the other: N/l columns of l elements. Each column is put on a
polynomial of degree t + l − 1 with t elements more that are drawn at random: at −1 to −l stand the secrets, at −l − 1
to −l − t the random ones, and member j, from 0, gets the values at j + 1. So t shares tell nothing, and any t + l
shares give everything. Shares can be added up.

One column more has random elements alone. It masks the *combination* that each member makes of its share: the masking
element plus the others, weighted by a challenge that nobody knew when the shares were sealed. The combinations of all
members lie on a polynomial of degree t + l − 1 where the shares do, and otherwise do so with probability 1/q.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from comity.protocols.secure_sum.encoding import statement
from comity.protocols.secure_sum.errors import TermsError
from comity.protocols.secure_sum.field import (
    Elements,
    Q,
    differences,
    interpolation,
    inverse,
    matrix_product,
    row_products,
    times,
    uniform,
)
from comity.protocols.secure_sum.keystream import KEY, Keystream
from comity.protocols.secure_sum.ring import N
from comity.protocols.secure_sum.terms import Terms


@dataclass(frozen=True)
class Sharing:
    """Shares for `members` (c), of whom `threshold` (t) learn nothing, of secrets of `length` elements.

    `blocks` is l. Raises `TermsError` where they do not go together.
    """

    members: int
    threshold: int
    blocks: int
    length: int = N

    def __post_init__(self) -> None:
        if self.blocks < 1 or self.length % self.blocks or self.dimension > self.members:
            raise TermsError(
                f"{self.length} elements in {self.blocks} blocks cannot be shared among {self.members} members of whom "
                f"{self.threshold} learn nothing",
                where="terms",
                mend="l is a power of two, and t + l are no more than the members",
            )

    @classmethod
    def of(cls, terms: Terms) -> Sharing:
        return cls(terms.size, terms.threshold, terms.blocks)

    @property
    def dimension(self) -> int:
        """t + l, the shares that give the secret."""
        return self.threshold + self.blocks

    @property
    def columns(self) -> int:
        """N/l; a share has one element more."""
        return self.length // self.blocks

    def shares(self, secret: Elements, stream: Keystream) -> Elements:
        """The members' shares of a secret `[N]`: `[c, N/l + 1]`, the masking column last. `stream` is secret."""
        known = np.empty((self.dimension, self.columns + 1), np.uint32)
        known[: self.blocks, :-1] = secret.reshape(self.blocks, self.columns)
        known[self.blocks :, :-1] = uniform(stream, self.threshold * self.columns).reshape(self.threshold, self.columns)
        known[:, -1] = uniform(stream, self.dimension)
        dealt = matrix_product(interpolation(_below(self.dimension), _points(range(self.members))), known)
        known.fill(0)
        return dealt

    def challenge(self, context: bytes, root: bytes, party: int) -> Elements:
        """The weights `[N/l]` of the columns in the combinations of one party's shares.

        `root` is the Merkle root of all uploads' signatures: shares were sealed before it was known.
        """
        seed = hashlib.sha256(statement("challenge", context, root, party.to_bytes(4, "big"))).digest()
        return uniform(Keystream(seed[:KEY]), self.columns)

    def combination(self, share: Elements, weights: Elements) -> int:
        """What a member says of a share `[N/l + 1]`, which tells nothing of it."""
        products = share[:-1].astype(np.uint64) * weights % np.uint64(Q)
        return (int(products.sum()) + int(share[-1])) % Q

    def secret(self, members: Sequence[int], shares: Elements) -> Elements:
        """The secret `[N]` from the shares `[t + l, N/l]` of t + l members."""
        return matrix_product(interpolation(_points(members), _below(self.blocks)), shares).reshape(self.length)

    def consistent(self, members: Sequence[int], values: Elements) -> NDArray[np.bool_]:
        """For each column of `values` `[m, n]`, from m members, whether it lies on one polynomial."""
        first, rest = members[: self.dimension], members[self.dimension :]
        if not rest:
            return np.ones(values.shape[1], np.bool_)
        expected = matrix_product(interpolation(_points(first), _points(rest)), values[: self.dimension])
        fits: NDArray[np.bool_] = (expected == values[self.dimension :]).all(axis=0)
        return fits

    def astray(self, members: Sequence[int], values: Elements) -> tuple[int, ...] | None:
        """The members whose `values` `[m]` are off the polynomial that the others' lie on.

        None where there is no such polynomial within reach: of m values (m − t − l)/2 may be wrong.
        """
        points = np.array(_points(members), np.int64)
        locator = _recurrence(_syndromes(points, values, self.dimension))
        wrong = [place for place, point in enumerate(points.tolist()) if _vanishes(locator, point)]
        kept = [place for place in range(len(points)) if place not in wrong]
        if 2 * len(wrong) > len(points) - self.dimension:
            return None
        if not self.consistent([members[place] for place in kept], values[kept, None])[0]:
            return None
        return tuple(members[place] for place in wrong)


def _points(members: Sequence[int]) -> tuple[int, ...]:
    return tuple(member + 1 for member in members)


def _below(number: int) -> tuple[int, ...]:
    return tuple(range(-1, -number - 1, -1))


def _syndromes(points: NDArray[np.int64], values: Elements, dimension: int) -> list[int]:
    """Σ v·y·x^k over the points, for k below m − `dimension`: all zero for values on one polynomial.

    The v are the column multipliers of the dual of a Reed–Solomon code, 1/Π (x − x') over the other points.
    """
    apart = differences(points, points)
    np.fill_diagonal(apart, 1)
    terms = times(inverse(row_products(apart)), values)
    found = []
    for _ in range(len(points) - dimension):
        found.append(int(terms.sum(dtype=np.uint64)) % Q)
        terms = times(terms, points)
    return found


def _recurrence(sequence: Sequence[int]) -> list[int]:
    """The shortest linear recurrence of a sequence (Berlekamp 1968; Massey 1969): 1, c₁, c₂, …"""
    current, previous, length, shift, divisor = [1], [1], 0, 1, 1
    for place, value in enumerate(sequence):
        gap = (value + sum(current[k] * sequence[place - k] for k in range(1, min(length, len(current) - 1) + 1))) % Q
        if not gap:
            shift += 1
            continue
        factor, before = gap * pow(divisor, -1, Q), current
        current = current + [0] * (len(previous) + shift - len(current))
        for k, coefficient in enumerate(previous):
            current[k + shift] = (current[k + shift] - factor * coefficient) % Q
        if 2 * length <= place:
            previous, length, shift, divisor = before, place + 1 - length, 1, gap
        else:
            shift += 1
    return current


def _vanishes(locator: Sequence[int], point: int) -> bool:
    """Whether `locator` has the inverse of `point` as a root."""
    value = 0
    for coefficient in locator:
        value = (value * point + coefficient) % Q
    return value == 0
