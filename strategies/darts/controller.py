"""Meeting a budget: λ adapted while the search runs."""

from __future__ import annotations

import math

from ..budgets import Budget


class BudgetController:
    """Proportional-integral control of λ from the error e = expected / target − 1, once per α update.

    The integral part learns the multiplier at which accuracy and cost balance at the target: it grows by e^(gain·e).
    The proportional part answers at once, in units of one over the milliseconds that the gates can save; below the
    target it may turn λ negative, so that the mixture comes back up.

    Args:
        budget: what is to be met.
        latency_weight: the integral part to start from, in 1/ms; 0 takes one over what the gates can save.
        gain: of the integral part.
        stiffness: of the proportional part.

    Raises:
        Refusal: no network of the space meets the budget, or all of them do by far.
    """

    def __init__(self, budget: Budget, latency_weight: float, gain: float = 0.1, stiffness: float = 10.0) -> None:
        budget.check()
        self.budget = budget
        self.gain, self.stiffness = gain, stiffness
        self._natural = 1.0 / max(budget.savable_ms(), 1e-9)
        self.integral = latency_weight or self._natural

    def update(self, expected: float) -> float:
        """One step of control at what the mixture expects now; returns λ for the next α update, in 1/ms."""
        error = expected / self.budget.target - 1.0
        low, high = self._natural * 1e-4, self._natural * 1e4
        self.integral = min(max(self.integral * math.exp(self.gain * error), low), high)
        return max(self.integral + self.stiffness * self._natural * error, -self._natural)
