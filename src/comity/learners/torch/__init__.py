"""The torch learner: any `nn.Module`, trained at a party on a resident flat arena."""

from comity.core.errors import MissingDependency

try:
    import torch as _torch
except ImportError as error:
    raise MissingDependency.of("torch", "torch", "the torch learner") from error

from comity.learners.torch.model import Model

__all__ = ["Model"]

del _torch
