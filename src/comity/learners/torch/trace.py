"""Trace a training step to an ATen graph: no module code and no autograd run when it is played.

The step is run once under a dispatch mode that writes down every ATen operation, those of the backward pass
included. `torch.fx.experimental.proxy_tensor.make_fx` would give the same graph, but imports the compiler with it
(over a second, and some 100 MB in every worker).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from comity.learners.torch.losses import LossFunction

Objective: TypeAlias = Callable[[Mapping[str, Tensor], Mapping[str, Tensor], Sequence[Tensor]], tuple[Tensor, Tensor]]
"""(trained arrays, other arrays, batch) → (the scalar whose gradient is wanted, the losses to report)."""


class Untraceable(Exception):
    """An operation whose result, as traced, would hold for the traced batch only."""


def mean_loss(module: nn.Module, loss: LossFunction, autocast: Callable[[], torch.autocast]) -> Objective:
    """The mean loss of a batch `(x, y)` under given arrays, to be descended and to be reported."""

    def objective(
        trained: Mapping[str, Tensor], others: Mapping[str, Tensor], batch: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        x, y = batch
        with autocast():
            value = loss(functional_call(module, {**trained, **others}, (x,)), y)
        return value, value

    return objective


def trace_gradient(
    objective: Objective,
    trained: Mapping[str, Tensor],
    others: Mapping[str, Tensor],
    batch: Sequence[Tensor],
    scale: float = 1.0,
) -> fx.GraphModule:
    """The graph of `(trained…, others…, *batch) → (losses, gradient…)`.

    `scale` multiplies the objective before differentiation and divides the gradients after it, for precisions in
    which small gradients vanish. Works on copies: neither arrays nor buffers change. Raises `Untraceable` where
    control flow or shapes depend on values.
    """
    recorder = _Recorder()
    leaves = {name: recorder.argument(name, array).requires_grad_() for name, array in trained.items()}
    rest = {name: recorder.argument(name, array) for name, array in others.items()}
    parts = [recorder.argument(f"batch_{index}", part) for index, part in enumerate(batch)]
    # One thread, because the mode that records is this thread's own.
    with torch.autograd.set_multithreading_enabled(False), torch.enable_grad(), recorder:
        value, losses = objective(leaves, rest, parts)
        scaled = value if scale == 1.0 else value * scale
        gradients = torch.autograd.grad(scaled, list(leaves.values()), allow_unused=True, materialize_grads=True)
        if scale != 1.0:
            gradients = tuple(gradient / scale for gradient in gradients)
        outputs = (losses.detach(), *gradients)
    return recorder.finish(outputs)


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes ATen operations into a graph. Tensors are told apart by identity, so all are kept until the end."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = fx.Graph()
        self.constants: dict[str, Tensor] = {}
        self._nodes: dict[int, fx.Node] = {}
        self._kept: list[Tensor] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: guarding this mode against compilation would import the compiler, and nothing compiles here."""
        return False

    def argument(self, name: str, array: Tensor) -> Tensor:
        """A copy of `array` that the graph takes as its next argument."""
        copy = _copy(array.detach())
        node = self.graph.placeholder("arg_" + name.replace(".", "_"))
        self._name(copy, node)
        return copy

    def finish(self, outputs: tuple[Tensor, ...]) -> fx.GraphModule:
        self.graph.output(tuple(self._node(tensor) for tensor in outputs))
        return fx.GraphModule(self.constants, self.graph)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        _refuse_value_dependence(func, args)
        result = func(*args, **kwargs)
        node = self.graph.call_function(
            func, tree_map_only(Tensor, self._node, args), tree_map_only(Tensor, self._node, kwargs)
        )
        if isinstance(result, Tensor):
            self._name(result, node)
        elif isinstance(result, (tuple, list)):
            for index, part in enumerate(result):
                if isinstance(part, Tensor):
                    self._name(part, self.graph.call_function(operator.getitem, (node, index)))
        return result

    def _name(self, tensor: Tensor, node: fx.Node) -> None:
        self._nodes[id(tensor)] = node
        self._kept.append(tensor)
        node.meta.setdefault("shape", tuple(tensor.shape))
        node.meta.setdefault("dtype", tensor.dtype)

    def _node(self, tensor: Tensor) -> fx.Node:
        if id(tensor) not in self._nodes:
            name = f"constant_{len(self.constants)}"
            self.constants[name] = tensor.detach()
            self._name(tensor, self.graph.get_attr(name))
        return self._nodes[id(tensor)]


def _refuse_value_dependence(func: Any, args: tuple[Any, ...]) -> None:
    if torch.Tag.data_dependent_output in func.tags:
        raise Untraceable(f"{func} reads a value, on which what follows may depend")
    if torch.Tag.dynamic_output_shape in func.tags and not _indexes_by_position(func, args):
        raise Untraceable(f"the shape that {func} gives depends on values")


def _indexes_by_position(func: Any, args: tuple[Any, ...]) -> bool:
    if func not in (torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default):
        return False
    return all(index is None or index.dtype is not torch.bool for index in args[1])


def _copy(array: Tensor) -> Tensor:
    """A copy with the strides of `array`, so that every view taken in the trace is one there too."""
    if 0 in array.stride():
        return array.clone()
    return torch.empty_strided(array.shape, array.stride(), dtype=array.dtype, device=array.device).copy_(array)
