"""A client that adds a number of its own to every weight, and notes when it was called and when it had answered."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    called = time.time()
    (weights,) = message.content["arrays"].to_numpy_ndarrays()
    changed = weights + np.float32(np.random.default_rng().normal())
    content = RecordDict({"arrays": ArrayRecord([changed]), "metrics": MetricRecord({"num-examples": 1})})
    answer = Message(content=content, reply_to=message)
    note = {"round": int(message.content["config"]["server-round"]), "called": called, "answered": time.time()}
    place = Path(str(message.content["config"]["notes"]))
    (place / f"client-{context.node_id}-{note['round']}-{os.getpid()}.json").write_text(json.dumps(note))
    return answer
