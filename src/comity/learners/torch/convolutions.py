"""Passes for convolutional networks on a CPU, each exact but for rounding.

Measured on one thread on McMahan's CNN, batch 10: max-pooling in channels-last order takes a tenth of the time; a
first convolution with few input channels is faster as one product over image patches, and its result is in that
order already; the ReLU costs a quarter when it comes after the pooling, with which it commutes.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

aten = torch.ops.aten

_PATCH_ENTRIES = 100
"""Largest patch (channels × height × width of the kernel) for which a convolution is made a product."""


def optimise_convolutions(graph: fx.Graph) -> None:
    """Rewrite graphs that pool over images; others stay as they are."""
    pools = [node for node in graph.nodes if node.target is aten.max_pool2d_with_indices.default]
    pools = [node for node in pools if len(node.args[0].meta["shape"]) == 4]
    if not pools:
        return
    for pool in pools:
        _pool_before_relu(graph, pool)
    for node in list(graph.nodes):
        if node.target is aten.convolution.default:
            _convolve_by_product(graph, node)
    for node in list(graph.nodes):
        if node.target is aten.max_pool2d_with_indices.default or node.target is aten.convolution.default:
            _feed_channels_last(graph, node)
        elif node.target is aten.view.default:
            node.target = aten.reshape.default
    graph.eliminate_dead_code()


def _feed_channels_last(graph: fx.Graph, node: fx.Node) -> None:
    source = node.args[0]
    assert isinstance(source, fx.Node)
    shape = source.meta["shape"]
    if len(shape) != 4 or (node.target is aten.convolution.default and shape[1] == 1):
        return
    with graph.inserting_before(node):
        arranged = graph.call_function(arrange, (source,))
    arranged.meta["shape"] = shape
    node.update_arg(0, arranged)


def arrange(x: Tensor) -> Tensor:
    """The images in channels-last order; no copy where they are."""
    return x.contiguous(memory_format=torch.channels_last)


def _pool_before_relu(graph: fx.Graph, pool: fx.Node) -> None:
    relu = pool.args[0]
    if not isinstance(relu, fx.Node) or relu.target is not aten.relu.default:
        return
    others = {user.target: user for user in relu.users if user is not pool}
    pool_back = others.pop(aten.max_pool2d_with_indices_backward.default, None)
    relu_back = others.pop(aten.threshold_backward.default, None)
    pooled = next((user for user in pool.users if user.args[1] == 0), None)
    if others or pool_back is None or relu_back is None or pooled is None or len(relu.users) != 3:
        return
    if relu_back.args[0] is not pool_back or len(pool_back.users) != 1 or pool_back.args[1] is not relu:
        return
    source = relu.args[0]
    pool.update_arg(0, source)
    with graph.inserting_after(pooled):
        renewed = graph.call_function(aten.relu.default, (pooled,))
    renewed.meta["shape"] = pooled.meta["shape"]
    pooled.replace_all_uses_with(renewed, delete_user_cb=lambda user: user is not renewed)
    with graph.inserting_before(pool_back):
        # The gradient may come in another order from a flattening; element by element that costs more than a copy.
        arriving = graph.call_function(arrange, (pool_back.args[0],))
        cut = graph.call_function(aten.threshold_backward.default, (arriving, renewed, 0))
    pool_back.update_arg(0, cut)
    pool_back.update_arg(1, source)
    relu_back.replace_all_uses_with(pool_back)
    graph.erase_node(relu_back)
    graph.erase_node(relu)


def _convolve_by_product(graph: fx.Graph, node: fx.Node) -> None:
    x, weight, bias, stride, padding, dilation, transposed, _, groups = node.args
    assert isinstance(x, fx.Node)
    assert isinstance(weight, fx.Node)
    backward = [user for user in weight.users if user.target is aten.convolution_backward.default]
    filters, *patch = weight.meta["shape"]
    if len(patch) != 3 or transposed or groups != 1 or patch[0] * patch[1] * patch[2] > _PATCH_ENTRIES:
        return
    if len(backward) != 1 or backward[0].args[1] is not x or backward[0].args[-1][0]:  # type: ignore[index]
        return
    batch, _, height, width = node.meta["shape"]
    with graph.inserting_before(node):
        columns = graph.call_function(patches, (x, patch[1:], stride, padding, dilation))
        matrix = graph.call_function(aten.t.default, (graph.call_function(aten.view.default, (weight, [filters, -1])),))
        if bias is None:
            flat = graph.call_function(aten.mm.default, (columns, matrix))
        else:
            flat = graph.call_function(aten.addmm.default, (bias, columns, matrix))
        rows = graph.call_function(aten.view.default, (flat, [batch, height, width, filters]))
        out = graph.call_function(aten.permute.default, (rows, [0, 3, 1, 2]))
    out.meta["shape"] = node.meta["shape"]
    node.replace_all_uses_with(out)
    _differentiate_by_product(graph, backward[0], columns, weight)


def _differentiate_by_product(graph: fx.Graph, backward: fx.Node, columns: fx.Node, weight: fx.Node) -> None:
    gradient: Any = backward.args[0]
    shape = list(weight.meta["shape"])
    with graph.inserting_before(backward):
        last = graph.call_function(aten.permute.default, (gradient, [0, 2, 3, 1]))
        rows = graph.call_function(aten.reshape.default, (last, [-1, shape[0]]))
        turned = graph.call_function(aten.t.default, (rows,))
        product = graph.call_function(aten.mm.default, (turned, columns))
        by_part = {
            1: graph.call_function(aten.view.default, (product, shape)),
            2: graph.call_function(aten.sum.dim_IntList, (rows, [0])),
        }
    for part in list(backward.users):
        assert part.target is operator.getitem
        if part.args[1] in by_part:
            part.replace_all_uses_with(by_part[part.args[1]])  # type: ignore[index]


def patches(x: Tensor, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int]) -> Tensor:
    """`[batch · height · width, channels · kernel]`: the patch of `x` under the kernel at each place."""
    padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0])).contiguous()
    batch, channels, height, width = padded.shape
    rows = (height - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
    columns = (width - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    along = padded.stride()
    view = padded.as_strided(
        (batch, rows, columns, channels, *kernel),
        (
            along[0],
            along[2] * stride[0],
            along[3] * stride[1],
            along[1],
            along[2] * dilation[0],
            along[3] * dilation[1],
        ),
    )
    return view.reshape(batch * rows * columns, channels * kernel[0] * kernel[1])
