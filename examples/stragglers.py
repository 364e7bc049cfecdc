"""Slow parties: rounds that wait for everyone against a server that moves whenever enough have answered.

Speeds and bandwidths are log-normal, so that a few parties take many times as long as most. Time is virtual: what the
same federation would take in the world (here, mostly waiting), computed in seconds.

    python examples/stragglers.py
"""

from torch import nn

import comity as ct
from comity.runs.history import History


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


TARGET = 0.93

data = ct.data.load("digits").split(ct.data.Dirichlet(parties=60, alpha=1.0))
devices = ct.Devices(speed=20, speed_spread=1.2, down=200_000, up=50_000, bandwidth_spread=0.8, failure=0.05)
model = ct.torch.Model(network, metrics=["accuracy"])
program = ct.FedAvg(model, ct.LocalSGD(lr=0.3, epochs=2, batch_size=8))
policies = {
    "waits for all 20": ct.Rounds(count=60, cohort=20),
    "takes the first 20 of 26": ct.Rounds(count=60, cohort=20, over_select=0.3),
    "buffer of 10, 20 at work": ct.Buffered(count=160, buffer=10, concurrency=20),
}
federation = ct.Simulation(data, devices=devices)
job = ct.Job(program, policies["buffer of 10, 20 at work"])


def seconds_to(history: History, target: float) -> float | None:
    """Virtual seconds until the accuracy on the common test set is reached."""
    return next((record.time for record in history if record.test["accuracy"] >= target), None)


if __name__ == "__main__":
    runs = {name: ct.run(ct.Job(program, policy), federation) for name, policy in policies.items()}
    print(f"virtual seconds to {TARGET:.0%} accuracy, and in all")
    for name, run in runs.items():
        reached = seconds_to(run.history, TARGET)
        shown = "not reached" if reached is None else f"{reached:.0f} s"
        print(f"  {name:<26} {shown:>11}   {run.history[-1].time:6.0f} s   {run.history[-1].test['accuracy']:.1%}")
    ct.plot_histories({name: run.history for name, run in runs.items()}, path="stragglers.png", against="time")
    print("curves over time in stragglers.png")
