"""One step of training: parameter groups, what is dropped or bounded, the loss and the learning rate."""

from __future__ import annotations

import pytest
import torch
from helpers.networks.digit_networks import PLAIN_SPACE, POLYNOMIAL, RELU, network
from torch import nn

from rrnet_nni.evaluators.parameters import clip_or_drop_gradients, parameter_groups
from rrnet_nni.evaluators.training import ClassificationModule, TrainingOptions
from rrnet_nni.search_spaces import x2act_modules


def test_parameters_of_polynomials_learn_slowly_and_do_not_decay() -> None:
    groups = parameter_groups(network(POLYNOMIAL, space=PLAIN_SPACE), 0.1, 5e-4, 0.01)
    assert [group["lr"] for group in groups] == pytest.approx([0.1, 0.1, 0.001])
    assert [group["weight_decay"] for group in groups] == [5e-4, 0, 0]
    assert len(groups[2]["params"]) == 3 * 7
    counted = sum(len(group["params"]) for group in groups)
    assert counted == len(list(network(POLYNOMIAL, space=PLAIN_SPACE).parameters()))


def test_scale_and_shift_of_normalized_polynomials_learn_like_those_of_a_norm() -> None:
    model = network(POLYNOMIAL)
    groups = parameter_groups(model, 0.1, 5e-4, 0.01)
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(0.1, 5e-4), (0.1, 0.0)]
    undecayed = {id(parameter) for parameter in groups[1]["params"]}
    assert all(id(p) in undecayed for square in x2act_modules(model) for p in square.parameters())


def test_gradients_that_are_not_finite_are_dropped() -> None:
    parameters = [nn.Parameter(torch.ones(2)) for _ in range(2)]
    parameters[0].grad, parameters[1].grad = torch.tensor([1.0, float("inf")]), torch.ones(2)
    assert not clip_or_drop_gradients(parameters, 5.0)
    assert all(parameter.grad is None for parameter in parameters)


def module_with(model: nn.Module, **options: object) -> ClassificationModule:
    module = ClassificationModule(TrainingOptions(**options), steps_per_epoch=10)  # type: ignore[arg-type]
    module.set_model(model)
    return module


def test_guarded_step_skips_what_is_not_finite_and_bounds_w1() -> None:
    model = network(POLYNOMIAL, space=PLAIN_SPACE)
    module = module_with(model)
    optimizer = module.configure_optimizers()["optimizer"]
    images, labels = torch.randn(8, 1, 16, 16), torch.arange(8)
    module.criterion(model(images * float("nan")), labels).backward()
    before = {name: value.clone() for name, value in model.named_parameters()}
    assert not module.guarded_step(optimizer)
    assert all(torch.equal(before[name], value) for name, value in model.named_parameters())
    assert module.skipped_steps == 1
    with torch.no_grad():
        for polynomial in x2act_modules(model):
            polynomial.w1.fill_(7.0)
    module.guarded_step(optimizer)
    assert all(abs(float(p.w1.detach())) <= 0.1 + 1e-7 for p in x2act_modules(model))


def test_criterion_adds_the_range_loss_in_training_alone() -> None:
    model = network(POLYNOMIAL)
    module = module_with(model, range_weight=0.5)
    images, labels = 30 * torch.randn(8, 1, 16, 16), torch.arange(8)
    for polynomial in x2act_modules(model):
        polynomial.range_excess = None
    logits = model(images)
    plain = nn.functional.cross_entropy(logits, labels)
    excess = sum(float(p.range_excess.detach()) for p in x2act_modules(model))
    for strength in (module.range_strength, 1.0):
        module.range_strength = strength
        expected = float(plain.detach()) + strength * 0.5 * excess
        assert float(module.criterion(logits, labels).detach()) == pytest.approx(expected)
    model.eval()
    assert torch.equal(module.criterion(logits, labels), plain)


def test_learning_rate_warms_up_and_falls_to_zero() -> None:
    module = module_with(network(RELU), epochs=4, warmup_epochs=1)
    factors = [module.learning_rate_factor(step) for step in range(41)]
    assert factors[0] < factors[5] < factors[10] == pytest.approx(1.0)
    assert factors[10] > factors[25] > factors[40] == pytest.approx(0.0)


def test_range_loss_grows_to_its_strength_in_the_middle_of_what_follows_its_onset() -> None:
    module = module_with(network(RELU), epochs=4, range_onset=0.5)
    found = {step: module.range_strength_at(step) for step in (0, 20, 25, 30, 40)}
    assert found == pytest.approx({0: 0.01, 20: 0.01, 25: 0.5, 30: 1.0, 40: 1.0})
    assert module.range_strength == 0.01, "a search, which trains by its own steps, keeps to the start"
