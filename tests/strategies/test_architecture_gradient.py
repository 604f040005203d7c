"""δα against numeric derivatives of the bilevel problem, in float64 on a smooth network (Eq. 5-8)."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.profiler import ProfilerActivity, profile

from rrnet_nni.strategies.darts.architecture_gradient import first_order, second_order
from rrnet_nni.strategies.darts.gates import Gate, SupernetGates, TemperedSoftmax
from rrnet_nni.strategies.darts.look_ahead import LookAhead

LATENCY_WEIGHT = 0.07
STEPS = {
    "plain": {"lr": 0.1},
    "momentum": {"lr": 0.1, "momentum": 0.9},
    "weight decay": {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05},
    "nesterov": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.05},
    "dampening": {"lr": 0.1, "momentum": 0.9, "dampening": 0.3},
}


class SmoothGates(nn.Module):
    """Two layers, each a mixture of tanh and a square polynomial: smooth in ω and α."""

    def __init__(self) -> None:
        super().__init__()
        self.lower, self.upper, self.head = nn.Linear(5, 7), nn.Linear(7, 6), nn.Linear(6, 3)
        self.double()

    def forward(self, x: Tensor, alphas: list[Tensor]) -> Tensor:
        for layer, alpha in zip((self.lower, self.upper), alphas):
            x = layer(x)
            theta = torch.softmax(alpha, 0)
            x = theta[0] * torch.tanh(x) + theta[1] * (0.1 * x * x + x)
        return self.head(x)


class Bilevel:
    """A smooth bilevel problem: ω trained on one batch, α judged on another."""

    def __init__(self, **optimizer: Any) -> None:
        torch.manual_seed(3)
        self.network = SmoothGates()
        self.weights = dict(self.network.named_parameters())
        self.alphas = [torch.randn(2, dtype=torch.float64, requires_grad=True) for _ in range(2)]
        self.train = (torch.randn(11, 5, dtype=torch.float64), torch.randint(3, (11,)))
        self.validation = (torch.randn(9, 5, dtype=torch.float64), torch.randint(3, (9,)))
        self.optimizer = torch.optim.SGD(self.network.parameters(), **optimizer)
        for _ in range(2):  # the momentum buffers are full
            self.optimizer.zero_grad()
            self.train_loss(self.weights).backward()
            self.optimizer.step()

    def _loss(self, weights: Mapping[str, Tensor], batch: tuple[Tensor, Tensor]) -> Tensor:
        logits = functional_call(self.network, dict(weights), (batch[0], self.alphas))
        return nn.functional.cross_entropy(logits, batch[1])

    def train_loss(self, weights: Mapping[str, Tensor]) -> Tensor:
        return self._loss(weights, self.train)

    def validation_loss(self, weights: Mapping[str, Tensor]) -> Tensor:
        prices = [torch.tensor([4.0, 0.5]), torch.tensor([2.0, 0.3])]
        latency = sum((torch.softmax(alpha, 0) * price.double()).sum() for alpha, price in zip(self.alphas, prices))
        return self._loss(weights, self.validation) + LATENCY_WEIGHT * latency

    def value_after_a_real_step(self, clip: float | None) -> float:
        """ζ_val after the optimizer itself took the step, on a copy of everything."""
        twin = SmoothGates()
        twin.load_state_dict(self.network.state_dict())
        optimizer = torch.optim.SGD(twin.parameters(), lr=1.0)
        optimizer.load_state_dict(copy.deepcopy(self.optimizer.state_dict()))
        weights = dict(twin.named_parameters())
        optimizer.zero_grad()
        self.train_loss(weights).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(twin.parameters(), clip)
        optimizer.step()
        with torch.no_grad():
            return float(self.validation_loss(weights))

    def numeric_gradient(self, clip: float | None = None, h: float = 1e-5) -> list[Tensor]:
        gradients = []
        for alpha in self.alphas:
            gradient = torch.zeros_like(alpha)
            for index in range(len(alpha)):
                values = []
                for sign in (h, -h):
                    with torch.no_grad():
                        alpha[index] += sign
                    values.append(self.value_after_a_real_step(clip))
                    with torch.no_grad():
                        alpha[index] -= sign
                gradient[index] = (values[0] - values[1]) / (2 * h)
            gradients.append(gradient)
        return gradients

    def gradient(self, hessian_product: Any, epsilon: float = 0.01, clip: float | None = None) -> list[Tensor]:
        look_ahead = LookAhead.of(self.optimizer, self.weights, clip)
        return second_order(
            self.alphas, self.weights, self.train_loss, self.validation_loss, look_ahead, hessian_product, epsilon
        ).gradients


def largest_difference(first: list[Tensor], second: list[Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(first, second))


def test_the_penaltys_gradient_is_lambda_theta_times_the_distance_from_the_mean(tiny: Any) -> None:
    alphas = {
        label: nn.Parameter(torch.tensor(values, dtype=torch.float64))
        for label, values in {"act1": [0.3, -0.7], "act2": [1.1, 0.2], "pool": [-0.4, 0.9]}.items()
    }
    latency = tiny.latency()
    candidates = {label: tuple(prices) for label, prices in latency.milliseconds.items()}
    gates = SupernetGates(candidates, alphas, nn.Module(), TemperedSoftmax())
    (LATENCY_WEIGHT * latency(gates.theta(), gates.candidates)).backward()
    for label, alpha in alphas.items():
        theta = torch.softmax(alpha.detach(), 0)
        prices = torch.tensor([latency.milliseconds[label][c] for c in candidates[label]], dtype=torch.float64)
        expected = LATENCY_WEIGHT * theta * (prices - (theta * prices).sum())
        assert alpha.grad is not None
        assert float((alpha.grad - expected).abs().max()) <= 1e-10


@pytest.mark.parametrize("step", STEPS)
def test_exact_second_order_is_the_derivative_after_a_real_step(step: str) -> None:
    problem = Bilevel(**STEPS[step])
    assert largest_difference(problem.gradient("exact"), problem.numeric_gradient()) <= 1e-6


def test_the_first_momentum_step_is_looked_ahead_as_well() -> None:
    problem = Bilevel(**STEPS["dampening"])
    problem.optimizer.state.clear()
    assert largest_difference(problem.gradient("exact"), problem.numeric_gradient()) <= 1e-6


@pytest.mark.parametrize("clip", [0.05, 1e3])
def test_gradient_clipping_belongs_to_the_look_ahead(clip: float) -> None:
    problem = Bilevel(**STEPS["nesterov"])
    assert largest_difference(problem.gradient("exact", clip=clip), problem.numeric_gradient(clip)) <= 1e-6


@pytest.mark.parametrize("step", ["plain", "nesterov"])
def test_finite_differences_converge_to_the_exact_gradient_quadratically(step: str) -> None:
    problem = Bilevel(**STEPS[step])
    exact = problem.gradient("exact")
    errors = [largest_difference(problem.gradient("finite_difference", e), exact) for e in (0.4, 0.2, 0.1, 0.05)]
    for coarse, fine in itertools.pairwise(errors):
        assert 3.2 < coarse / fine < 4.8, errors


def test_first_order_is_the_partial_derivative() -> None:
    problem = Bilevel(**STEPS["plain"])
    found = first_order(problem.alphas, problem.weights, problem.validation_loss).gradients
    expected = torch.autograd.grad(problem.validation_loss(problem.weights), problem.alphas)
    assert largest_difference(found, list(expected)) <= 1e-12
    assert largest_difference(found, problem.gradient("exact")) > 1e-4, "the look-ahead matters here"


def test_nothing_is_changed_and_no_gradient_is_left_behind() -> None:
    problem = Bilevel(**STEPS["nesterov"])
    problem.optimizer.zero_grad()
    for alpha in problem.alphas:
        alpha.grad = None
    before = {name: weight.detach().clone() for name, weight in problem.weights.items()}
    problem.gradient("finite_difference")
    problem.gradient("exact")
    assert all(torch.equal(before[name], weight) for name, weight in problem.weights.items())
    assert all(weight.grad is None for weight in problem.weights.values())
    assert all(alpha.grad is None for alpha in problem.alphas)


@pytest.mark.parametrize(("clip", "copies"), [(None, 2), (1e-3, 3)])
def test_no_more_copies_of_the_weights_than_the_passes_need(clip: float | None, copies: int) -> None:
    """ω′ and δω′, then the direction and ω±; only a clipped gradient stays for its own derivative."""
    weight = torch.randn(400, 1000, requires_grad=True)
    alpha = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    images, labels = torch.randn(4, 1000), torch.arange(4)

    def loss(weights: Mapping[str, Tensor]) -> Tensor:
        logits = images @ weights["weight"].T
        theta = torch.softmax(alpha, 0)
        return nn.functional.cross_entropy(theta[0] * torch.tanh(logits) + theta[1] * logits, labels)

    look_ahead = LookAhead.of(optimizer, {"weight": weight}, clip)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        second_order([alpha], {"weight": weight}, loss, loss, look_ahead, "finite_difference")
    assert profiled.profiler is not None
    memory = [e for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"]
    peak = max(itertools.accumulate(e.nbytes() for e in sorted(memory, key=lambda event: event.start_ns())))
    weight_bytes = 4 * weight.numel()
    assert copies * weight_bytes <= peak < (copies + 0.5) * weight_bytes


def test_an_overflow_is_told() -> None:
    problem = Bilevel(**STEPS["plain"])
    with torch.no_grad():
        problem.network.head.weight[0, 0] = float("nan")
    look_ahead = LookAhead.of(problem.optimizer, problem.weights)
    found = second_order(
        problem.alphas, problem.weights, problem.train_loss, problem.validation_loss, look_ahead, "finite_difference"
    )
    assert not found.finite


def test_a_decided_gate_is_one_hot_and_out_of_the_search() -> None:
    alpha = nn.Parameter(torch.tensor([0.0, 9.0]))
    gate = Gate("act", ("relu", "x2act"), alpha, ())
    gate.decide(1)
    assert not alpha.requires_grad
    gates = SupernetGates({"act": ("relu", "x2act")}, {"act": alpha}, nn.Module(), TemperedSoftmax())
    gates.load_state_dict({"temperature": 0.5, "decided": {"act": 1}})
    assert gates.probabilities() == {"act": {"relu": 0.0, "x2act": 1.0}}
    assert gates.open_alphas() == []
