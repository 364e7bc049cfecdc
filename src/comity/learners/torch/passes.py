"""Passes over a traced step: fold away copies, fuse the update into the product that gives the gradient, bind fast.

A traced graph has the placeholders `trained…, others…, batch…` and the outputs `(objective, gradient…)`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload

aten = torch.ops.aten

_SHORT = 8
"""Rows are short where there are so many times more of them than they have entries."""


def simplify(graph: fx.Graph) -> None:
    """Drop what changes nothing: detaches, transposes of transposes, views of the same shape, products with one."""
    pure = not any(_writes(node) for node in graph.nodes)
    for node in list(graph.nodes):
        same = _unchanged(node) or (_other_factor(node) if pure else None)
        if same is not None:
            node.replace_all_uses_with(same)
    graph.eliminate_dead_code()


def _unchanged(node: fx.Node) -> fx.Node | None:
    """The earlier node whose value this one repeats, if it repeats one."""
    source: Any = node.args[0] if node.args else None
    if not isinstance(source, fx.Node):
        return None
    if node.target is aten.detach.default:
        return source
    if _is_transpose(node) and _is_transpose(source) and _axes(node) == _axes(source):
        return source.args[0]  # type: ignore[return-value]
    if node.target is aten.view.default and _drops_summed_axes(node, source):
        source.args = source.args[:2]
        source.meta["shape"] = node.meta["shape"]
        return source
    same_shape = node.meta.get("shape") == source.meta.get("shape")
    if same_shape and node.target in (aten.view.default, aten._unsafe_view.default, aten.expand.default):
        return source
    if same_shape and node.target is aten.mul.Scalar and node.args[1] == 1:
        return source
    return None


def _other_factor(node: fx.Node) -> fx.Node | None:
    """What a product multiplies by ones, which is how backpropagation begins; only where it is the product itself."""
    if node.target is not aten.mul.Tensor or not _is_ones(node.args[0]):
        return None
    other: Any = node.args[1]
    alike = isinstance(other, fx.Node) and all(node.meta[name] == other.meta[name] for name in ("shape", "dtype"))
    return other if alike else None


def _is_ones(node: Any) -> bool:
    while node.target in (aten.expand.default, aten.view.default, aten.unsqueeze.default):
        node = node.args[0]
    return node.target is aten.ones_like.default


def draws(graph: fx.Graph) -> bool:
    """Whether a graph draws random numbers."""
    return any(
        isinstance(node.target, OpOverload) and torch.Tag.nondeterministic_seeded in node.target.tags
        for node in graph.nodes
    )


def _writes(node: fx.Node) -> bool:
    return isinstance(node.target, OpOverload) and node.target._schema.is_mutable


def _drops_summed_axes(view: fx.Node, total: fx.Node) -> bool:
    """Whether a view only takes away the axes of length one that a sum with `keepdim` left."""
    if total.target is not aten.sum.dim_IntList or len(total.args) != 3 or not total.args[2] or len(total.users) > 1:
        return False
    dims = len(total.meta["shape"])
    summed = {int(axis) % dims for axis in total.args[1]}  # type: ignore[union-attr, arg-type]
    left = tuple(size for axis, size in enumerate(total.meta["shape"]) if axis not in summed)
    return left == tuple(view.meta["shape"])


def _is_transpose(node: fx.Node) -> bool:
    return node.target is aten.t.default or node.target is aten.transpose.int


def _axes(node: fx.Node) -> set[int]:
    dims = len(node.meta["shape"])
    return {int(axis) % dims for axis in node.args[1:] or (0, 1)}  # type: ignore[arg-type]


def reuse_memory(graph: fx.Graph) -> None:
    """Let a ReLU overwrite a fresh input that nothing else reads."""
    for node in graph.nodes:
        if node.target is aten.relu.default and _fresh(node.args[0]) and len(node.args[0].users) == 1:
            node.target = aten.relu_.default


def _fresh(node: fx.Node) -> bool:
    return node.target in (aten.addmm.default, aten.convolution.default, aten.baddbmm.default)


def turn_short_rows(graph: fx.Graph) -> None:
    """Compute log-softmax over many short rows as columns, where torch's kernel for CPUs works on several at once.

    Over 250 rows of 10 that takes a quarter of the time. Its gradient `g − exp(y)·Σg` is written out for the same
    reason.
    """
    for node in list(graph.nodes):
        if node.target not in (aten._log_softmax.default, aten._log_softmax_backward_data.default):
            continue
        shape, axis = node.meta["shape"], node.args[-2]
        if len(shape) != 2 or int(axis) % 2 != 1 or shape[0] < _SHORT * shape[1] or node.meta["dtype"] != torch.float32:
            continue
        with graph.inserting_before(node):
            if node.target is aten._log_softmax.default:
                columns = graph.call_function(aten.clone.default, (graph.call_function(aten.t.default, node.args[:1]),))
                columns.kwargs = {"memory_format": torch.contiguous_format}
                turned = graph.call_function(aten._log_softmax.default, (columns, 0, False))
                result = graph.call_function(aten.clone.default, (graph.call_function(aten.t.default, (turned,)),))
                result.kwargs = {"memory_format": torch.contiguous_format}
            else:
                slope, value = node.args[:2]
                total = graph.call_function(aten.sum.dim_IntList, (slope, [1], True))
                share = graph.call_function(aten.exp.default, (value,))
                result = graph.call_function(aten.addcmul.default, (slope, share, total), {"value": -1})
        result.meta.update(node.meta)
        node.replace_all_uses_with(result)
        graph.erase_node(node)


def fuse_sgd(graph: fx.Graph, trained: int, *, decay: Sequence[int]) -> None:
    """Replace the gradients by in-place updates `w ← keep·w − lr·g` of the first `trained` placeholders.

    The graph gets the further placeholders `minus_lr` and, where `decay` is given, one `keep` a group; `decay[i]` is
    the group of the i-th array. A product becomes `addmm_` (`baddbmm_`), which reads and writes the weights once.
    """
    output, loss, gradients = _outputs(graph)
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    minus_lr = _placeholder(graph, placeholders[-1], "minus_lr")
    keeps: list[fx.Node] = []
    for group in range(max(decay, default=-1) + 1):
        keeps.append(_placeholder(graph, keeps[-1] if keeps else minus_lr, f"keep_{group}"))
    output.args = ((loss,),)
    for index, (weights, gradient) in enumerate(zip(placeholders[:trained], gradients, strict=True)):
        keep = keeps[decay[index]] if decay else None
        product = _product(graph, gradient)
        operands = product[1] if product else (gradient,)
        with graph.inserting_after(_latest(graph, weights, operands)):
            if product:
                options: dict[str, Any] = {"alpha": minus_lr} if keep is None else {"alpha": minus_lr, "beta": keep}
                graph.call_function(product[0], (weights, *operands), options)
                continue
            update = graph.call_function(aten.add_.Tensor, (weights, gradient), {"alpha": minus_lr})
        if keep is not None:
            with graph.inserting_before(update):
                graph.call_function(aten.mul_.Tensor, (weights, keep))
    _finish(graph)


def write_gradients(graph: fx.Graph, trained: int, others: int) -> None:
    """Replace the gradients by writes into further placeholders, which come before those of the batch."""
    output, loss, gradients = _outputs(graph)
    last = [node for node in graph.nodes if node.op == "placeholder"][trained + others - 1]
    slots: list[fx.Node] = []
    for index in range(trained):
        slots.append(_placeholder(graph, slots[-1] if slots else last, f"gradient_{index}"))
    output.args = ((loss,),)
    for slot, gradient in zip(slots, gradients, strict=True):
        product = _product(graph, gradient)
        with graph.inserting_after(_latest(graph, slot, product[1] if product else (gradient,))):
            if product:
                plain = aten.mm.out if product[0] is aten.addmm_.default else aten.bmm.out
                graph.call_function(plain, product[1], {"out": slot})
            else:
                graph.call_function(aten.copy_.default, (slot, gradient))
    _finish(graph)


def _outputs(graph: fx.Graph) -> tuple[fx.Node, fx.Node, Sequence[fx.Node]]:
    output = next(node for node in graph.nodes if node.op == "output")
    loss, *gradients = output.args[0]
    return output, loss, gradients


def _placeholder(graph: fx.Graph, after: fx.Node, name: str) -> fx.Node:
    with graph.inserting_after(after):
        return graph.placeholder(name)


def _finish(graph: fx.Graph) -> None:
    graph.set_codegen(fx.graph.CodeGen())
    graph.eliminate_dead_code()
    graph.lint()


def _product(graph: fx.Graph, gradient: fx.Node) -> tuple[OpOverload, tuple[Any, ...]] | None:
    """The in-place product and operands that a gradient is, if it is one and nothing else reads it.

    A transposed product is the product of the transposed operands in reverse.
    """
    inner: Any = gradient
    turned = len(gradient.users) == 0 and _is_transpose(gradient)
    if turned:
        inner = gradient.args[0]
    if inner.target not in _IN_PLACE or len(inner.users) != int(turned):
        return None
    if not turned:
        return _IN_PLACE[inner.target], inner.args
    dims = len(inner.meta["shape"])
    if _axes(gradient) != {dims - 2, dims - 1}:
        return None
    left, right = inner.args
    with graph.inserting_before(inner):
        return _IN_PLACE[inner.target], (_turned(graph, right, dims), _turned(graph, left, dims))


def _turned(graph: fx.Graph, matrix: Any, dims: int) -> Any:
    """The transpose of a matrix, or of a batch of them: where it is one already, what it is the transpose of."""
    if _is_transpose(matrix) and _axes(matrix) == {dims - 2, dims - 1}:
        return matrix.args[0]
    shape = matrix.meta["shape"]
    turned = graph.call_function(aten.transpose.int, (matrix, dims - 2, dims - 1))
    turned.meta["shape"] = (*shape[:-2], shape[-1], shape[-2])
    return turned


_IN_PLACE = {aten.mm.default: aten.addmm_.default, aten.bmm.default: aten.baddbmm_.default}


def _latest(graph: fx.Graph, array: fx.Node, operands: Sequence[Any]) -> fx.Node:
    """The first node after which `array` may change: behind its last reader, its views' readers, and `operands`."""
    aliases, latest = {array}, array
    for node in graph.nodes:
        if node.op == "output":
            break
        if node.op == "placeholder" or node in operands:
            latest = node
        elif any(source in aliases for source in node.all_input_nodes):
            latest = node
            if _is_view(node):
                aliases.add(node)
    return latest


