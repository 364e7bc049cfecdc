"""What a call into torch sets and puts back: random state, threads, precision, and the kind of array at the border."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from comity.core.arrays import Array
from comity.core.errors import LearnerError
from comity.core.seeds import Seed
from comity.learners.base import Hardware, Precision

_HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_FLOAT16_LOSS_SCALE = 1024.0


def open_device(name: str) -> torch.device:
    """The device of that name. Raises `LearnerError` where it is not there."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise LearnerError(
            f"no device {name!r} here: {str(error).splitlines()[0]}",
            where="Hardware.device",
            mend='use "cpu", or a torch built for that device',
        ) from error
    return device


@contextmanager
def session(device: torch.device, hardware: Hardware) -> Iterator[None]:
    """Run with the trainer's threads and reproducible kernels; the caller's random state and threads come back."""
    accelerators = [device] if device.type == "cuda" else []
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=accelerators), _reproducible_kernels() if accelerators else nullcontext():
        if threads != hardware.threads:
            torch.set_num_threads(hardware.threads)
        try:
            yield
        finally:
            if threads != hardware.threads:
                torch.set_num_threads(threads)


def _reproducible_kernels() -> AbstractContextManager[None]:
    cudnn = torch.backends.cudnn
    flags: AbstractContextManager[None] = cudnn.flags(
        cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=cudnn.allow_tf32
    )
    return flags


def start_noise(seed: Seed, device: torch.device) -> None:
    """Start the noise of one party's dropout, so that it depends on nothing but the party's seed."""
    number = seed.child("dropout").integer()
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(number)


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The autocast context of a compute precision; weights stay float32."""
    enabled = precision != "float32"
    return torch.autocast(device.type, dtype=_HALF.get(precision, torch.bfloat16), enabled=enabled, cache_enabled=False)


def loss_scale(precision: Precision) -> float:
    """The factor that keeps small float16 gradients from vanishing (Micikevicius et al. 2018, arXiv 1710.03740)."""
    return _FLOAT16_LOSS_SCALE if precision == "float16" else 1.0


def to_tensor(array: Array, device: torch.device) -> Tensor:
    """A float32 tensor on `device`; shares memory with a writable NumPy array on the CPU."""
    if isinstance(array, np.ndarray) and not array.flags.writeable:
        array = array.copy()
    return torch.as_tensor(array, dtype=torch.float32, device=device)


def like(reference: Array, tensor: Tensor) -> Any:
    """`tensor` as NumPy (free of copies on a CPU) where `reference` is NumPy, else as it is."""
    return tensor if isinstance(reference, Tensor) else tensor.cpu().numpy()
