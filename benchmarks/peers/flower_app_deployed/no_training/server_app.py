"""Flower's own FedAvg over all nodes; the end of every round is noted."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    config = context.run_config
    nodes, place = int(config["nodes"]), Path(str(config["notes"]))
    ends: list[float] = []

    def after(round: int, arrays: ArrayRecord) -> MetricRecord | None:
        ends.append(time.time())
        draft = place / "rounds.draft"
        draft.write_text(json.dumps(ends))
        draft.replace(place / "rounds.json")
        return None

    strategy = FedAvg(
        fraction_train=1.0,
        fraction_evaluate=0.0,
        min_train_nodes=nodes,
        min_evaluate_nodes=0,
        min_available_nodes=nodes,
    )
    strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord([np.zeros(int(config["parameters"]), dtype=np.float32)]),
        num_rounds=int(config["rounds"]),
        train_config=ConfigRecord({"notes": str(place)}),
        evaluate_fn=after,
    )
