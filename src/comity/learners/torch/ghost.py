"""Ghost clipping: norms of single records' gradients without these gradients, for linear layers and convolutions.

The gradient of a layer's weight for one record is the product of the slopes at its output `e` `[T, out]` and its inputs
`a` `[T, in]` over the positions `T` of the record. With one position its norm is `‖e‖·‖a‖` (Goodfellow 2015, arXiv
1510.01799); with several it is computed layer by layer, a few records at a time, because norms from products of
positions cancel in float32. The sum of the clipped gradients is one product of inputs and scaled slopes, so the
backward pass is run once and stops at the slopes (Bu et al. 2023, arXiv 2210.00038).

Every record passes the module alone (`vmap`), so that none can touch another's gradient whatever the module does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from comity.learners.torch.arena import Arena
from comity.learners.torch.losses import Loss, of_record
from comity.learners.torch.shares import clipping_shares, without_rows

_LAYER_BYTES = 1 << 24


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer and where the gradients of its weight and bias belong; None for what is not trained."""

    name: str
    module: nn.Linear | nn.Conv2d
    weight: Tensor | None
    bias: Tensor | None

    def positions(self, x: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs `[B, T, in]` and slopes `[B, T, out]` as of a linear layer that is applied at T positions."""
        rows = len(x)
        if isinstance(self.module, nn.Linear):
            return x.reshape(rows, -1, x.shape[-1]), slope.reshape(rows, -1, slope.shape[-1])
        conv = self.module
        images = x.reshape(-1, *x.shape[-3:])
        patches = F.unfold(images, conv.kernel_size, conv.dilation, conv.padding, conv.stride)  # type: ignore[arg-type]
        slopes = slope.reshape(len(images), slope.shape[-3], -1)
        return (
            patches.transpose(1, 2).reshape(rows, -1, patches.shape[1]),
            slopes.transpose(1, 2).reshape(rows, -1, slopes.shape[1]),
        )

    def squared_norms(self, a: Tensor, e: Tensor) -> Tensor:
        """`[B]`: the squared norm of each record's gradient of this layer."""
        total = torch.zeros(len(a), device=a.device)
        if self.bias is not None:
            total += e.sum(1).square().sum(1)
        if self.weight is None:
            return total
        if a.shape[1] == 1:
            # In float64, because the square of one factor may vanish in float32 where the product does not.
            wide = torch.float32 if a.device.type == "mps" else torch.float64
            inputs, slopes = (torch.linalg.vector_norm(side, dim=(1, 2), dtype=wide) for side in (a, e))
            return total.add_((inputs * slopes).square())
        rows = max(1, _LAYER_BYTES // (4 * self.weight.numel()))
        parts = zip(torch.split(e, rows), torch.split(a, rows), strict=True)
        return total + torch.cat([torch.bmm(s.transpose(1, 2), i).square().sum((1, 2)) for s, i in parts])

    def add(self, a: Tensor, e: Tensor) -> None:
        """Add the gradients for inputs `a` and scaled slopes `e`, summed over the records."""
        slopes = e.flatten(0, 1)
        if self.bias is not None:
            self.bias.add_(slopes.sum(0))
        if self.weight is not None:
            self.weight.view(len(self.weight), -1).addmm_(slopes.t(), a.flatten(0, 1))


class GhostGradients:
    """Adds the clipped gradients of records of a model whose trained layers are all linear or convolutions."""

    rows = 1 << 10

    def __init__(
        self, arena: Arena, loss: Loss, layers: list[Layer], context: Callable[[], torch.autocast], scale: float
    ) -> None:
        self.arena = arena
        self.layers = layers
        self.scale = scale
        self._shapes: dict[tuple[object, ...], dict[str, torch.Size]] = {}
        one, module = of_record(loss), arena.module

        def record_loss(
            nudges: Mapping[str, Tensor], arrays: Mapping[str, Tensor], x: Tensor, y: Tensor
        ) -> tuple[Tensor, tuple[Tensor, Mapping[str, Tensor]]]:
            inputs: dict[str, Tensor] = {}

            def meet(layer: Layer, given: Tensor, output: Tensor) -> Tensor:
                inputs[layer.name] = given
                return output + nudges[layer.name].to(output.dtype)

            with self._meeting(meet), context():
                value = one(functional_call(module, dict(arrays), (x[None],)), y[None]).float()
            return value * scale, (value, inputs)

        self._map = vmap(grad(record_loss, has_aux=True), in_dims=(0, None, 0, 0), randomness="different")

    @classmethod
    def of(cls, arena: Arena, loss: Loss, context: Callable[[], torch.autocast], scale: float) -> GhostGradients | str:
        """For the model of an arena, or the reason why it cannot be."""
        names = [name for name, _ in arena.module.named_parameters(remove_duplicate=False)]
        if len(names) != len(list(arena.module.parameters())):
            return "layers share parameters"
        layers = []
        for name, part in arena.module.named_modules():
            places = {leaf: f"{name}.{leaf}" if name else leaf for leaf in part._parameters}
            own = {leaf: arena.gradients[place] for leaf, place in places.items() if place in arena.gradients}
            if not own:
                continue
            if why := _unlike(part, set(own)):
                return f"{name or 'the module'} ({type(part).__name__}) {why}"
            assert isinstance(part, nn.Linear | nn.Conv2d)
            layers.append(Layer(name, part, own.get("weight"), own.get("bias")))
        return cls(arena, loss, layers, context, scale)

    def __call__(self, x: Tensor, y: Tensor, clip: float) -> tuple[Tensor, Tensor]:
        """The losses of the records and the norms of their gradients, which are added, clipped, to the arena's."""
        zero = torch.zeros((), device=x.device)
        nudges = {name: zero.expand(len(x), *shape) for name, shape in self._outputs(x).items()}
        slopes, (losses, inputs) = self._map(nudges, {**self.arena.parameters, **self.arena.others}, x, y)
        called = [layer for layer in self.layers if layer.name in nudges]
        parts = [
            layer.positions(inputs[layer.name].detach().float(), slopes[layer.name] / self.scale) for layer in called
        ]
        squares = [layer.squared_norms(*part) for layer, part in zip(called, parts, strict=True)]
        norms = torch.stack(squares).sum(0).sqrt()
        shares, dropped = clipping_shares(norms, clip)[:, None, None], ~norms.isfinite()
        for layer, (a, e) in zip(called, parts, strict=True):
            layer.add(without_rows(a, dropped), without_rows(e, dropped) * shares)
        return losses.detach(), norms

    def _outputs(self, x: Tensor) -> dict[str, torch.Size]:
        """The shapes of the layers' outputs for one record; layers that are not called are not there."""
        kind = x.shape[1:], x.dtype
        if kind not in self._shapes:
            shapes: dict[str, torch.Size] = {}

            def meet(layer: Layer, _: Tensor, output: Tensor) -> Tensor:
                if layer.name in shapes:
                    raise ValueError("a layer is applied twice")
                shapes[layer.name] = output.shape
                return output

            with self._meeting(meet), torch.no_grad():
                self.arena.module(x[:1])
            self._shapes[kind] = shapes
        return self._shapes[kind]

    @contextmanager
    def _meeting(self, meet: Callable[[Layer, Tensor, Tensor], Tensor]) -> Iterator[None]:
        """While it lasts, each layer's output becomes `meet(layer, input, output)`."""

        def hook(layer: Layer) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
            return lambda _, inputs, output: meet(layer, inputs[0], output)

        handles = [layer.module.register_forward_hook(hook(layer)) for layer in self.layers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _unlike(part: nn.Module, trained: set[str]) -> str | None:
    """Why the gradient of a layer is no product of its inputs and slopes, or None."""
    if type(part) not in (nn.Linear, nn.Conv2d) or not trained <= {"weight", "bias"}:
        return "is neither linear nor a convolution"
    if isinstance(part, nn.Conv2d) and (
        part.groups > 1 or part.padding_mode != "zeros" or isinstance(part.padding, str)
    ):
        return "convolves in groups, or with padding that is no number of zeros"
    return None
