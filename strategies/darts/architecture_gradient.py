"""δα, the gradient of the validation loss with respect to α at the weights that training is about to reach (Eq. 6-8).

The functions are pure: a loss is a function of a weight dictionary, so the same lines serve the search and the tests
that compare them with a numeric derivative of the bilevel problem.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from .look_ahead import LookAhead, Weights, total_norm

Loss = Callable[[Mapping[str, Tensor]], Tensor]
HessianProduct = Literal["finite_difference", "exact"]


@dataclass(frozen=True)
class ArchitectureGradient:
    """δα for each tensor of α, and the losses that were met on the way.

    `finite` is False when the look-ahead or the gradient overflowed: such an α update must be skipped.
    `train_loss` is None in first order, which makes no training pass.
    """

    gradients: list[Tensor]
    validation_loss: Tensor
    train_loss: Tensor | None
    finite: bool


def first_order(alphas: Sequence[Tensor], weights: Mapping[str, Tensor], validation_loss: Loss) -> ArchitectureGradient:
    """∂ζ_val(ω, α)/∂α: the look-ahead with ξ = 0. One forward and one backward pass."""
    loss = validation_loss({name: weight.detach() for name, weight in weights.items()})
    gradients = _filled(torch.autograd.grad(loss, list(alphas), allow_unused=True), alphas)
    return ArchitectureGradient(gradients, loss.detach(), None, _all_finite(loss, gradients))


def second_order(
    alphas: Sequence[Tensor],
    weights: Mapping[str, Tensor],
    train_loss: Loss,
    validation_loss: Loss,
    look_ahead: LookAhead,
    hessian_product: HessianProduct = "finite_difference",
    epsilon: float = 0.01,
) -> ArchitectureGradient:
    """δα = δα′ − ξ·δα″ (Algorithm 1, lines 4-14). Four forward and four backward passes with finite differences.

    Args:
        alphas: the tensors of α, with gradients on.
        weights: ω by name; entries that require no gradient stay fixed.
        train_loss, validation_loss: ζ_trn and ζ_val (with the latency penalty) as functions of ω; α enters by itself.
        look_ahead: how the weight optimizer would step now.
        hessian_product: `finite_difference` is Eq. 8, `exact` differentiates the training gradient once more.
        epsilon: length of the virtual steps ω± from ω.
    """
    exact = hessian_product == "exact"
    trained = {name: weight for name, weight in weights.items() if weight.requires_grad}
    # Lines 4-5: forward and backward on the training batch.
    train = train_loss(weights)
    found = torch.autograd.grad(train, list(trained.values()), create_graph=exact, allow_unused=True)
    graphed = _present(trained, found)
    train = train.detach()
    # Line 6: virtual step.
    fixed = {name: weight.detach() for name, weight in weights.items()}
    virtual, derivative = look_ahead.step(fixed, {name: gradient.detach() for name, gradient in graphed.items()})
    del found
    if not exact:
        graphed.clear()  # every copy of ω that is not needed any more goes before the next pass needs its memory
    # Lines 7-9: one backward pass gives δα′ and δω′ together.
    validation, direct, delta_omega = _at_virtual_weights(alphas, validation_loss, virtual, list(derivative.factors))
    del virtual
    finite = derivative.finite
    # ∂ω′/∂g carries −ξ, so the second term of Eq. 7 is added below.
    direction = derivative.pull_back(delta_omega)
    del derivative
    if exact:
        products = torch.autograd.grad(
            [graphed[name] for name in direction], list(alphas), list(direction.values()), allow_unused=True
        )
        correction = _filled(products, alphas)
    else:
        correction = _finite_difference(alphas, fixed, train_loss, direction, epsilon)
    gradients = [first + second for first, second in zip(direct, correction)]
    return ArchitectureGradient(gradients, validation, train, finite and _all_finite(validation, gradients))


def _at_virtual_weights(
    alphas: Sequence[Tensor], validation_loss: Loss, virtual: Mapping[str, Tensor], names: Sequence[str]
) -> tuple[Tensor, list[Tensor], Weights]:
    """ζ_val(ω′, α) with δα′ = ∂ζ_val/∂α and δω′ = ∂ζ_val/∂ω′ of the weights that moved (lines 7-9)."""
    leaves = {name: virtual[name].requires_grad_() for name in names}
    loss = validation_loss({**virtual, **leaves})
    found = torch.autograd.grad(loss, [*alphas, *leaves.values()], allow_unused=True)
    return loss.detach(), _filled(found[: len(alphas)], alphas), _present(leaves, found[len(alphas) :])


def _finite_difference(
    alphas: Sequence[Tensor],
    weights: Mapping[str, Tensor],
    train_loss: Loss,
    direction: Mapping[str, Tensor],
    epsilon: float,
) -> list[Tensor]:
    """(∂²ζ_trn/∂α∂ω)·direction by central differences at ω± = ω ± h·direction (lines 10-13, Eq. 8).

    `weights` carry no gradient. The step is h = ε/|direction|, so that ω± lie at distance ε from ω however small the
    gradient is.
    """
    norm = float(total_norm(direction.values()))
    if norm == 0.0:
        return [torch.zeros_like(alpha) for alpha in alphas]
    half = epsilon / norm
    start, vectors = [weights[name] for name in direction], list(direction.values())
    signed = []
    for sign in (half, -half):
        shifted = {**weights, **dict(zip(direction, torch._foreach_add(start, vectors, alpha=sign)))}
        loss = train_loss(shifted)
        signed.append(_filled(torch.autograd.grad(loss, list(alphas), allow_unused=True), alphas))
        del loss, shifted
    return [(plus - minus) / (2 * half) for plus, minus in zip(*signed)]


def _present(names: Iterable[str], gradients: Sequence[Tensor | None]) -> Weights:
    """The gradients that exist, by name."""
    return {name: gradient for name, gradient in zip(names, gradients) if gradient is not None}


def _filled(gradients: Sequence[Tensor | None], alphas: Sequence[Tensor]) -> list[Tensor]:
    """Gradients with zeros for tensors that the loss does not depend on."""
    return [torch.zeros_like(alpha) if g is None else g for g, alpha in zip(gradients, alphas)]


def _all_finite(loss: Tensor, gradients: Sequence[Tensor]) -> bool:
    return bool(torch.isfinite(loss)) and all(bool(torch.isfinite(g).all()) for g in gradients)
