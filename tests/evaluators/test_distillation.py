"""What a student learns from a teacher: logits (in test_training.py) and the features of every stage."""

import pytest
import torch
from torch import nn

from rrnet_nni.base.errors import Refusal
from rrnet_nni.evaluators.distillation import Teacher
from rrnet_nni.evaluators.teaching.initial_weights import load_initial_weights
from rrnet_nni.search_spaces import SpaceOptions, backbone_names, build_network, fixed_choices


def network(name: str = "resnet8", activation: str = "relu", **options: float) -> nn.Module:
    torch.manual_seed(0)
    space = SpaceOptions(width=0.125, **options)
    return build_network(name, space, fixed_choices(name, space, activation, "avgpool"))


@pytest.mark.parametrize("name", backbone_names())
def test_stages_of_every_backbone_are_modules_in_forward_order(name: str) -> None:
    built = network(name).eval()
    sizes: list[int] = []
    for path in built.stage_paths:
        built.get_submodule(path).register_forward_hook(lambda module, inputs, output: sizes.append(output.shape[2]))
    built(torch.zeros(1, 3, 32, 32))
    assert len(sizes) == len(built.stage_paths) >= 3
    assert sizes == sorted(set(sizes), reverse=True)


def taught(student: nn.Module, teacher: nn.Module) -> float:
    lesson = Teacher(teacher, weight=0.0, temperature=4.0, feature_weight=1.0)
    lesson.watch(student)
    images = torch.randn(4, 3, 32, 32)
    logits = student(images)
    return float(lesson.loss(images, logits, logits.new_zeros(())).detach())


def test_feature_distance_is_zero_for_the_teachers_own_copy_and_relative_otherwise() -> None:
    teacher, twin, silent = network(), network().eval(), network().eval()
    assert taught(twin, teacher) == pytest.approx(0.0, abs=1e-10)
    for path in silent.stage_paths:
        silent.get_submodule(path).register_forward_hook(lambda module, inputs, output: 0 * output)
    assert taught(silent, teacher) == pytest.approx(1.0)


def test_feature_distance_teaches_every_stage() -> None:
    teacher, student = network(), network(activation="x2act")
    load_initial_weights(student, teacher.state_dict())
    lesson = Teacher(teacher, weight=0.0, temperature=4.0, feature_weight=1.0)
    lesson.watch(student)
    images = torch.randn(4, 3, 32, 32)
    lesson.loss(images, student(images), torch.zeros(())).backward()
    for path in student.stage_paths:
        gradients = [parameter.grad for parameter in student.get_submodule(path).parameters()]
        assert all(gradient is not None and bool(gradient.abs().sum() > 0) for gradient in gradients)
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_what_was_watched_is_forgotten() -> None:
    teacher, student = network(), network()
    lesson = Teacher(teacher, 0.5, 4.0, feature_weight=1.0)
    lesson.watch(student)
    lesson.forget()
    assert not any(module._forward_hooks for built in (teacher, student) for module in built.modules())


def test_features_of_another_backbone_are_refused() -> None:
    with pytest.raises(Refusal, match="feature_weight"):
        Teacher(network(), 0.5, 4.0, feature_weight=1.0).watch(network("vgg16"))
    with pytest.raises(Refusal, match="feature_weight"):
        Teacher(nn.Linear(1, 1), 0.5, 4.0, feature_weight=1.0).watch(nn.Linear(1, 1))
