"""How the parameters of a network are stepped: groups, clipping and skipped steps.

Networks of square polynomials diverge under the plain recipe. What keeps them finite is here, for every loop that
trains one: the coefficients of plain X2act in their own group at a hundredth of the learning rate and without weight
decay, no step on gradients that are not finite, and clipped norms.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from torch import Tensor, nn

from rrnet_nni.search_spaces import x2act_modules


def parameter_groups(
    model: nn.Module, learning_rate: float, weight_decay: float, x2act_factor: float
) -> list[dict[str, Any]]:
    """Groups for an optimizer of weights: decayed (matrices and kernels), undecayed (norms, biases), plain X2act.

    γ and β of X2act in normalized bases are those of a norm.

    Architecture parameters of a supernet are left out.
    """
    coefficients = {
        id(parameter): parameter for module in x2act_modules(model) for parameter in module.slow_parameters()
    }
    architecture = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, BaseSuperNetModule)
        for parameter in module.arch_parameters()  # type: ignore[operator]
    }
    weights = [p for p in model.parameters() if id(p) not in coefficients and id(p) not in architecture]
    groups = [
        {"params": [p for p in weights if p.ndim > 1], "lr": learning_rate, "weight_decay": weight_decay},
        {"params": [p for p in weights if p.ndim <= 1], "lr": learning_rate, "weight_decay": 0.0},
        {"params": list(coefficients.values()), "lr": learning_rate * x2act_factor, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def clip_or_drop_gradients(parameters: Iterable[Tensor], clip_norm: float) -> bool:
    """Scale gradients to a norm of at most `clip_norm`; drop them all where the norm is not finite.

    An optimizer skips parameters without gradient, so a dropped step changes nothing (clipping would turn inf into
    NaN). Returns whether the gradients were kept.
    """
    parameters = [parameter for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.clip_grad_norm_(parameters, clip_norm, foreach=True)
    if torch.isfinite(norm):
        return True
    for parameter in parameters:
        parameter.grad = None
    return False
