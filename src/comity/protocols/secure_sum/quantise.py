"""From a contribution to whole numbers that can be summed without wrapping, and from their sum back.

Each coordinate of [w·Δ, w, w·metrics] is scaled by B / bound of its part and rounded stochastically, ⌊y⌋ + [u <
frac(y)] with u of 32 random bits from the operating system's generator: unbiased to 2⁻³². B leaves room for n_max
parties, so no sum of them reaches half the modulus; numbers are signed and need no offset, so nothing has to be known
of who dropped.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from comity.protocols.secure_sum.errors import QuantisationError
from comity.protocols.secure_sum.masks import RUN, Masks
from comity.protocols.secure_sum.terms import Part, Terms

Token = Callable[[int], bytes]
"""Gives so many bytes that nobody can foretell; one other than `secrets.token_bytes` is for known answers alone."""

_SLACK = 1e-6


@dataclass(frozen=True, eq=False)
class Weighted:
    """What one party contributes before it is weighted: a vector `[D]`, its weight, and metrics per unit of weight."""

    vector: NDArray[np.floating]
    weight: float
    metrics: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Sums:
    """What is learnt of all: Σ w·Δ `[D]` in float32, Σ w, and Σ w·metrics. The mean is their quotient."""

    vector: NDArray[np.float32]
    weight: float
    metrics: Mapping[str, NDArray[np.float64]]


class _Stretch(NamedTuple):
    """A part as it is put on the grid: its values, each times `factor`."""

    part: Part
    values: NDArray[np.floating]
    factor: float


@dataclass(frozen=True)
class Grid:
    """Whole numbers of at most `steps` (B) in absolute value, one scale a part.

    `headroom` is left beside each for noise or error.
    """

    parts: tuple[Part, ...]
    steps: int
    modulus: int
    headroom: int = 0

    @classmethod
    def of(cls, terms: Terms) -> Grid:
        return cls(terms.parts, terms.steps, terms.modulus, terms.headroom)

    @property
    def resolution(self) -> float:
        """How finely a coordinate is told apart between −bound and bound, in bits: log₂(2B + 1)."""
        return math.log2(2 * self.steps + 1)

    @property
    def length(self) -> int:
        return sum(part.length for part in self.parts)

    def scale(self, part: Part) -> float:
        """Grid steps per unit of a part's coordinates."""
        return self.steps / part.bound

    def rounded(self, given: Weighted, token: Token = secrets.token_bytes) -> Iterator[NDArray[np.int32]]:
        """The coordinates [w·Δ, w, w·metrics] on the grid, run by run, rounded at random.

        Raises `QuantisationError`, before there is a first run, where a coordinate is not finite or beyond its bound,
        or where the contribution has other parts than the terms.
        """
        stretches = self._stretches(given)
        for stretch in stretches:
            self._check(stretch)
        return self._runs(stretches, Masks([token(16)]))

    def restored(self, total: Iterable[NDArray[np.uint32]], count: int) -> Iterator[NDArray[np.float64]]:
        """A sum of `count` parties, run by run of whatever length, back in the units of the parts.

        Raises `QuantisationError` where a coordinate is more than `count` parties can add up to: one of them, or a
        helper or member, did not keep to the protocol.
        """
        scales = [(part.length, self.scale(part)) for part in self.parts]
        most, left = count * (self.steps + self.headroom), self.length
        for run in (long[start : start + RUN] for long in total for start in range(0, len(long), RUN)):
            if len(run) > left:
                raise QuantisationError(f"the sum has more than {self.length} coordinates", where="sum")
            numbers = self._centred(run)
            if max(int(numbers.max(initial=0)), -int(numbers.min(initial=0))) > most:
                raise QuantisationError(
                    f"a coordinate is beyond what {count} parties can add up to",
                    where="sum",
                    mend="the attempt is abandoned: somebody's numbers were not on the grid, or an answer is wrong",
                )
            yield _unscaled(numbers, scales, self.length - left)
            left -= len(run)
        if left:
            raise QuantisationError(f"the sum lacks {left} of {self.length} coordinates", where="sum")

    def sums(self, total: Iterable[NDArray[np.uint32]], count: int) -> Sums:
        """The same, taken apart: the first part is the vector, the second the weight, the rest are metrics."""
        vector = np.empty(self.parts[0].length, dtype=np.float32)
        rest = np.empty(self.length - len(vector))
        at = 0
        for run in self.restored(total, count):
            head = run[: max(0, len(vector) - at)]
            vector[at : at + len(head)] = head
            after = at + len(head) - len(vector)
            rest[max(0, after) : max(0, after) + len(run) - len(head)] = run[len(head) :]
            at += len(run)
        metrics, place = {}, 1
        for part in self.parts[2:]:
            metrics[part.name] = rest[place : place + part.length].copy()
            place += part.length
        return Sums(vector, float(rest[0]), metrics)

    def _stretches(self, given: Weighted) -> list[_Stretch]:
        names = [part.name for part in self.parts]
        if names[:2] != ["vector", "weight"] or set(names[2:]) != set(given.metrics):
            raise QuantisationError(
                f"a contribution of vector, weight and {sorted(given.metrics)} does not fit the parts {names}",
                where="contribution",
            )
        if not (math.isfinite(given.weight) and given.weight >= 0):
            raise QuantisationError(f"the weight is {given.weight!r}", where="contribution")
        values = {"vector": given.vector, "weight": np.ones(1), **given.metrics}
        return [_Stretch(part, values[part.name], given.weight * self.scale(part)) for part in self.parts]

    def _check(self, stretch: _Stretch) -> None:
        part, values = stretch.part, stretch.values
        if values.shape != (part.length,):
            raise QuantisationError(f"{part.name} has shape {values.shape}, not ({part.length},)", where="contribution")
        for start in range(0, part.length, RUN):
            run = values[start : start + RUN]
            greatest = max(float(run.max()), -float(run.min())) * stretch.factor
            if not math.isfinite(greatest):
                raise QuantisationError(f"{part.name} is not finite", where="contribution", mend="it is not sent")
            if greatest > self.steps * (1 + _SLACK):
                raise QuantisationError(
                    f"{part.name} goes up to {greatest / self.scale(part):g}, beyond its bound {part.bound:g}",
                    where="contribution",
                    mend="clip before quantising, or have the terms allow for more",
                )

    def _runs(self, stretches: list[_Stretch], bits: Masks) -> Iterator[NDArray[np.int32]]:
        place = 0
        for stretch in stretches:
            for start in range(0, stretch.part.length, RUN):
                scaled = np.multiply(stretch.values[start : start + RUN], stretch.factor, dtype=np.float64)
                random = np.zeros(len(scaled), dtype=np.uint32)
                bits.add(place, random)
                place += len(scaled)
                yield _stochastic(np.clip(scaled, -self.steps, self.steps, out=scaled), random)

    def _centred(self, run: NDArray[np.uint32]) -> NDArray[np.int64]:
        if self.modulus == 1 << 32:
            return run.view(np.int32).astype(np.int64)
        numbers = run.astype(np.int64)
        numbers[numbers > self.modulus // 2] -= self.modulus
        return numbers


def _stochastic(scaled: NDArray[np.float64], random: NDArray[np.uint32]) -> NDArray[np.int32]:
    """⌊y⌋ + [u < frac(y)], u = random / 2³²; `scaled` is used up."""
    whole = np.floor(scaled)
    fraction = np.subtract(scaled, whole, out=scaled)
    fraction *= 2.0**32
    whole += random < fraction
    return whole.astype(np.int32)


def _unscaled(numbers: NDArray[np.int64], scales: list[tuple[int, float]], start: int) -> NDArray[np.float64]:
    values, begin = numbers.astype(np.float64), 0
    for length, scale in scales:
        low, high = max(begin - start, 0), max(begin + length - start, 0)
        values[low:high] /= scale
        begin += length
    return values
