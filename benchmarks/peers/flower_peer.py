"""FedAvg in Flower's simulation runtime: Ray, two actors of one CPU each, Flower's own FedAvg strategy."""

from __future__ import annotations

import os

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from flower_app import app
from flwr.app import ArrayRecord, ConfigRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from measure import versions
from torch_common import network, test_accuracy
from workloads import Result, Stopwatch, load_mnist, task


def main() -> None:
    given = task(("ray",))
    workload = given.workload
    net = network(workload.model)
    server = ServerApp()
    rounds: list[float] = []

    @server.main()
    def serve(grid: Grid, context: Context) -> None:
        strategy = FedAvg(
            fraction_train=workload.cohort / workload.parties,
            fraction_evaluate=0.0,
            min_train_nodes=workload.cohort,
            min_available_nodes=workload.parties,
        )
        watch = Stopwatch()

        def after(round: int, arrays: ArrayRecord) -> MetricRecord | None:
            watch.tick()
            return None

        result = strategy.start(
            grid=grid,
            initial_arrays=ArrayRecord(net.state_dict()),
            num_rounds=given.rounds,
            train_config=ConfigRecord({"workload": workload.name, "data": str(given.data)}),
            evaluate_fn=after,
        )
        net.load_state_dict(result.arrays.to_torch_state_dict())
        rounds.extend(watch.seconds[1:])  # the first tick comes before the first round

    run_simulation(
        server_app=server,
        client_app=app,
        num_supernodes=workload.parties,
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {"num_cpus": 2, "include_dashboard": False},
        },
    )
    right = test_accuracy(net, load_mnist(given.data), workload.model)
    Result(rounds, right, versions("flwr", "ray", "torch")).write(given.out)


if __name__ == "__main__":
    main()
