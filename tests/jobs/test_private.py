"""Noise in a job: what it needs of the rest is checked when the job is built, and what it gives can be accounted."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

import comity as ct
from comity.coordination.synchronous import Rounds
from comity.jobs.private import noise_in, participations, releases
from comity.privacy.banded import BandedSquareRoot
from comity.privacy.mechanisms import BandedMatrix, Gaussian
from comity.privacy.sampling import Full, Relation
from comity.privacy.tree import BinaryTree
from comity.transforms.adaptive import AdaptiveClip
from comity.transforms.chain import Link
from comity.transforms.correlated import CorrelatedNoise
from comity.transforms.noise import GaussianNoise
from support.quadratic import Quadratic

PLAN = ct.LocalSGD(lr=0.1, epochs=1, batch_size=10)
UNIFORM = ct.Mean(weights="uniform")
FIXED = ct.Clip(1.0) >> UNIFORM >> GaussianNoise(0.8)
ADAPTIVE = AdaptiveClip(count_noise=0.5) >> UNIFORM >> GaussianNoise(0.8)
BANDED = ct.Clip(1.0) >> UNIFORM >> CorrelatedNoise(2.0, BandedSquareRoot(10, separation=3))
SPACED = ct.Rounds(count=10, cohort=3, separation=3)


def job(aggregator: Any, **changes: Any) -> ct.Job:
    parts: dict[str, Any] = {"program": ct.FedAvg(Quadratic(), PLAN), "rounds": ct.Rounds(count=10, cohort=3)}
    return ct.Job(aggregator=aggregator, **(parts | changes))


@pytest.mark.parametrize(
    ("aggregator", "rounds"),
    [
        (FIXED, ct.Rounds(count=10)),
        (ct.Clip(1.0) >> UNIFORM >> ct.Clip(2.0) >> GaussianNoise(0.8) >> ct.Clip(3.0), ct.Rounds(count=10)),
        (ADAPTIVE, ct.Rounds(count=10, cohort=3)),
        (ct.Clip(5.0) >> ADAPTIVE, ct.Rounds(count=10, cohort=3)),
        (AdaptiveClip() >> UNIFORM, ct.Buffered(count=5, buffer=2, concurrency=4)),
        (BANDED, SPACED),
        (ct.Clip(1.0) >> UNIFORM >> CorrelatedNoise(2.0, BinaryTree(12)), ct.Rounds(count=10)),
        (ct.Clip(1.0) >> UNIFORM >> CorrelatedNoise(2.0, BinaryTree(3, separation=9)), ct.Rounds(3, 2, separation=3)),
    ],
    ids=str,
)
def test_what_fits_together_is_a_job_whose_manifest_can_be_read_back(aggregator: Any, rounds: Any) -> None:
    built = job(aggregator, rounds=rounds)
    assert ct.Job.from_json(built.to_json(), objects=[Quadratic]).id == built.id


@pytest.mark.parametrize(
    ("aggregator", "rounds", "mend"),
    [
        (UNIFORM >> GaussianNoise(1.0), None, r"Clip\(1\.0\) >> Mean\(weights=\"uniform\"\) >> GaussianNoise"),
        (ct.Clip(1.0) >> ct.Mean() >> GaussianNoise(1.0), None, r'use Mean\(weights="uniform"\)'),
        (AdaptiveClip() >> ct.Mean(), None, r'use Mean\(weights="uniform"\)'),
        (AdaptiveClip() >> ct.Clip(1.0) >> UNIFORM, None, "last before the reducer"),
        (AdaptiveClip() >> AdaptiveClip() >> UNIFORM, None, "last before the reducer"),
        (FIXED >> GaussianNoise(1.0), None, "leave one of them out"),
        (FIXED, ct.Buffered(count=5, buffer=2, concurrency=4), r"use Rounds\("),
        (AdaptiveClip() >> UNIFORM >> GaussianNoise(1.0), None, r"AdaptiveClip\(count_noise=0\.15\)"),
        (AdaptiveClip() >> UNIFORM >> GaussianNoise(1.0), ct.Rounds(count=1), "a twentieth of the parties"),
        (AdaptiveClip() >> UNIFORM >> CorrelatedNoise(1.0, BinaryTree(10)), None, r"use Clip\(norm\)"),
        (BANDED, ct.Rounds(count=11, cohort=3, separation=3), r"BandedSquareRoot\(rounds=11"),
        (BANDED, None, r"give Rounds\(separation=3\), or BandedSquareRoot\(separation=1\)"),
    ],
)
def test_a_contradiction_is_refused_with_its_mend(aggregator: Any, rounds: Any, mend: str) -> None:
    with pytest.raises(ct.ConfigError, match=mend):
        job(aggregator, rounds=rounds or ct.Rounds(count=10, cohort=3))


@dataclass(frozen=True)
class Tenfold(Link):
    """A step of somebody's own."""

    def apply(self, aggregate: ct.Aggregate) -> ct.Aggregate:
        return replace(aggregate, vectors=aggregate.vectors.map(lambda array: array * 10))


