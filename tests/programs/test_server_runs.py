"""A large model is moved run by run, to the same bits as at once."""

import numpy as np
import pytest

import comity as ct
from comity.programs import server as module
from comity.programs.optim import ServerOptimizer
from comity.programs.server import Served, renew
from support.quadratic import Quadratic


@pytest.mark.parametrize(
    "server",
    [ct.optim.SGD(0.5), ct.optim.SGD(1.0, momentum=0.9), ct.optim.Adagrad(), ct.optim.Adam(), ct.optim.Yogi()],
    ids=lambda server: type(server).__name__,
)
def test_run_by_run_is_at_once(server: ServerOptimizer, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    weights, change = rng.normal(size=(2, 1001)).astype(np.float32)
    served = Served(weights, server.init(weights))
    layout = Quadratic(1001).layout
    once = renew(served, change.copy(), server, layout)
    monkeypatch.setattr(module, "is_large", lambda array: True)
    monkeypatch.setattr(module, "_RUN_ENTRIES", 100)
    by_runs = renew(served, change.copy(), server, layout)
    np.testing.assert_array_equal(by_runs.weights, once.weights)
    for name in ("first", "second"):
        ours, theirs = getattr(by_runs.moments, name), getattr(once.moments, name)
        assert (ours is None) == (theirs is None)
        if ours is not None:
            np.testing.assert_array_equal(ours, theirs)
