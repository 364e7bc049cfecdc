"""Server optimizers against their definitions (Reddi et al. 2020, algorithm 2), worked out by hand."""

import numpy as np
import pytest

from comity.programs import optim

W, D = np.array([1.0, 1.0]), np.array([0.5, -2.0])


def two_steps(optimizer: optim.ServerOptimizer) -> np.ndarray:
    weights, moments = optimizer.step(W, D, optimizer.init(W))
    return optimizer.step(weights, D, moments)[0]


def test_sgd_with_momentum_adds_up_velocity() -> None:
    assert np.allclose(two_steps(optim.SGD(lr=0.1, momentum=0.9)), W + 0.1 * D + 0.1 * 1.9 * D)


def test_adagrad() -> None:
    tau = 1e-3
    first = W + 0.1 * D / (np.sqrt(tau**2 + D**2) + tau)
    expected = first + 0.1 * D / (np.sqrt(tau**2 + 2 * D**2) + tau)
    assert np.allclose(two_steps(optim.Adagrad(lr=0.1)), expected)


@pytest.mark.parametrize("name", ["Adam", "Yogi"])
def test_adam_and_yogi(name: str) -> None:
    tau, b1, b2 = 1e-3, 0.9, 0.99
    w, m, v = W.copy(), np.zeros(2), np.full(2, tau**2)
    for _ in range(2):
        m = b1 * m + (1 - b1) * D
        v = b2 * v + (1 - b2) * D**2 if name == "Adam" else v - (1 - b2) * D**2 * np.sign(v - D**2)
        w = w + 0.1 * m / (np.sqrt(v) + tau)
    assert np.allclose(two_steps(getattr(optim, name)(lr=0.1)), w)


def test_the_same_code_runs_on_torch_tensors() -> None:
    torch = pytest.importorskip("torch")
    for optimizer in (optim.SGD(0.1, 0.9), optim.Adagrad(), optim.Adam(), optim.Yogi()):
        weights, _moments = optimizer.step(torch.tensor(W), torch.tensor(D), optimizer.init(torch.tensor(W)))
        expected, _ = optimizer.step(W, D, optimizer.init(W))
        assert isinstance(weights, torch.Tensor)
        assert np.allclose(weights.numpy(), expected)
