"""What a student is taught by a trained network: its probabilities, and its features at the end of every stage."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from rrnet_nni.base.errors import Refusal


class Teacher:
    """A trained network of the same images, whose weights do not move. No module: it enters no checkpoint.

    Args:
        network: the trained network.
        weight: share of the loss that asks for the teacher's probabilities.
        temperature: softens the probabilities of both.
        feature_weight: factor of the distance between the features of both; 0 leaves features alone.
    """

    def __init__(self, network: nn.Module, weight: float, temperature: float, feature_weight: float) -> None:
        self.network = network.eval()
        self.weight, self.temperature, self.feature_weight = weight, temperature, feature_weight
        self._taught: dict[str, Tensor] = {}
        self._learned: dict[str, Tensor] = {}
        self._handles: list[RemovableHandle] = []

    def forget(self) -> None:
        """Take back what `watch` added to both networks."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._taught.clear()
        self._learned.clear()

    def watch(self, student: nn.Module) -> None:
        """Note the student's features of every forward pass from now on, where they are asked for.

        Raises:
            Refusal: the networks do not say where their stages end, or end them differently.
        """
        if not self.feature_weight:
            return
        paths = _stage_paths(student)
        if not paths or paths != _stage_paths(self.network):
            raise Refusal("feature_weight needs a teacher and a student of the same backbone, which names its stages")
        for path in paths:
            for network, seen in ((self.network, self._taught), (student, self._learned)):
                self._handles.append(network.get_submodule(path).register_forward_hook(_note(seen, path)))

    def loss(self, images: Tensor, logits: Tensor, hard: Tensor) -> Tensor:
        """What is added to a loss that contains the cross-entropy `hard` of the student's `logits`."""
        with torch.no_grad():
            target = self.network(images)
        added = self.weight * (distillation(logits, target, self.temperature) - hard)
        return added + self.feature_weight * self._feature_distance() if self.feature_weight else added

    def _feature_distance(self) -> Tensor:
        """Mean over the stages of |f − f*|² / |f*|²."""
        distances = []
        for path, taught in self._taught.items():
            error = (self._learned[path] - taught).square().mean()
            distances.append(error.float() / taught.square().mean().float().clamp(min=1e-12))
        return torch.stack(distances).mean()


def _stage_paths(network: nn.Module) -> tuple[str, ...]:
    return tuple(getattr(network, "stage_paths", ()))


def _note(seen: dict[str, Tensor], path: str) -> Any:
    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        seen[path] = output

    return hook


def distillation(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """T² · KL(teacher ‖ student) at temperature T, per image (Hinton, Vinyals and Dean, 2015)."""
    student = functional.log_softmax(logits / temperature, dim=1)
    teacher = functional.log_softmax(teacher_logits / temperature, dim=1)
    return temperature**2 * functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
