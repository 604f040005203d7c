"""The settings of a search, with defaults for the digits task: a small ResNet, a search of seconds on one core."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from rrnet_nni.base.errors import Refusal

#: `registry.STRATEGIES` has their functions.
STRATEGY_NAMES = ("rrnet", "rrnet-first-order", "random", "greedy", "sparsity", "evolution")
HESSIAN_PRODUCTS = ("finite_difference", "exact")


@dataclass(frozen=True)
class SearchOptions:
    """How a space is searched.

    Attributes:
        strategy: name of the strategy, see `strategy_names()`.
        epochs: passes over the search half of the training data.
        warmup_epochs: epochs at the start that train ω alone.
        latency_weight: λ in 1/ms (Sec. III-C).
        target_latency_ms: latency that the derived network must meet; λ is adapted, starting at `latency_weight`.
        target_comparisons: comparisons that the derived network may make, those of poolings included; λ is adapted.
        order: 2 is Algorithm 1, 1 leaves the look-ahead out.
        hvp: second-order term by `finite_difference` (Eq. 8) or `exact` double backward.
        epsilon: distance of ω± from ω in Eq. 8.
        alpha_learning_rate: of Adam on α.
        alpha_weight_decay: L2 of Adam on α, pulls θ towards uniform.
        temperature_end: T of θ = softmax(α / T) in the last epoch; T falls geometrically from 1 after the warm-up.
        freeze_threshold: θ at which a gate is decided and computes its winner alone; None never freezes.
        gradient_clip: largest norm of a weight gradient; None does not clip.
        budget_s: seconds of computation that a rival strategy may spend; None lets it finish its own plan.
        candidates: architectures that a rival strategy trains at most.
        candidate_epochs: epochs for which a rival strategy trains one architecture.
        tensorboard: also write the record of the epochs as TensorBoard curves.
        seed: of everything random.
    """

    strategy: str = "rrnet"
    epochs: int = 15
    warmup_epochs: int = 3
    latency_weight: float = 0.1
    target_latency_ms: float | None = None
    target_comparisons: int | None = None
    order: int = 2
    hvp: str = "finite_difference"
    epsilon: float = 0.01
    alpha_learning_rate: float = 0.05
    alpha_weight_decay: float = 0.0
    temperature_end: float = 0.1
    freeze_threshold: float | None = 0.999
    gradient_clip: float | None = 5.0
    budget_s: float | None = None
    candidates: int = 12
    candidate_epochs: int = 4
    tensorboard: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        _at_least("epochs", self.epochs, 1)
        _at_least("warmup_epochs", self.warmup_epochs, 0)
        _at_least("candidates", self.candidates, 1)
        _at_least("candidate_epochs", self.candidate_epochs, 1)
        _at_least("seed", self.seed, 0)
        if self.warmup_epochs >= self.epochs:
            raise Refusal(f"warmup_epochs ({self.warmup_epochs}) must be less than epochs ({self.epochs})")
        if self.order not in (1, 2):
            raise Refusal(f"order must be 1 or 2, not {self.order!r}")
        if self.hvp not in HESSIAN_PRODUCTS:
            raise Refusal(f"hvp must be one of {', '.join(HESSIAN_PRODUCTS)}, not {self.hvp!r}")
        for name in ("latency_weight", "alpha_weight_decay"):
            _number(name, getattr(self, name), 0.0, inclusive=True)
        for name in ("epsilon", "alpha_learning_rate", "temperature_end"):
            _number(name, getattr(self, name), 0.0)
        for name in ("target_latency_ms", "freeze_threshold", "gradient_clip", "budget_s"):
            if getattr(self, name) is not None:
                _number(name, getattr(self, name), 0.0)
        if self.target_comparisons is not None:
            _at_least("target_comparisons", self.target_comparisons, 1)
            if self.target_latency_ms is not None:
                raise Refusal("target_comparisons and target_latency_ms are two budgets: give one of them")
        if self.temperature_end > 1.0:
            raise Refusal(f"temperature_end must be at most 1, not {self.temperature_end!r}")
        if self.freeze_threshold is not None and not 0.5 < self.freeze_threshold <= 1.0:
            raise Refusal(f"freeze_threshold must lie above 0.5 and be at most 1, not {self.freeze_threshold!r}")

    def to_dict(self) -> dict[str, Any]:
        """The options as plain JSON values; `SearchOptions(**options.to_dict())` gives them back."""
        return asdict(self)


def _at_least(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise Refusal(f"{name} must be a whole number of at least {least}, not {value!r}")


def _number(name: str, value: object, least: float, inclusive: bool = False) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or value < least or (value == least and not inclusive):  # type: ignore[operator]
        raise Refusal(f"{name} must be a number {'of at least' if inclusive else 'above'} {least:g}, not {value!r}")
