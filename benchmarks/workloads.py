"""What the simulators are asked to do: the data, the partition, the models and the steps, without any framework.

Every peer runs this module in its own environment, so it needs NumPy alone and runs on Python 3.10 and later.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLASSES = 10
PIXELS = 28 * 28


@dataclass(frozen=True)
class Workload:
    """FedAvg with plain local SGD on MNIST.

    `sizes` are the least and the most images of a party. A full run measures `rounds` rounds, a quick one
    `quick_rounds`, each after one round to warm up.
    """

    name: str
    model: str
    parties: int
    cohort: int
    sizes: tuple[int, int]
    rounds: int
    quick_rounds: int
    lr: float = 0.1
    epochs: int = 1
    batch_size: int = 10


WORKLOADS = {
    w.name: w
    for w in (
        Workload("w1_2nn_10", "2nn", 100, 10, (600, 600), rounds=10, quick_rounds=4),
        Workload("w1_2nn_100", "2nn", 100, 100, (600, 600), rounds=3, quick_rounds=1),
        Workload("w1_cnn_10", "cnn", 100, 10, (600, 600), rounds=2, quick_rounds=1),
        Workload("w2_softmax_100", "softmax", 1000, 100, (20, 60), rounds=20, quick_rounds=8),
        Workload("w2_2nn_100", "2nn", 1000, 100, (20, 60), rounds=10, quick_rounds=4),
        Workload("w1_cnn_100", "cnn", 100, 100, (600, 600), rounds=2, quick_rounds=1),
    )
}
DEFAULT = tuple(name for name in WORKLOADS if name != "w1_cnn_100")

SHAPES: Mapping[str, Sequence[tuple[int, ...]]] = {
    "softmax": ((CLASSES, PIXELS), (CLASSES,)),
    "2nn": ((200, PIXELS), (200,), (200, 200), (200,), (CLASSES, 200), (CLASSES,)),
    "cnn": ((32, 1, 5, 5), (32,), (64, 32, 5, 5), (64,), (512, 3136), (512,), (CLASSES, 512), (CLASSES,)),
}


@dataclass(frozen=True)
class Mnist:
    """`[60000, 28, 28]` and `[10000, 28, 28]` uint8 images, and their labels as int64."""

    x_train: NDArray[np.uint8]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.uint8]
    y_test: NDArray[np.int64]


def load_mnist(folder: str | Path) -> Mnist:
    """MNIST from the four IDX files in `folder`, gzipped or not; the unzipped ones are mapped, not read."""

    def read(name: str, shape: tuple[int, ...], offset: int) -> NDArray[np.uint8]:
        plain = Path(folder) / name
        if plain.exists():
            return np.memmap(plain, dtype=np.uint8, mode="r", offset=offset, shape=shape)
        zipped = plain.with_name(name + ".gz")
        if not zipped.exists():
            raise SystemExit(f"{plain} is missing: put the four IDX files of MNIST into {folder}")
        return np.frombuffer(gzip.decompress(zipped.read_bytes()), np.uint8, offset=offset).reshape(shape)

    def split(prefix: str, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        images = read(f"{prefix}-images-idx3-ubyte", (count, 28, 28), offset=16)
        return images, read(f"{prefix}-labels-idx1-ubyte", (count,), offset=8).astype(np.int64)

    return Mnist(*split("train", 60_000), *split("t10k", 10_000))


def features(images: NDArray[np.uint8], model: str) -> NDArray[np.float32]:
    """Images as the model takes them, in [0, 1]: `[n, 1, 28, 28]` for the CNN, else `[n, 784]`."""
    shape = (len(images), 1, 28, 28) if model == "cnn" else (len(images), PIXELS)
    return images.reshape(shape).astype(np.float32) / np.float32(255)


def partition(workload: Workload, seed: int = 0) -> list[NDArray[np.int64]]:
    """For each party the positions of its images: IID, disjoint, with sizes drawn uniformly from `sizes`."""
    random = np.random.default_rng(seed)
    low, high = workload.sizes
    sizes = random.integers(low, high + 1, workload.parties)
    return np.split(random.permutation(60_000)[: sizes.sum()], np.cumsum(sizes)[:-1])


def initial(model: str, seed: int = 0) -> list[NDArray[np.float32]]:
    """The common starting weights and biases (in PyTorch's shapes and order): uniform in ±1/√fan-in, as PyTorch's."""
    random = np.random.default_rng(seed)
    arrays, bound = [], 0.0
    for shape in SHAPES[model]:
        bound = 1 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else bound
        arrays.append(random.uniform(-bound, bound, shape).astype(np.float32))
    return arrays


@dataclass(frozen=True)
class Task:
    """What a peer script is asked for on its command line."""

    workload: Workload
    variant: str
    rounds: int
    data: Path
    out: Path


def task(variants: Sequence[str]) -> Task:
    """The task given on the command line to a peer that can run in these `variants` (the first is the default)."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workload", choices=WORKLOADS, required=True)
    parser.add_argument("--variant", choices=variants, default=variants[0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds in all, the first of them to warm up")
    parser.add_argument("--data", type=Path, required=True, help="a folder with the four IDX files of MNIST")
    parser.add_argument("--json", type=Path, required=True, help="where the result goes")
    given = parser.parse_args()
    return Task(WORKLOADS[given.workload], given.variant, given.rounds, given.data.resolve(), given.json.resolve())


class Stopwatch:
    """Seconds between ticks; it starts when made."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last = perf_counter()

    def tick(self) -> None:
        """End a round."""
        now = perf_counter()
        self.seconds.append(now - self._last)
        self._last = now


@dataclass(frozen=True)
class Result:
    """What a peer measured: seconds of every round (the warm-up first) and the accuracy after the last one."""

    seconds: list[float]
    accuracy: float
    versions: dict[str, str]
    notes: str = ""

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Result:
        fields: dict[str, Any] = json.loads(path.read_text())
        return cls(**fields)


def accuracy(predict: Callable[[NDArray[np.float32]], NDArray[np.int64]], data: Mnist, model: str) -> float:
    """The share of the test images whose class `predict` (features to classes) gives."""
    right = sum(
        int((predict(features(data.x_test[i : i + 500], model)) == data.y_test[i : i + 500]).sum())
        for i in range(0, len(data.x_test), 500)
    )
    return right / len(data.x_test)
