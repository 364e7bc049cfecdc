"""Record-level privacy of local training, as data: what DP-SGD clips, what it adds, and which records it samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from comity.core.checks import nonnegative, positive
from comity.core.errors import LearnerError
from comity.privacy.accounting import Release
from comity.privacy.entropy import Bits
from comity.privacy.mechanisms import Gaussian
from comity.privacy.sampling import Poisson
from comity.privacy.units import PartySampleLevel

if TYPE_CHECKING:
    from comity.learners.plan import LocalPlan

_WORDS = 1 << 20
"""Random words drawn at a time, however many records there are."""


@dataclass(frozen=True)
class RecordPrivacy:
    """DP-SGD at the party (Abadi et al. 2016, arXiv 1607.00133): each record's gradient is clipped, and noise is added.

    A step samples every record with probability `batch_size / n` on its own (Poisson sampling, not shuffled batches),
    scales each sampled record's gradient to an L2 norm of at most `clip`, adds Gaussian noise of standard deviation
    `multiplier · clip` to their sum, and divides by the expected batch size. A record whose gradient is not finite
    counts as zero, and a step without records is noise alone. The unit is the record: two data sets are neighbours
    when one record counts as zero in the second. The number of records `n` is taken as known.

    The sample, the noise and dropout come from the operating system and never from the experiment's seed, so two runs
    of one job differ. Whoever knows the seed, and the server does, would otherwise know who was sampled, and sampling
    would hide nobody.

    The mean training loss is left out of what the party returns, because it is computed on the records without noise;
    `report_loss=True` returns it as it is, and ε does not cover it. `multiplier=0` adds no noise and has no ε.
    """

    clip: float
    multiplier: float
    report_loss: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        positive(self, "clip")
        nonnegative(self, "multiplier")

    def release(self, examples: int, plan: LocalPlan, rounds: int = 1) -> Release[PartySampleLevel]:
        """What `rounds` rounds cost the records of a party that has `examples` of them and does all of `plan` in each.

        A party that is asked in fewer rounds, or does less of the work, spends less. Raises `ConfigError` where there
        is no noise.
        """
        rate = expected_batch(plan.batch_size, examples) / examples
        steps = plan.batches(examples) * rounds
        return Release("a step of local training", PartySampleLevel(), Gaussian(self.multiplier), Poisson(rate), steps)


def expected_batch(planned: int | None, examples: int) -> int:
    """The mean size of a sample: the planned batch, at most all records."""
    return examples if planned is None else min(planned, examples)


def poisson_sample(expected: int, examples: int) -> NDArray[np.int64]:
    """Positions of the records that one step sees: each of `examples` with probability `expected / examples`.

    The probability is rounded down to a multiple of 2⁻⁶⁴. Randomness is the operating system's.
    """
    if expected >= examples:
        return np.arange(examples)
    below = np.uint64((expected << 64) // examples)
    bits = Bits()
    parts = [
        start + np.flatnonzero(bits.words(min(_WORDS, examples - start)) < below)
        for start in range(0, examples, _WORDS)
    ]
    return np.concatenate(parts)


def refuse_record_privacy(plan: LocalPlan, where: str) -> None:
    """Raise `LearnerError` where `plan` asks for record-level privacy, for a learner that cannot give it."""
    if plan.privacy is not None:
        raise LearnerError(
            "it gives no gradient of a single record, which record-level privacy clips",
            where=where,
            mend="use ct.torch.Model, or leave privacy out of the plan",
        )
