"""FedAvg in FedJAX: its own algorithm with its jit backend, which computes on all cores."""

from __future__ import annotations

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import fedjax
import jax
import numpy as np
from fedjax.algorithms import fed_avg
from jax import lax
from jax import numpy as jnp
from measure import versions
from workloads import Mnist, Result, Stopwatch, Workload, accuracy, features, initial, load_mnist, partition, task

if not hasattr(jax, "tree_map"):
    jax.tree_map = jax.tree_util.tree_map  # FedJAX 0.0.17 is older than the end of this name


def starting_params(model: str) -> list[jax.Array]:
    """The common starting weights, as FedJAX's own models hold them: dense `[in, out]`, filters HWIO, images NHWC."""
    params = [jnp.asarray(np.moveaxis(a, (0, 1), (3, 2)) if a.ndim == 4 else a.T) for a in initial(model)]
    if model == "cnn":
        rows = np.asarray(params[4]).reshape(64, 7, 7, 512)
        params[4] = jnp.asarray(np.moveaxis(rows, 0, 2).reshape(3136, 512))
    return params


def logits(params: list[jax.Array], x: jax.Array) -> jax.Array:
    """`[n, 10]`; parameters of four dimensions are convolutions followed by pooling, the others are dense."""
    for i in range(0, len(params), 2):
        weight, bias = params[i : i + 2]
        if weight.ndim == 4:
            x = lax.conv_general_dilated(x, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + bias
            x = lax.reduce_window(jax.nn.relu(x), -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        else:
            x = x.reshape(len(x), -1) @ weight + bias
            x = jax.nn.relu(x) if i < len(params) - 2 else x
    return x


def loss(params: list[jax.Array], batch: dict[str, jax.Array], rng: jax.Array) -> jax.Array:
    """The mean cross-entropy of a batch."""
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits(params, batch["x"])), batch["y"][:, None], axis=1)
    return -chosen.mean()


def images(raw: np.ndarray, model: str) -> np.ndarray:
    """Features with the channel last."""
    x = features(raw, model)
    return x.reshape(-1, 28, 28, 1) if model == "cnn" else x


def clients(workload: Workload, data: Mnist) -> fedjax.FederatedData:
    """The federation in memory, as FedJAX recommends for small data sets."""
    return fedjax.InMemoryFederatedData(
        {
            client: {"x": images(data.x_train[rows], workload.model), "y": data.y_train[rows]}
            for client, rows in enumerate(partition(workload))
        }
    )


def main() -> None:
    given = task(("jit",))
    workload, data = given.workload, load_mnist(given.data)
    fedjax.set_for_each_client_backend("jit")
    algorithm = fed_avg.federated_averaging(
        jax.grad(loss),
        fedjax.optimizers.sgd(workload.lr),
        fedjax.optimizers.sgd(1.0),
        fedjax.ShuffleRepeatBatchHParams(batch_size=workload.batch_size, num_epochs=workload.epochs),
    )
    sampler = fedjax.client_samplers.UniformGetClientSampler(clients(workload, data), workload.cohort, seed=0)
    state = algorithm.init(starting_params(workload.model))
    watch = Stopwatch()
    for _ in range(given.rounds):
        state, _ = algorithm.apply(state, sampler.sample())
        jax.block_until_ready(state.params)
        watch.tick()
    predict = jax.jit(lambda x: logits(state.params, x).argmax(1))
    right = accuracy(
        lambda x: np.asarray(predict(x.reshape(-1, 28, 28, 1) if workload.model == "cnn" else x)), data, workload.model
    )
    Result(watch.seconds, right, versions("fedjax", "jax", "jaxlib")).write(given.out)


if __name__ == "__main__":
    main()
