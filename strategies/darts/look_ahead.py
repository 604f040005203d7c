"""The virtual step ω′ = ω − ξ·∂ζ_trn/∂ω (Algorithm 1, line 6), as the weight optimizer would really take it.

ξ is the optimizer's current learning rate, per parameter group. With SGD, momentum, dampening, Nesterov, weight decay
and gradient clipping belong to the step, so ω′ is where the next weight update would go; other optimizers are
approximated by a plain step of the same learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class StepRule:
    """How SGD moves some tensors: ω′ = ω − lr · (`gradient_factor` · (g + `weight_decay` · ω) + `velocity_factor` · v).

    lr is `learning_rate`. `velocities` holds the momentum buffers v in the order of `names`; None where the optimizer
    has none yet.
    """

    names: tuple[str, ...]
    learning_rate: float
    weight_decay: float = 0.0
    gradient_factor: float = 1.0
    velocity_factor: float = 0.0
    velocities: tuple[Tensor, ...] | None = None


@dataclass(frozen=True)
class StepDerivative:
    """How ω′ depends on the gradient g that the step was made of.

    Attributes:
        factors: name -> ∂ω′/∂g of one element, without the clipping: −ξ in the paper's plain step.
        finite: whether g was.
        scale: factor c of the clipping; 1 where it did nothing.
        clipped: (g, |g|) where the clipping scaled g, None elsewhere: then nothing of g is kept.
    """

    factors: Mapping[str, float]
    finite: bool
    scale: float = 1.0
    clipped: tuple[Weights, float] | None = None

    @torch.no_grad()
    def pull_back(self, vectors: Weights) -> Weights:
        """(∂ω′/∂g)ᵀ v for v = `vectors`, through the clipping: c·(v − ĝ⟨ĝ, v⟩).

        Empties `vectors` on the way, so that both are never held in whole.
        """
        pulled = {name: vectors.pop(name) * factor for name, factor in self.factors.items() if name in vectors}
        if self.clipped is not None:
            gradients, norm = self.clipped
            along = float(sum((gradients[name] * vector).sum() for name, vector in pulled.items())) / norm**2
            for name, vector in pulled.items():
                vector.add_(gradients[name], alpha=-along).mul_(self.scale)
        return pulled


class LookAhead:
    """Virtual steps for the weights that one optimizer trains.

    Args:
        rules: how the optimizer would move its tensors now; tensors without a rule stay where they are.
        gradient_clip: largest norm of the whole gradient before the step, or None.
    """

    def __init__(self, rules: Iterable[StepRule], gradient_clip: float | None = None) -> None:
        self.rules = tuple(rules)
        self.gradient_clip = gradient_clip

    @classmethod
    def of(
        cls, optimizer: torch.optim.Optimizer, weights: Mapping[str, Tensor], gradient_clip: float | None = None
    ) -> LookAhead:
        """Read the current learning rates, momentum buffers and weight decay of `optimizer`."""
        names = {id(tensor): name for name, tensor in weights.items()}
        is_sgd = isinstance(optimizer, torch.optim.SGD)
        rules: list[StepRule] = []
        for group in optimizer.param_groups:
            resting: list[str] = []
            moving: dict[str, Tensor] = {}
            for parameter in group["params"]:
                name = names.get(id(parameter))
                if name is None:
                    continue
                buffer = optimizer.state[parameter].get("momentum_buffer") if is_sgd else None
                if buffer is None:
                    resting.append(name)
                else:
                    moving[name] = buffer
            if resting:
                rules.append(_sgd_rule(group, resting) if is_sgd else StepRule(tuple(resting), float(group["lr"])))
            if moving:
                rules.append(_sgd_rule(group, list(moving), tuple(moving.values())))
        return cls(rules, gradient_clip)

    @torch.no_grad()
    def step(self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> tuple[Weights, StepDerivative]:
        """ω′ from `weights` along `gradients` (name -> tensor), and its derivative; nothing is changed in place."""
        norm = float(total_norm(gradients.values()))
        finite = math.isfinite(norm)
        clips = self.gradient_clip is not None and finite and norm > self.gradient_clip
        scale = self.gradient_clip / norm if clips and self.gradient_clip is not None else 1.0
        moved = dict(weights)
        factors: dict[str, float] = {}
        for rule in self.rules:
            chosen = [position for position, name in enumerate(rule.names) if name in gradients]
            if not chosen:
                continue
            names = [rule.names[position] for position in chosen]
            start = [weights[name] for name in names]
            # One new tensor per weight: it is the scaled gradient first, the step next, and ω′ in the end.
            update = torch._foreach_mul([gradients[name] for name in names], scale * rule.gradient_factor)
            if rule.weight_decay:
                torch._foreach_add_(update, start, alpha=rule.weight_decay * rule.gradient_factor)
            if rule.velocities is not None and rule.velocity_factor:
                velocities = [rule.velocities[position] for position in chosen]
                torch._foreach_add_(update, velocities, alpha=rule.velocity_factor)
            torch._foreach_mul_(update, -rule.learning_rate)
            torch._foreach_add_(update, start)
            moved.update(zip(names, update))
            factors.update(dict.fromkeys(names, -rule.learning_rate * rule.gradient_factor))
        return moved, StepDerivative(factors, finite, scale, (dict(gradients), norm) if clips else None)


def total_norm(tensors: Iterable[Tensor]) -> Tensor:
    """Euclidean norm of many tensors taken as one vector."""
    listed = list(tensors)
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(listed))) if listed else torch.tensor(0.0)


def _sgd_rule(group: Mapping[str, object], names: Iterable[str], buffers: tuple[Tensor, ...] | None = None) -> StepRule:
    """`torch.optim.SGD` with everything but the gradient folded into constants.

    buffer' = μ·buffer + (1 − dampening)·d with d = g + wd·ω, the first buffer being d itself; the step is buffer', or
    d + μ·buffer' with Nesterov.
    """
    momentum, dampening = float(group["momentum"]), float(group["dampening"])  # type: ignore[arg-type]
    nesterov = bool(group["nesterov"])
    factor, velocity_factor = 1.0, 0.0
    if momentum:
        weight = 1.0 if buffers is None else 1.0 - dampening
        factor = 1.0 + momentum * weight if nesterov else weight
        velocity_factor = momentum * momentum if nesterov else momentum
    rate, decay = float(group["lr"]), float(group["weight_decay"])  # type: ignore[arg-type]
    return StepRule(tuple(names), rate, decay, factor, velocity_factor, buffers)
