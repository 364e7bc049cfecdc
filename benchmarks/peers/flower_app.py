"""What a Flower client does; a module of its own so that Ray's workers import it once and keep model and data."""

from __future__ import annotations

from functools import cache

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import nn
from torch_common import network, party_tensors, train
from workloads import WORKLOADS, load_mnist, partition

app = ClientApp()
mnist = cache(load_mnist)
rows = cache(partition)


@cache
def resident(model: str) -> nn.Module:
    """One model for each worker."""
    torch.set_num_threads(1)
    return network(model)


@app.train()
def at_client(message: Message, context: Context) -> Message:
    """Train on the client's partition."""
    config = message.content["config"]
    workload = WORKLOADS[config["workload"]]
    net = resident(workload.model)
    net.load_state_dict(message.content["arrays"].to_torch_state_dict())
    mine = rows(workload)[int(context.node_config["partition-id"])]
    train(net, *party_tensors(mnist(config["data"]), mine, workload.model), workload)
    content = RecordDict(
        {"arrays": ArrayRecord(net.state_dict()), "metrics": MetricRecord({"num-examples": len(mine)})}
    )
    return Message(content=content, reply_to=message)
