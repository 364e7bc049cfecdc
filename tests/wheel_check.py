"""Run by `make wheel` in an empty environment: the core works without extras, and says which one is missing."""

import sys
from collections.abc import Callable

import numpy as np

import comity as ct


def start(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"w": np.zeros(3)}


def fit(weights: dict, x: np.ndarray, y: np.ndarray, plan: ct.LocalSGD, rng: np.random.Generator) -> dict:
    w = weights["w"]
    for _ in range(20):
        w = w - plan.lr * x.T @ (x @ w - y) / len(y)
    return {"w": w}


def main() -> None:
    assert not {"torch", "sklearn", "pandas", "matplotlib"} & set(sys.modules)
    truth = np.array([1.0, -2.0, 0.5])
    x = np.random.default_rng(0).normal(size=(300, 3))
    data = ct.data.from_arrays(x.astype(np.float32), (x @ truth).astype(np.float32)).split(
        ct.data.IID(parties=5), seed=1
    )
    program = ct.FedAvg(ct.Function(start, fit), ct.LocalSGD(lr=0.1))
    run = ct.run(ct.Job(program, ct.Rounds(count=10, cohort=3)), ct.Simulation(data))
    assert np.allclose(run.model.vector, truth, atol=0.05), run.model.vector
    assert "comity[frames]" in refusal(run.history.frame)


def refusal(call: Callable[[], object]) -> str:
    try:
        call()
    except ct.ComityError as error:
        return str(error)
    raise AssertionError("a package is not here, and nobody said so")


if __name__ == "__main__":
    main()