def _is_view(node: fx.Node) -> bool:
    if node.target is operator.getitem:
        return True
    schema = node.target._schema if isinstance(node.target, OpOverload) else None
    return schema is None or any(returned.alias_info is not None for returned in schema.returns)


_FUNCTIONS = (
    "mm addmm bmm baddbmm t relu relu_ tanh sigmoid exp log rsqrt sqrt neg abs ones_like zeros_like "
    "empty_like convolution native_batch_norm native_layer_norm native_group_norm embedding _log_softmax "
    "_softmax _log_softmax_backward_data _softmax_backward_data unsqueeze permute cat stack "
    "native_dropout"
)
_OVERLOADS: dict[Any, Callable[..., Any]] = {
    aten.add.Tensor: torch.add,
    aten.sub.Tensor: torch.sub,
    aten.mul.Tensor: torch.mul,
    aten.div.Tensor: torch.div,
    aten.transpose.int: torch.transpose,
    aten.sum.dim_IntList: torch.sum,
    aten.mean.dim: torch.mean,
    aten.select.int: torch.select,
    aten.mm.out: torch.mm,
    aten.bmm.out: torch.bmm,
    aten.view.default: torch.Tensor.view,
    aten.expand.default: torch.Tensor.expand,
    aten.addmm_.default: torch.Tensor.addmm_,
    aten.baddbmm_.default: torch.Tensor.baddbmm_,
    aten.add_.Tensor: torch.Tensor.add_,
    aten.mul_.Tensor: torch.Tensor.mul_,
    aten.copy_.default: torch.Tensor.copy_,
    aten.max_pool2d_with_indices.default: torch._C._nn.max_pool2d_with_indices,
}


