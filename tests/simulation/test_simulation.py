"""The federation of simulated parties refuses what it cannot run, with the mend."""

from typing import Any

import numpy as np
import pytest

import comity as ct
from support.quadratic import Points


def test_a_data_set_must_be_split_first() -> None:
    dataset = ct.data.from_arrays(np.ones((20, 2), np.float32), np.zeros(20, np.int64), name="mine")
    with pytest.raises(
        ct.ConfigError, match=r"Simulation\.data: .*not split[\s\S]*dataset\.split\(ct\.data\.IID\(10\)\)"
    ):
        ct.Simulation(dataset)  # type: ignore[arg-type]
    assert len(ct.Simulation(dataset.split(ct.data.IID(10))).data) == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "fp8"}, r"Simulation\.precision: precision is 'fp8'[\s\S]*'float32', 'bfloat16', 'float16'"),
        ({"devices": ct.Devices}, r"Simulation\.devices: the class Devices is no description of devices"),
    ],
)
def test_options_are_checked_when_it_is_built(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ct.ConfigError, match=message):
        ct.Simulation(Points.random(2), **options)
