"""The settings of a search, with defaults for the digits task: a small ResNet, a search of seconds on one core."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, get_args

from annotated_types import Gt, Le

from rrnet_nni.base.settings import Count, Natural, NotNegative, Positive, WrongSetting, check_settings

#: `registry.STRATEGIES` has their functions.
StrategyName = Literal["rrnet", "rrnet-first-order", "random", "greedy", "sparsity", "evolution", "knapsack"]
STRATEGY_NAMES: tuple[StrategyName, ...] = get_args(StrategyName)


@dataclass(frozen=True)
class SearchOptions:
    """How a space is searched.

    Attributes:
        strategy: name of the strategy; None takes `knapsack` within a target, and `rrnet` at a λ alone or where
            `alpha_start` is given.
        epochs: passes over the search half of the training data.
        warmup_epochs: epochs at the start that train ω alone.
        latency_weight: λ in 1/ms (Sec. III-C).
        target_latency_ms: latency that the derived network must meet; λ is adapted, starting at `latency_weight`.
        target_comparisons: comparisons that the derived network may make, those of poolings included; λ is adapted.
        order: 2 is Algorithm 1, 1 leaves the look-ahead out.
        hvp: second-order term by `finite_difference` (Eq. 8) or `exact` double backward.
        epsilon: distance of ω± from ω in Eq. 8.
        alpha_learning_rate: of Adam on α.
        alpha_start: where α starts: `uniform`, or at the choice of the `knapsack` (see `knapsack_search.py`).
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

    strategy: StrategyName | None = None
    epochs: Count = 15
    warmup_epochs: Natural = 3
    latency_weight: NotNegative = 0.1
    target_latency_ms: Positive | None = None
    target_comparisons: Count | None = None
    order: Literal[1, 2] = 2
    hvp: Literal["finite_difference", "exact"] = "finite_difference"
    epsilon: Positive = 0.01
    alpha_learning_rate: Positive = 0.05
    alpha_start: Literal["uniform", "knapsack"] = "uniform"
    alpha_weight_decay: NotNegative = 0.0
    temperature_end: Annotated[float, Gt(0), Le(1)] = 0.1
    freeze_threshold: Annotated[float, Gt(0.5), Le(1)] | None = 0.999
    gradient_clip: Positive | None = 5.0
    budget_s: Positive | None = None
    candidates: Count = 12
    candidate_epochs: Count = 4
    tensorboard: bool = False
    seed: Natural = 0

    def __post_init__(self) -> None:
        check_settings(self)
        if self.warmup_epochs >= self.epochs:
            raise WrongSetting(f"warmup_epochs ({self.warmup_epochs}) must be less than epochs ({self.epochs})")
        if self.target_comparisons is not None and self.target_latency_ms is not None:
            raise WrongSetting("target_comparisons and target_latency_ms are two budgets: give one of them")

    @property
    def strategy_name(self) -> StrategyName:
        """The strategy that searches: within a target the one that is the most accurate at equal processor time."""
        if self.strategy is not None:
            return self.strategy
        at_weight = self.target_comparisons is None and self.target_latency_ms is None
        return "rrnet" if at_weight or self.alpha_start != "uniform" else "knapsack"

    def to_dict(self) -> dict[str, Any]:
        """The options as plain JSON values; `SearchOptions(**options.to_dict())` gives them back."""
        return asdict(self)
