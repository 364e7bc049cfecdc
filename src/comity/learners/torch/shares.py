"""What clipping leaves of a record's gradient: the share of it that counts."""

from __future__ import annotations

import torch
from torch import Tensor

_EPS = 1e-6
"""Added to norms, so that rounding does not lift a clipped gradient above the bound."""


def clipping_shares(norms: Tensor, clip: float) -> Tensor:
    """`min(1, clip / norm)` `[B]`; 0 where a norm is not finite, because such a gradient cannot be bounded."""
    return torch.where(norms.isfinite(), (clip / (norms + _EPS)).clamp(max=1.0), 0.0)


def without_rows(values: Tensor, dropped: Tensor) -> Tensor:
    """`values` `[B, …]` with zeros in the rows that are `dropped` `[B]`: no share makes a NaN vanish."""
    if not bool(dropped.any()):
        return values
    return values.masked_fill(dropped.view(-1, *[1] * (values.ndim - 1)), 0.0)
