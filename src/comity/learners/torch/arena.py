"""The resident arena: one module whose parameters, gradients and buffers are views of flat tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from comity.core.layout import Entry, Layout
from comity.learners.torch.structure import named_arrays

Copies: TypeAlias = tuple[tuple[slice, slice], ...]
"""Pairs of (where in the arena, where in a vector)."""


@dataclass(frozen=True)
class Regions:
    """How an arena's last axis divides: shared | local and trained | buffers | local buffers.

    What is trained comes first, so that the gradient and the optimizer's state are one run of `trained` entries, of
    which the first `shared` travel. `weights` and `local` say which runs a travelling and a local vector fill.
    """

    shared: int
    trained: int
    total: int
    weights: Copies
    local: Copies
    spans: Mapping[str, slice]

    @classmethod
    def of(cls, layout: Layout, parameters: set[str]) -> Regions:
        """The regions of a layout whose trainable arrays are `parameters`."""
        kept = [entry for entry in layout.entries if entry.part == "local"]
        heads = sum(entry.size for entry in kept if entry.name in parameters)
        shared, trained = layout.shared_size, layout.shared_size + heads
        buffers = trained + layout.size - shared
        total = buffers + layout.local_size - heads
        spans = {}
        for entry in layout.entries:
            start = _start(entry, entry.name in parameters, shared, trained, buffers, heads)
            if start is not None:
                spans[entry.name] = slice(start, start + entry.size)
        weights: Copies = ((slice(0, shared), slice(0, shared)), (slice(trained, buffers), slice(shared, layout.size)))
        if shared == trained:
            weights = ((slice(0, layout.size), slice(0, layout.size)),)
        local: Copies = (
            (slice(shared, trained), slice(0, heads)),
            (slice(buffers, total), slice(heads, layout.local_size)),
        )
        return cls(shared, trained, total, weights, local, spans)

    def load(self, arena: Tensor, weights: Tensor, local: Tensor | None) -> None:
        """Fill `arena` `[..., total]` from a travelling and a local vector (of one row, or of as many as the arena)."""
        for inside, outside in self.weights:
            arena[..., inside].copy_(weights[..., outside])
        if local is not None:
            for inside, outside in self.local:
                arena[..., inside].copy_(local[..., outside])

    def store(self, arena: Tensor, start: Tensor, change: Tensor, local: Tensor | None) -> None:
        """The reverse of `load`: what became of the weights `start`, as a change, and the local vector."""
        for inside, outside in self.weights:
            torch.sub(arena[..., inside], start[..., outside], out=change[..., outside])
        if local is not None:
            for inside, outside in self.local:
                local[..., outside].copy_(arena[..., inside])


def _start(entry: Entry, parameter: bool, shared: int, trained: int, buffers: int, heads: int) -> int | None:
    match entry.part:
        case "shared":
            return entry.offset
        case "buffer":
            return entry.offset - shared + trained
        case "local":
            return entry.offset + (shared if parameter else buffers - heads)
        case _:
            return None


class Arena:
    """A module on a device whose arrays are views of `flat` `[total]`, and whose gradients are views of `gradient`.

    Arrays outside the vectors (integer buffers, non-persistent buffers) are put back by every `load`, so that one
    party's training leaves nothing behind for the next.
    """

    def __init__(self, module: nn.Module, layout: Layout, device: torch.device) -> None:
        self.module = module.float().to(device)
        self.layout = layout
        parameters = {name for name, array in named_arrays(module) if isinstance(array, nn.Parameter)}
        self.regions = Regions.of(layout, parameters)
        self.flat = torch.zeros(self.regions.total, dtype=torch.float32, device=device)
        self.gradient = torch.zeros(self.regions.trained, dtype=torch.float32, device=device)
        self.parameters: dict[str, Tensor] = {}
        self.gradients: dict[str, Tensor] = {}
        self.others: dict[str, Tensor] = {}
        self._bind_parameters()
        self._bind_buffers()
        self._outside = [buffer for name, buffer in self.module.named_buffers() if name not in self.regions.spans]
        self._outside_start = [buffer.clone() for buffer in self._outside]

    def _bind_parameters(self) -> None:
        for name, parameter in self.module.named_parameters():
            span = self.regions.spans.get(name)
            if span is None:
                parameter.requires_grad_(False)
                self.others[name] = parameter.detach()
                continue
            view = self.flat[span].view(parameter.shape)
            view.copy_(parameter.detach())
            parameter.data = view
            parameter.grad = self.gradient[span].view(parameter.shape)
            self.parameters[name] = view
            self.gradients[name] = parameter.grad

    def _bind_buffers(self) -> None:
        views: dict[int, Tensor] = {}
        for name, buffer in list(self.module.named_buffers(remove_duplicate=False)):
            if id(buffer) not in views:
                span = self.regions.spans.get(name)
                view = buffer if span is None else self.flat[span].view(buffer.shape).copy_(buffer)
                views[id(buffer)] = self.others[name] = view
            owner, _, leaf = name.rpartition(".")
            self.module.get_submodule(owner)._buffers[leaf] = views[id(buffer)]

    def load(self, weights: Tensor, local: Tensor | None) -> None:
        """Start a party: its vectors in, everything else as it was."""
        self.regions.load(self.flat, weights, local)
        for buffer, start in zip(self._outside, self._outside_start, strict=True):
            buffer.copy_(start)

    def store(self, start: Tensor, change: Tensor, local: Tensor | None) -> None:
        """End a party: how far it has moved from `start`, and what stays with it, out."""
        self.regions.store(self.flat, start, change, local)

    def training(self) -> None:
        """Put the module in training mode."""
        if not self.module.training:
            self.module.train()

    def evaluating(self) -> None:
        """Put the module in evaluation mode."""
        if self.module.training:
            self.module.eval()

    def untrained(self) -> list[Tensor]:
        """What training does not descend on: buffers that travel or stay, and those outside the vectors."""
        return [self.flat[self.regions.trained :], *self._outside]

    def snapshot(self) -> list[Tensor]:
        """A copy of everything that training moves."""
        return [tensor.clone() for tensor in (self.flat, *self._outside)]

    def restore(self, snapshot: list[Tensor]) -> None:
        """Back to a `snapshot`."""
        for tensor, saved in zip((self.flat, *self._outside), snapshot, strict=True):
            tensor.copy_(saved)