def test_only_clipping_may_come_between_the_reducer_and_noise() -> None:
    with pytest.raises(ct.ConfigError, match="put GaussianNoise behind the reducer"):
        job(ct.Clip(1.0) >> UNIFORM >> Tenfold() >> GaussianNoise(1.0))
    assert job(FIXED >> Tenfold())


def test_a_program_of_numbers_is_not_clipped_adaptively() -> None:
    with pytest.raises(ct.ConfigError, match="clipping scales all of a contribution"):
        job(AdaptiveClip() >> UNIFORM, program=ct.FedNova(Quadratic(), PLAN))


def test_a_job_without_noise_releases_nothing_through_it() -> None:
    assert noise_in(job(ct.Clip(1.0) >> UNIFORM).chain) is None
    assert releases(job(AdaptiveClip() >> UNIFORM)) == ()


def test_a_party_counts_as_taking_part_in_every_round_that_it_can() -> None:
    """Whoever has the seed knows the cohorts, so no sampling is counted on."""
    (release,) = releases(job(FIXED))
    assert (release.mechanism, release.times) == (Gaussian(0.8), 10)
    assert release.sampling == Full()
    assert release.sampling.relation is Relation.ZERO_OUT
    assert releases(job(FIXED, rounds=SPACED))[0].times == 4
    assert participations(job(FIXED, rounds=Rounds(count=9, cohort=2, separation=3))) == 3


def test_adaptive_clipping_has_its_price() -> None:
    means, share = releases(job(ADAPTIVE))
    assert (means.mechanism, share.mechanism) == (Gaussian(0.8), Gaussian(1.0))
    assert means.times == share.times == 10


def test_correlated_noise_is_one_release_of_all_running_sums() -> None:
    (release,) = releases(job(BANDED, rounds=SPACED))
    assert release.mechanism == BandedMatrix(2.0, BandedSquareRoot(10, 3).sensitivity)
    assert release.times == 1


def test_the_explanation_says_what_noise_hides_and_what_it_does_not() -> None:
    weights, weight, loss, within = job(ADAPTIVE, rounds=SPACED).explain().leaving
    assert "all of one party's data in up to 4 rounds" in weights.privacy
    assert "not from the server: Gaussian, 0.8 × the clipping norm" in weights.privacy
    assert "Gaussian, 1 × the clipping norm" in within.privacy
    assert "whether the contribution was within" in within.meaning
    for line in (weight, loss):
        assert line.privacy.endswith("the noise on models does not cover it")
    assert "correlated Gaussian, 2 × the norm" in job(BANDED, rounds=SPACED).explain().leaving[0].privacy


def test_without_noise_the_explanation_promises_nothing() -> None:
    lines = job(AdaptiveClip() >> UNIFORM).explain().leaving
    assert {line.privacy for line in lines} == {"no differential privacy: ε is unbounded"}
