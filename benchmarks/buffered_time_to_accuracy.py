"""Time to accuracy, synchronous against buffered asynchronous (FedBuff, Nguyen et al. 2022, arXiv 2106.06639).

MNIST over 1,000 parties of about 60 images, Dirichlet(0.3), the 2NN. Devices differ in speed and bandwidth by a
log-normal factor exp(z), so that the slowest of 30 takes about eight times as long as the median. Compared are
synchronous rounds that wait for all 30 of a cohort, synchronous rounds that ask 30 % more and close with the first 30
(Bonawitz et al. 2019, arXiv 1902.01046), and a buffer of 10 with 30 parties at work. Time is virtual: that of the
devices, not of this machine.
"""

from __future__ import annotations

import networks
from study import Options, Study, load, mean_sd, options, rounds_to

import comity as ct
from comity.coordination.staleness import Constant

CONCURRENCY = 30
DEVICES = ct.Devices(speed=20.0, speed_spread=1.0, down=1e6, up=2.5e5, bandwidth_spread=1.0)

Policy = ct.Rounds | ct.Buffered


def policies(rounds: int) -> dict[str, Policy]:
    """The policies by name; the buffered one makes more, smaller updates."""
    return {
        "synchronous": ct.Rounds(count=rounds, cohort=CONCURRENCY),
        "synchronous, 30 % over-selected": ct.Rounds(count=rounds, cohort=CONCURRENCY, over_select=0.3),
        "buffered, buffer 10": ct.Buffered(count=4 * rounds, buffer=10, concurrency=CONCURRENCY),
        "buffered, buffer 10, no staleness weight": ct.Buffered(
            count=4 * rounds, buffer=10, concurrency=CONCURRENCY, staleness=Constant()
        ),
    }


def reached(
    policy: Policy, data: ct.data.Parties, target: float, seed: int, asked: Options
) -> tuple[float, float] | None:
    """Virtual seconds and contributions until the target; None where it is not reached."""
    model = ct.torch.Model(networks.perceptron)
    job = ct.Job(
        program=ct.FedAvg(model, ct.LocalSGD(lr=0.1, epochs=1, batch_size=10)),
        rounds=policy,
        stop=ct.EarlyStopping("accuracy", target=target),
        seed=seed,
    )
    run = ct.run(job, ct.Simulation(data, DEVICES, workers=asked.workers))
    seconds = rounds_to(run, target, against="time")
    return None if seconds is None else (seconds, sum(run.history.column("parties")))


def main() -> None:
    asked = options(__doc__ or "")
    target, rounds = (0.80, 60) if asked.quick else (0.92, 300)
    seeds = range(1 if asked.quick else asked.seeds)
    header = ("policy", "virtual minutes", "faster than synchronous", "contributions")
    study = Study("buffered_time_to_accuracy", asked, header)
    mnist = load("mnist", asked)
    splits = {seed: mnist.split(ct.data.Dirichlet(1000, alpha=0.3), seed=seed, heldout=0.0) for seed in seeds}
    first: list[float] = []
    for title, policy in policies(rounds).items():
        found = [reached(policy, splits[seed], target, seed, asked) for seed in seeds]
        study.note(f"{title}: {found}")
        study.results.append({"policy": title, "target": target, "seconds_and_contributions": found})
        if any(one is None for one in found):
            study.rows.append([title, "not reached", "–", "–"])
            continue
        seconds = [one[0] for one in found if one is not None]
        first = first or seconds
        ratios = [slow / fast for slow, fast in zip(first, seconds, strict=True)]
        contributions = [one[1] for one in found if one is not None]
        minutes = mean_sd(seconds, digits=0, scale=1 / 60)
        study.rows.append([title, minutes, f"{mean_sd(ratios)} ×", mean_sd(contributions, digits=0)])
        study.save()
    study.publish([f"Until a test accuracy of {target:.0%}, over {len(seeds)} seeds."])


if __name__ == "__main__":
    main()
