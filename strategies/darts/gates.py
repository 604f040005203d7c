"""Gated operators: OP_l(x) = Σ_k θ_lk · OP_lk(x) with θ = softmax(α / T) (Eq. 5), and gates that are decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from nni.nas.nn.pytorch import LayerChoice
from nni.nas.oneshot.pytorch.supermodule.differentiable import DifferentiableMixedLayer
from torch import Tensor, nn

from rrnet_nni.search_spaces import x2act_modules


class TemperedSoftmax(nn.Module):
    """θ = softmax(α / T) over the last axis; T = 1 is the paper's, T → 0 decides."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = 1.0

    def forward(self, alpha: Tensor) -> Tensor:
        return torch.softmax(alpha / self.temperature, dim=-1)


class GatedLayer(DifferentiableMixedLayer):
    """NNI's mixed layer that, once decided, computes its winner alone."""

    decided: int | None = None

    @classmethod
    def mutate(cls, module: nn.Module, name: str, memo: dict[str, Any], mutate_kwargs: dict[str, Any]) -> Any:
        """Replace a `LayerChoice`; a hook of NNI's `OneShotStrategy`."""
        if type(module) is not LayerChoice:
            return None
        return cls(module.candidates, memo[str(module.label)], mutate_kwargs["softmax"], module.label)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.decided is not None:
            return self[self.names[self.decided]](*args, **kwargs)
        return super().forward(*args, **kwargs)


@dataclass
class Gate:
    """One choice of the search: its label, its candidates in the order of α, and the layers that it opens.

    `decided` is the index of the winner once the gate is frozen, and then θ is one-hot and α has no gradient.
    """

    label: str
    candidates: tuple[str, ...]
    alpha: nn.Parameter
    layers: tuple[GatedLayer, ...]
    decided: int | None = None

    def decide(self, winner: int) -> None:
        """Freeze the gate: from now on its layers compute the winner alone."""
        self.decided = winner
        self.alpha.requires_grad_(False)
        self.alpha.grad = None
        for layer in self.layers:
            layer.decided = winner
            # The losers compute no more, and the range loss must not look at what their last pass left behind.
            for square in x2act_modules(layer):
                square.range_excess = None


class SupernetGates:
    """All gates of a supernet, ordered by label so that α keeps its order from one process to the next.

    Args:
        candidates: label -> candidates in the order of α.
        alphas: label -> α [number of candidates].
        supernet: the mutated model.
        softmax: the softmax that every gate of the supernet shares.
    """

    def __init__(
        self,
        candidates: Mapping[str, tuple[str, ...]],
        alphas: Mapping[str, nn.Parameter],
        supernet: nn.Module,
        softmax: TemperedSoftmax,
    ) -> None:
        layers: dict[str, list[GatedLayer]] = {label: [] for label in candidates}
        for module in supernet.modules():
            if isinstance(module, GatedLayer):
                layers[str(module.label)].append(module)
        self._gates = [
            Gate(label, tuple(candidates[label]), alphas[label], tuple(layers[label])) for label in sorted(candidates)
        ]
        self._softmax = softmax

    def __iter__(self) -> Any:
        return iter(self._gates)

    def __len__(self) -> int:
        return len(self._gates)

    @property
    def temperature(self) -> float:
        return self._softmax.temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        self._softmax.temperature = value

    @property
    def candidates(self) -> dict[str, tuple[str, ...]]:
        """Label -> candidates in the order of θ."""
        return {gate.label: gate.candidates for gate in self._gates}

    @torch.no_grad()
    def start_at(self, theta: Mapping[str, Mapping[str, float]]) -> None:
        """Set α so that θ, at temperature 1, is label -> candidate -> `theta`."""
        for gate in self._gates:
            chances = torch.tensor([theta[gate.label][name] for name in gate.candidates])
            gate.alpha.copy_(chances.log())

    def open_alphas(self) -> list[nn.Parameter]:
        """α of the gates that are not decided yet, ordered by label."""
        return [gate.alpha for gate in self._gates if gate.decided is None]

    def theta(self) -> dict[str, Tensor]:
        """Label -> θ [candidates], with gradient; one-hot where the gate is decided."""
        return {gate.label: self._theta(gate) for gate in self._gates}

    def _theta(self, gate: Gate) -> Tensor:
        if gate.decided is None:
            return self._softmax(gate.alpha)
        one_hot = torch.zeros_like(gate.alpha, requires_grad=False)
        one_hot[gate.decided] = 1.0
        return one_hot

    @torch.no_grad()
    def probabilities(self) -> dict[str, dict[str, float]]:
        """Label -> candidate -> θ as plain numbers."""
        return {
            label: dict(zip(self.candidates[label], (float(p) for p in theta))) for label, theta in self.theta().items()
        }

    def argmax(self) -> dict[str, str]:
        """k* = argmax_k θ_lk of every gate (end of Algorithm 1)."""
        return {gate.label: gate.candidates[int(torch.argmax(gate.alpha))] for gate in self._gates}

    def freeze_decided(self, threshold: float) -> list[str]:
        """Freeze every gate of which one candidate has θ >= `threshold`; returns the labels that were frozen."""
        frozen = []
        for gate in self._gates:
            if gate.decided is None and gate.layers:
                best = int(torch.argmax(gate.alpha))
                if float(self._theta(gate)[best].detach()) >= threshold:
                    gate.decide(best)
                    frozen.append(gate.label)
        return frozen

    def state_dict(self) -> dict[str, Any]:
        return {
            "temperature": self.temperature,
            "decided": {gate.label: gate.decided for gate in self._gates if gate.decided is not None},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.temperature = float(state["temperature"])
        for gate in self._gates:
            if gate.label in state["decided"]:
                gate.decide(int(state["decided"][gate.label]))
