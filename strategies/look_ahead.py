"""The virtual step ω′ = ω − ξ·∂ζ_trn/∂ω (Algorithm 1, line 6), as the weight optimizer would really take it.

ξ is the optimizer's current learning rate, per parameter group. With SGD, momentum, dampening, Nesterov, weight decay
and gradient clipping belong to the step, so ω′ is where the next weight update would go; other optimizers are
approximated by a plain step of the same learning rate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class StepRule:
    """How SGD moves one tensor: ω′ = ω − `learning_rate` · (`gradient_factor` · (g + wd · ω) + `velocity`).

    Everything that does not depend on the gradient g of this step is in `velocity`.
    """

    learning_rate: float
    weight_decay: float = 0.0
    gradient_factor: float = 1.0
    velocity: Tensor | None = None


@dataclass(frozen=True)
class VirtualStep:
    """ω′ and the transpose of its derivative with respect to the gradient that it was made of.

    `pull_back(v)` is (∂ω′/∂g)ᵀ v for v = δω′: minus ξ·δω′ in the paper's plain step.
    """

    weights: Weights
    pull_back: Callable[[Mapping[str, Tensor]], Weights]
    finite: bool


class LookAhead:
    """Virtual steps for the weights that one optimizer trains.

    Args:
        rules: parameter name -> how the optimizer would move it now; absent names stay where they are.
        gradient_clip: largest norm of the whole gradient before the step, or None.
    """

    def __init__(self, rules: Mapping[str, StepRule], gradient_clip: float | None = None) -> None:
        self.rules = dict(rules)
        self.gradient_clip = gradient_clip

    @classmethod
    def of(
        cls, optimizer: torch.optim.Optimizer, weights: Mapping[str, Tensor], gradient_clip: float | None = None
    ) -> LookAhead:
        """Read the current learning rates, momentum buffers and weight decay of `optimizer`."""
        names = {id(tensor): name for name, tensor in weights.items()}
        is_sgd = isinstance(optimizer, torch.optim.SGD)
        rules: dict[str, StepRule] = {}
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                name = names.get(id(parameter))
                if name is None:
                    continue
                if is_sgd:
                    rules[name] = _sgd_rule(group, optimizer.state[parameter].get("momentum_buffer"))
                else:
                    rules[name] = StepRule(float(group["lr"]))
        return cls(rules, gradient_clip)

    @torch.no_grad()
    def step(self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> VirtualStep:
        """Take the step from `weights` along `gradients` (both name -> tensor); nothing is changed in place."""
        scale, direction, finite = self._clipping(gradients)
        moved = dict(weights)
        for name, gradient in gradients.items():
            rule = self.rules.get(name)
            if rule is None:
                continue
            weight = weights[name]
            update = gradient * scale
            if rule.weight_decay:
                update = update.add_(weight, alpha=rule.weight_decay)
            if rule.gradient_factor != 1.0:
                update = update.mul_(rule.gradient_factor)
            if rule.velocity is not None:
                update = update.add_(rule.velocity)
            moved[name] = torch.sub(weight, update, alpha=rule.learning_rate)

        def pull_back(vectors: Mapping[str, Tensor]) -> Weights:
            """(∂ω′/∂g)ᵀ v, through the clipping: c·(v − ĝ⟨ĝ, v⟩) where it scaled the gradient by c."""
            pulled = {
                name: vectors[name] * (-self.rules[name].learning_rate * self.rules[name].gradient_factor)
                for name in gradients
                if name in self.rules and name in vectors
            }
            if direction is not None:
                along = sum((direction[name] * vector).sum() for name, vector in pulled.items())
                pulled = {name: scale * (vector - direction[name] * along) for name, vector in pulled.items()}
            return pulled

        return VirtualStep(moved, pull_back, finite)

    def _clipping(self, gradients: Mapping[str, Tensor]) -> tuple[float, Weights | None, bool]:
        """The factor of the clipped gradient, its unit direction where it was clipped, and whether it is finite."""
        norm = total_norm(gradients.values())
        finite = bool(torch.isfinite(norm))
        if self.gradient_clip is None or not finite or norm <= self.gradient_clip:
            return 1.0, None, finite
        return self.gradient_clip / float(norm), {name: g / norm for name, g in gradients.items()}, finite


def total_norm(tensors: object) -> Tensor:
    """Euclidean norm of many tensors taken as one vector."""
    norms = [torch.linalg.vector_norm(tensor) for tensor in tensors]  # type: ignore[attr-defined]
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.tensor(0.0)


def _sgd_rule(group: Mapping[str, object], buffer: Tensor | None) -> StepRule:
    """`torch.optim.SGD` with everything but the gradient folded into constants.

    buffer' = μ·buffer + (1 − dampening)·d with d = g + wd·ω, the first buffer being d itself; the step is buffer', or
    d + μ·buffer' with Nesterov.
    """
    momentum, dampening = float(group["momentum"]), float(group["dampening"])  # type: ignore[arg-type]
    nesterov = bool(group["nesterov"])
    factor, velocity = 1.0, None
    if momentum:
        weight = 1.0 if buffer is None else 1.0 - dampening
        factor = 1.0 + momentum * weight if nesterov else weight
        if buffer is not None:
            velocity = buffer * (momentum * momentum if nesterov else momentum)
    return StepRule(float(group["lr"]), float(group["weight_decay"]), factor, velocity)  # type: ignore[arg-type]
