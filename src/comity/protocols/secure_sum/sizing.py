"""How large a committee is, how many corrupt members it withstands, and how many must answer."""

from __future__ import annotations

from itertools import count
from math import log, log1p
from typing import NamedTuple

import numpy as np

from comity.protocols.secure_sum.errors import TermsError
from comity.protocols.secure_sum.terms import MAX_COMMITTEE

_GREATEST_PACKING = 32
_LOG_FACTORIALS = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, MAX_COMMITTEE + 1)))])


class Size(NamedTuple):
    """c members, of whom t may be corrupt, and Q of whom must answer."""

    c: int
    t: int
    q: int

    @property
    def blocks(self) -> int:
        """l, the blocks that a secret is cut into: as many, by powers of two, as leave half of Q − t answers to spare.

        Shares are N/l + 1 elements long, and t + l answers are needed; the spare ones expose members that lie.
        """
        most = max(1, min(_GREATEST_PACKING, (self.q - self.t) // 2))
        return int(1 << (most.bit_length() - 1))


def size(corrupt: float, dropout: float, privacy: float = 2**-40, completion: float = 2**-20) -> Size:
    """The smallest committee drawn at random that serves.

    Of all candidates the fraction `corrupt` is corrupt, and each member fails to answer with probability `dropout`.
    More than t members are corrupt with probability at most `privacy`, and fewer than Q = ⌊(c + t)/2⌋ + 1 answer with
    probability at most `completion` (binomial tails: candidates are many). Raises `TermsError` where no committee of at
    most 1024 does.

    For `privacy` 2⁻⁴⁰ and `completion` 2⁻²⁰ this is the specification's table: (.05, .1) 59/20/40, (.05, .2) 126/29/78,
    (.1, .1) 76/31/54, (.1, .2) 173/50/112.
    """
    t = 1
    for c in range(2, MAX_COMMITTEE + 1):
        t = next(t for t in count(t) if _more_than(t, c, corrupt) <= privacy)  # a larger committee has no smaller t
        found = Size(c, t, (c + t) // 2 + 1)
        if found.q <= c and _more_than(c - found.q, c, dropout) <= completion:
            return found
    raise TermsError(
        f"no committee of at most {MAX_COMMITTEE} serves where {corrupt:g} are corrupt and {dropout:g} do not answer",
        where="committee",
        mend="better members, helpers instead of a committee, or weaker demands",
    )


def consortium(n: int) -> Size:
    """The committee of n silos: all of them, t = ⌊(n − 1)/3⌋, Q = ⌊(n + t)/2⌋ + 1. Raises `TermsError` below four."""
    if n < 4:
        raise TermsError(f"among {n} silos none may be corrupt", where="committee", mend="helpers, or four silos")
    t = (n - 1) // 3
    return Size(n, t, (n + t) // 2 + 1)


def _more_than(least: int, trials: int, chance: float) -> float:
    """The probability that more than `least` of `trials` events happen."""
    k = np.arange(least + 1, trials + 1)
    ways = _LOG_FACTORIALS[trials] - _LOG_FACTORIALS[k] - _LOG_FACTORIALS[trials - k]
    chance = min(max(chance, 1e-300), 1 - 1e-16)
    return float(np.exp(ways + k * log(chance) + (trials - k) * log1p(-chance)).sum())
