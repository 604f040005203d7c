"""What replacing one gate of a trained network would change, to second order, for all gates at once.

With a the output of a gate, Δ what a replacement changes of it, and g = ∂ log p(y|x)/∂a for a class y drawn from the
network's own distribution p, the divergence of the changed network from the trained one is near

    KL(p ‖ p') ≈ ½ · E[(g · Δ)²]            [nats per image]

(the Fisher information of a along Δ). Two passes over a few hundred images measure every candidate of every gate: one
for the best polynomial of each channel, one forward and backward for g.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from rrnet_nni.search_spaces import SpaceOptions
from rrnet_nni.search_spaces.gates import ACTIVATIONS
from rrnet_nni.search_spaces.layers import AvgPool, MaxPool

#: Highest powers of x that a replacement which training will fit is given: an X2act, and nothing (the next layer's).
FITTED_DEGREES = {"x2act": 2, "identity": 1}


def measured_distortions(
    network: nn.Module,
    options: SpaceOptions,
    candidates: Mapping[str, Sequence[str]],
    batches: Sequence[Tensor],
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Label -> candidate -> nats per image that the candidate is expected to change; 0 for the network's own.

    Args:
        network: a trained network of ReLUs and MaxPools, whose gates are modules that carry their labels.
        options: of its space.
        candidates: label -> candidates of every gate.
        batches: normalized images [N, C, H, W], the same in every call.
        seed: of the classes that are drawn.
    """
    network.eval()
    sites = {str(m.label): m for m in network.modules() if getattr(m, "label", None) in candidates}
    moments = {label: _Moments() for label in sites}
    with torch.no_grad(), _watched(sites, lambda label, x, y: moments[label].add(x, y)):
        for images in batches:
            network(images)
    totals: dict[str, dict[str, float]] = {label: dict.fromkeys(names, 0.0) for label, names in candidates.items()}
    generator = torch.Generator().manual_seed(seed)
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    for images in batches:
        with torch.enable_grad(), _watched(sites, lambda label, x, y: seen.update({label: (x.detach(), y)})):
            logits = network(images.detach().requires_grad_()).float()
        classes = torch.multinomial(logits.detach().softmax(1).cpu(), 1, generator=generator)[:, 0]
        chosen = logits.log_softmax(1)[torch.arange(len(logits)), classes.to(logits.device)]
        gradients = torch.autograd.grad(chosen.sum(), [y for _, y in seen.values()])
        with torch.no_grad():
            for (label, (x, y)), gradient in zip(seen.items(), gradients):
                for name in candidates[label]:
                    changed = _replaced(sites[label], name, options, label, x, moments[label])
                    if changed is not None:
                        along = (gradient * (changed - y)).flatten(1).sum(1)
                        totals[label][name] += 0.5 * float(along.double().square().sum())
    count = sum(len(images) for images in batches)
    return {label: {name: total / count for name, total in names.items()} for label, names in totals.items()}


def _replaced(
    module: nn.Module, name: str, options: SpaceOptions, label: str, x: Tensor, moments: _Moments
) -> Tensor | None:
    """The output of a candidate in the place of the network's own; None where it is the network's own."""
    if isinstance(module, MaxPool):
        geometry = (cast(int, size) for size in (module.kernel_size, module.stride, module.padding))
        return None if name == "maxpool" else AvgPool(label, *geometry)(x)
    if name == "relu":
        return None
    if name in FITTED_DEGREES:
        return moments.polynomial(FITTED_DEGREES[name], x)
    return ACTIVATIONS[name](options, label, (x.shape[1], x.shape[2], x.shape[3])).to(x.device).eval()(x)  # type: ignore[no-any-return]


class _Moments:
    """Σ x^k for k up to 4 and Σ x^k·y for k up to 2, per channel."""

    def __init__(self) -> None:
        self._powers: list[Tensor] = []
        self._products: list[Tensor] = []

    def add(self, x: Tensor, y: Tensor) -> None:
        if x.shape != y.shape:
            return  # a pooling is no function of a pixel
        powers = [torch.ones_like(x).double()]
        for _ in range(4):
            powers.append(powers[-1] * x)
        sums = [power.sum((0, 2, 3)) for power in powers]
        products = [(power * y).sum((0, 2, 3)) for power in powers[:3]]
        self._powers = [a + b for a, b in zip(self._powers, sums)] if self._powers else sums
        self._products = [a + b for a, b in zip(self._products, products)] if self._products else products

    def polynomial(self, degree: int, x: Tensor) -> Tensor:
        """The polynomial of x that is closest to y in every channel."""
        size = degree + 1
        rows = [torch.stack([self._powers[i + j] for j in range(size)], -1) for i in range(size)]
        matrix, right = torch.stack(rows, -2), torch.stack(self._products[:size], -1)
        scale = matrix.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
        damped = matrix + 1e-9 * scale * torch.eye(size, dtype=matrix.dtype, device=matrix.device)
        fitted = torch.linalg.solve(damped, right[..., None])[..., 0].to(x.dtype)
        result = fitted[:, degree, None, None].expand_as(x)
        for power in reversed(range(degree)):
            result = result * x + fitted[:, power, None, None]
        return result


@contextmanager
def _watched(sites: Mapping[str, nn.Module], note: Callable[[str, Tensor, Tensor], Any]) -> Any:
    """Call `note(label, input, output)` in every forward pass of a site."""
    with ExitStack() as stack:
        for label, module in sites.items():

            def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, label: str = label) -> None:
                note(label, inputs[0], output)

            stack.callback(module.register_forward_hook(hook).remove)
        yield