def bind(module: fx.GraphModule, fixed: Sequence[Tensor]) -> Callable[..., Any]:
    """The graph as a function of the arguments that follow `fixed`, which are the same in every call.

    It calls PyTorch's own bindings (1–2 µs less an operation than `torch.ops`), and views of `fixed` are taken once.
    """
    values = _hoist(module.graph, fixed)
    direct = {getattr(aten, name).default: getattr(torch, name) for name in _FUNCTIONS.split()} | _OVERLOADS
    for node in module.graph.nodes:
        if node.op == "call_function":
            node.target = direct.get(node.target, node.target)
    module.recompile()
    return partial(module.forward, *values)


def _hoist(graph: fx.Graph, fixed: Sequence[Tensor]) -> list[Tensor]:
    """Turn what is the same in every call (views of `fixed`, ones) into further arguments; give the values of all."""
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    values = dict(zip(placeholders, fixed, strict=False))
    last = placeholders[len(fixed) - 1]
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        if _is_constant(node):
            value = torch.ones(node.meta["shape"], dtype=node.meta["dtype"], device=fixed[0].device)
        elif _is_view(node) and not _writes(node) and all(source in values for source in node.all_input_nodes):
            value = node.target(*fx.map_arg(node.args, values.__getitem__))
        else:
            continue
        last = _placeholder(graph, last, node.name)
        values[last] = value
        node.replace_all_uses_with(last)
        graph.erase_node(node)
    return list(values.values())


def _is_constant(node: fx.Node) -> bool:
    """Whether a node makes ones that nothing writes to, neither itself nor through a view."""
    return node.target is aten.ones_like.default and not any(_writes(user) or _is_view(user) for user in node.users)
