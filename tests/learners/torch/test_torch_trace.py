"""Traced steps compute what autograd computes, and refuse what a trace cannot hold."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from comity.learners.torch import passes
from comity.learners.torch.convolutions import optimise_convolutions, patches
from comity.learners.torch.trace import Untraceable, mean_loss, trace_gradient

CONVOLUTIONS = {
    "padded": lambda: nn.Conv2d(1, 4, 5, padding=2),
    "strided": lambda: nn.Conv2d(3, 4, 3, stride=2),
    "dilated, no bias": lambda: nn.Conv2d(2, 4, (3, 2), dilation=(1, 2), padding=(0, 1), bias=False),
    "grouped": lambda: nn.Conv2d(2, 4, 3, groups=2),
}


def trace(module: nn.Module, x: torch.Tensor, y: torch.Tensor):
    parameters = {name: parameter.detach() for name, parameter in module.named_parameters()}
    traced = trace_gradient(mean_loss(module, F.cross_entropy, nullcontext), parameters, {}, (x, y))
    passes.simplify(traced.graph)
    return traced, parameters


def gradients(module: nn.Module, x: torch.Tensor, y: torch.Tensor):
    return torch.autograd.grad(F.cross_entropy(module(x), y), list(module.parameters()))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, 9, generator=generator), torch.arange(6) % 3


def test_products_take_the_update_in(batch):
    module = nn.Sequential(nn.Linear(9, 5), nn.Tanh(), nn.Linear(5, 3))
    expected = [p.detach() - 0.5 * g for p, g in zip(module.parameters(), gradients(module, *batch), strict=True)]
    traced, parameters = trace(module, *batch)
    passes.fuse_sgd(traced.graph, len(parameters), decay=[])
    targets = [node.target for node in traced.graph.nodes]
    assert targets.count(torch.ops.aten.addmm_.default) == 2
    weights = [parameter.clone() for parameter in parameters.values()]
    (loss,) = passes.bind(traced, weights)(*batch, -0.5)
    assert loss == pytest.approx(F.cross_entropy(module(batch[0]), batch[1]).item())
    assert all(torch.allclose(found, right, atol=1e-6) for found, right in zip(weights, expected, strict=True))


def test_an_update_waits_for_every_reader_of_the_old_weights(batch):
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.eye(9) + 0.1)
            self.head = nn.Linear(9, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rows = self.weight.view(81).view(9, 9)
            return self.head(torch.tanh(torch.tanh(x @ self.weight) @ rows.t()) @ self.weight)

    module = Twice()
    expected = [p.detach() - 0.5 * g for p, g in zip(module.parameters(), gradients(module, *batch), strict=True)]
    traced, parameters = trace(module, *batch)
    passes.fuse_sgd(traced.graph, len(parameters), decay=[])
    weights = [parameter.clone() for parameter in parameters.values()]
    passes.bind(traced, weights)(*batch, -0.5)
    assert all(torch.allclose(found, right, atol=1e-6) for found, right in zip(weights, expected, strict=True))


def test_gradients_are_written_where_they_belong(batch):
    module = nn.Sequential(nn.Linear(9, 5), nn.ReLU(), nn.Linear(5, 3))
    traced, parameters = trace(module, *batch)
    passes.write_gradients(traced.graph, len(parameters), 0)
    slots = [torch.full_like(parameter, torch.nan) for parameter in parameters.values()]
    with torch.no_grad():
        passes.bind(traced, [*parameters.values(), *slots])(*batch)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(slots, gradients(module, *batch), strict=True))


def weighted(outputs: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    return (outputs.square().sum(1) * shares).sum()


def overwritten(outputs: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    rows = torch.ones_like(outputs) * outputs
    return (rows.add_(1.0) * outputs * shares[:, None]).sum()


@pytest.mark.parametrize(("loss", "products"), [(weighted, 2), (overwritten, None)])
def test_products_with_ones_are_dropped_where_nothing_is_overwritten(loss, products, batch):
    x, shares = batch[0], torch.rand(6)
    module = nn.Linear(9, 3)
    parameters = {name: parameter.detach() for name, parameter in module.named_parameters()}
    traced = trace_gradient(mean_loss(module, loss, nullcontext), parameters, {}, (x, shares))
    passes.simplify(traced.graph)
    targets = [node.target for node in traced.graph.nodes]
    if products is not None:
        assert targets.count(torch.ops.aten.mul.Tensor) == products
        assert torch.ops.aten.ones_like.default not in targets
    _, *found = passes.bind(traced, [*parameters.values()])(x, shares)
    expected = torch.autograd.grad(loss(module(x), shares), list(module.parameters()))
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(found, expected, strict=True))


def test_an_update_turns_no_operand_twice():
    weight, x = torch.rand(2, 3, 9), torch.rand(2, 6, 9)

    def objective(trained, others, batch):
        value = torch.bmm(batch[0], trained["weight"].transpose(1, 2)).square().sum()
        return value, value

    traced = trace_gradient(objective, {"weight": weight}, {}, (x,))
    passes.simplify(traced.graph)
    passes.fuse_sgd(traced.graph, 1, decay=[])
    targets = [node.target for node in traced.graph.nodes]
    assert targets.count(torch.ops.aten.baddbmm_.default) == 1
    turned = [node for node in traced.graph.nodes if node.target is torch.ops.aten.transpose.int]
    assert not [node for node in turned if node.args[0] in turned]
    leaf = weight.clone().requires_grad_()
    torch.bmm(x, leaf.transpose(1, 2)).square().sum().backward()
    moved = weight.clone()
    passes.bind(traced, [moved])(x, -0.5)
    assert torch.allclose(moved, weight - 0.5 * leaf.grad, atol=1e-4)


def test_what_is_the_same_in_every_call_is_taken_out_of_the_graph(batch):
    module = nn.Sequential(nn.Linear(9, 5), nn.Tanh(), nn.Linear(5, 3))
    traced, parameters = trace(module, *batch)
    passes.fuse_sgd(traced.graph, len(parameters), decay=[])
    weights = [parameter.clone() for parameter in parameters.values()]
    step = passes.bind(traced, weights)
    names = [str(node.target) for node in traced.graph.nodes if node.op == "call_function"]
    assert not any("ones_like" in name for name in names)
    placeholders = {node for node in traced.graph.nodes if node.op == "placeholder"}
    turned = [node for node in traced.graph.nodes if node.op == "call_function" and node.target is torch.t]
    assert not any(node.args[0] in placeholders for node in turned)
    for _ in range(3):
        expected = [p - 0.5 * g for p, g in zip(weights, gradients(copied(module, weights), *batch), strict=True)]
        step(*batch, -0.5)
        assert all(torch.allclose(found, right, atol=1e-6) for found, right in zip(weights, expected, strict=True))


def copied(module: nn.Module, weights):
    for parameter, weight in zip(module.parameters(), weights, strict=True):
        parameter.data = weight.clone()
    return module


@pytest.mark.parametrize(("rows", "turned"), [(90, True), (6, False)])
def test_many_short_rows_are_turned_and_have_the_same_gradient(rows, turned):
    torch.manual_seed(0)
    module, x, y = nn.Linear(9, 3), torch.randn(rows, 9), torch.arange(rows) % 3
    traced, parameters = trace(module, x, y)
    passes.turn_short_rows(traced.graph)
    traced.graph.lint()
    assert (torch.ops.aten._log_softmax_backward_data.default in [n.target for n in traced.graph.nodes]) is not turned
    loss, *found = passes.bind(traced, [*parameters.values()])(x, y)
    assert loss == pytest.approx(F.cross_entropy(module(x), y).item(), rel=1e-5)
    for one, other in zip(found, gradients(module, x, y), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(("between", "draws"), [(nn.Dropout(0.5), True), (nn.Tanh(), False)], ids=str)
def test_a_graph_knows_whether_it_draws_random_numbers(between, draws, batch):
    traced, _ = trace(nn.Sequential(nn.Linear(9, 5), between, nn.Linear(5, 3)), *batch)
    assert passes.draws(traced.graph) is draws


def test_tracing_changes_no_array(batch):
    module = nn.Sequential(nn.Linear(9, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    before = {name: array.clone() for name, array in module.state_dict().items()}
    buffers = dict(module.named_buffers())
    parameters = {name: parameter.detach() for name, parameter in module.named_parameters()}
    trace_gradient(mean_loss(module, F.cross_entropy, nullcontext), parameters, buffers, batch)
    assert all(torch.equal(before[name], array) for name, array in module.state_dict().items())


@pytest.mark.parametrize(
    "forward",
    [
        lambda linear, x: linear(x) if x.sum() > 0 else -linear(x),
        lambda linear, x: linear(x) * x.max().item(),
        lambda linear, x: linear(x * torch.ones(x[x > 0].shape).mean()),
    ],
    ids=["branch", "item", "shape"],
)
def test_dependence_on_values_is_refused(forward, batch):
    class Dependent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(9, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return forward(self.linear, x)

    with pytest.raises(Untraceable):
        trace(Dependent(), *batch)


@pytest.mark.parametrize("make", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_passes_over_convolutions_change_no_gradient(make):
    torch.manual_seed(0)
    first = make()
    module = nn.Sequential(
        first, nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 2), nn.MaxPool2d(2), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )  # fmt: skip
    x, y = torch.randn(5, first.in_channels, 15, 13), torch.arange(5) % 3
    traced, parameters = trace(module, x, y)
    optimise_convolutions(traced.graph)
    passes.reuse_memory(traced.graph)
    traced.graph.lint()
    loss, *found = passes.bind(traced, [*parameters.values()])(x, y)
    assert loss == pytest.approx(F.cross_entropy(module(x), y).item(), rel=1e-5)
    for one, other in zip(found, gradients(module, x, y), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_a_first_convolution_becomes_a_product_over_patches():
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3))
    traced, _ = trace(module, torch.randn(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64))
    optimise_convolutions(traced.graph)
    targets = {node.target for node in traced.graph.nodes}
    assert patches in targets
    assert torch.ops.aten.convolution.default not in targets
    assert torch.ops.aten.convolution_backward.default not in targets


def test_patches_are_those_of_unfold():
    x = torch.randn(2, 3, 7, 6)
    found = patches(x, [3, 2], [2, 1], [1, 0], [1, 2])
    expected = F.unfold(x, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2))
    assert torch.equal(found, expected.transpose(1, 2).reshape(found.shape))
