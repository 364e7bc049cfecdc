"""What noise in a job's chain gives: where it contradicts the rest of the job, and what it releases, for accounting."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from comity.coordination.synchronous import Rounds
from comity.core.errors import ConfigError
from comity.jobs.explain import Explanation, Leaving
from comity.privacy.accounting import Release
from comity.privacy.mechanisms import BandedMatrix, Gaussian
from comity.privacy.sampling import Full
from comity.privacy.units import PartyLevel
from comity.transforms.adaptive import WITHIN, AdaptiveClip
from comity.transforms.chain import Chain
from comity.transforms.clip import Clip
from comity.transforms.correlated import CorrelatedNoise
from comity.transforms.noise import GaussianNoise

if TYPE_CHECKING:
    from comity.jobs.job import Job

Noise: TypeAlias = GaussianNoise | CorrelatedNoise

_MEANS = "a mean of contributions"
_SHARE = "how many were within the norm"


def noise_in(chain: Chain) -> Noise | None:
    """The part that hides single parties in the aggregate, where the chain has one."""
    return next((part for part in chain.split()[2] if isinstance(part, Noise)), None)


def adaptive_in(chain: Chain) -> AdaptiveClip | None:
    return next((part for part in chain.split()[0] if isinstance(part, AdaptiveClip)), None)


def check_private(job: Job) -> None:
    """Raise `ConfigError` where clipping and noise do not fit each other, the reducer or the rounds."""
    before, _, after = job.chain.split()
    adaptive, noise = adaptive_in(job.chain), noise_in(job.chain)
    if adaptive is not None:
        _uniform(job, "AdaptiveClip counts every party once")
        if any(isinstance(part, AdaptiveClip) for part in before[:-1]):
            raise _refusal(
                "what comes after AdaptiveClip would change what it has clipped", "put it last before the reducer"
            )
    if noise is None:
        return
    name = type(noise).__name__
    if not (before and isinstance(before[-1], Clip | AdaptiveClip)):
        raise _refusal(
            f"{name} hides what one party can do, and nothing bounds that",
            f'clip last before the reducer: Clip(1.0) >> Mean(weights="uniform") >> {name}(…)',
        )
    _uniform(job, f"{name} hides every party equally")
    if any(not isinstance(part, Clip) for part in after[: after.index(noise)]):
        raise _refusal(f"what comes before {name} could make what it hides larger", f"put {name} behind the reducer")
    if sum(isinstance(part, Noise) for part in after) > 1:
        raise _refusal("there is noise twice", "leave one of them out, and raise the multiplier of the other")
    if not isinstance(job.rounds, Rounds):
        raise ConfigError(
            f"a party can be counted twice in one buffered update, which {name} does not hide",
            where="job.rounds",
            mend="use Rounds(...)",
        )
    if isinstance(noise, CorrelatedNoise):
        _correlated(noise, adaptive, job.rounds)
    elif adaptive is not None and not adaptive.count_noise:
        twentieth = f"{job.rounds.cohort / 20:g}" if job.rounds.cohort else "a twentieth of the parties"
        raise _refusal(
            "AdaptiveClip learns from how many contributions were within the norm, and no noise hides that",
            f"give AdaptiveClip(count_noise={twentieth}), as Andrew et al. 2021",
        )


def releases(job: Job) -> tuple[Release[PartyLevel], ...]:
    """What a run of `job` makes known of its parties through noise: an account's entries, none without noise.

    No sampling is counted on: cohorts are drawn from the job's seed, which whoever has the manifest knows. So a party
    counts as taking part whenever it can. Weights and metrics, which have no noise, are not here.
    """
    noise, adaptive = noise_in(job.chain), adaptive_in(job.chain)
    if noise is None:
        return ()
    if isinstance(noise, CorrelatedNoise):
        mechanism = BandedMatrix(noise.multiplier, noise.matrix.sensitivity)
        return (Release("all running sums of contributions", PartyLevel(), mechanism, Full()),)
    times = participations(job)
    means = Release(_MEANS, PartyLevel(), Gaussian(noise.multiplier), Full(), times)
    if adaptive is None:
        return (means,)
    # A party's bit is +½ or −½, so it moves the count by half as much as a multiplier is measured against.
    share = Release(_SHARE, PartyLevel(), Gaussian(2 * adaptive.count_noise), Full(), times)
    return (means, share)


def protected(job: Job, explanation: Explanation) -> Explanation:
    """The explanation with what noise gives, and to which values it does not.

    No ε stands there: it depends on a δ, and `Account.of(*releases(job)).epsilon(delta)` is what computes it.
    """
    if noise_in(job.chain) is None and adaptive_in(job.chain) is None:
        return explanation
    return replace(explanation, leaving=tuple(_told(job, line) for line in explanation.leaving))


def _told(job: Job, line: Leaving) -> Leaving:
    of_share = line.value == f"metric {WITHIN}"
    if of_share:
        line = replace(line, meaning="whether the contribution was within the clipping norm, 1 or 0")
    if noise_in(job.chain) is None:
        return line
    if not of_share and line.value not in job.exchange.contribution:
        return replace(line, privacy=f"{line.privacy}; the noise on models does not cover it")
    release, rounds = releases(job)[of_share], participations(job)
    often = "in one round" if rounds == 1 else f"in up to {rounds} rounds"
    also = "" if line.privacy.startswith("no differential privacy") else f"; {line.privacy}"
    return replace(
        line,
        privacy=f"{release.unit} {often}, from those who see the models and not from the server: {release.mechanism}; "
        f"counts on no sampling; ε is for the account of the run to say{also}",
    )


def participations(job: Job) -> int:
    """In how many rounds one party can be counted."""
    return -(-job.rounds.count // job.rounds.separation)


def _correlated(noise: CorrelatedNoise, adaptive: AdaptiveClip | None, rounds: Rounds) -> None:
    matrix = noise.matrix
    kind = type(matrix).__name__
    if adaptive is not None:
        raise _refusal(
            "CorrelatedNoise takes back noise of earlier rounds, which was drawn for another norm",
            "use Clip(norm), or GaussianNoise",
        )
    if matrix.rounds < rounds.count:
        raise ConfigError(
            f"noise for {matrix.rounds} rounds, and the job has {rounds.count}",
            where="job.aggregator",
            mend=f"give {kind}(rounds={rounds.count}, …)",
        )
    needed = min(matrix.separation, rounds.count)
    if rounds.separation < needed:
        raise ConfigError(
            f"{kind} counts on {matrix.separation} rounds between those of a party, and the job keeps "
            f"{rounds.separation}",
            where="job.rounds.separation",
            mend=f"give Rounds(separation={needed}), or {kind}(separation={rounds.separation})",
        )


def _uniform(job: Job, why: str) -> None:
    if getattr(job.chain.split()[1], "weights", None) != "uniform":
        raise _refusal(f"{why}, and the reducer weighs them", 'use Mean(weights="uniform")')


def _refusal(what: str, mend: str) -> ConfigError:
    return ConfigError(what, where="job.aggregator", mend=mend)
