"""An activation cut into slices of channels, each of which chooses for itself."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from .layers import Shape


def slice_label(activation: str, number: int) -> str:
    """The label of one slice's gate."""
    return f"{activation}.g{number}"


def slice_sizes(channels: int, groups: int) -> list[int]:
    """Channels of every slice: `groups` nearly equal parts, or as many as there are channels."""
    parts = min(groups, channels)
    edges = [channels * number // parts for number in range(parts + 1)]
    return [end - start for start, end in pairwise(edges)]


class SlicedActivation(nn.Module):
    """Neighbouring slices of channels side by side, each under an activation of its own.

    Args:
        label: of the whole activation.
        shape: (C, H, W) of its input.
        groups: slices, at most C.
        make: a slice's activation from its label and its shape.
    """

    def __init__(self, label: str, shape: Shape, groups: int, make: Callable[[str, Shape], nn.Module]) -> None:
        super().__init__()
        self.label = label
        self.sizes = slice_sizes(shape[0], groups)
        self.labels = tuple(slice_label(label, number) for number in range(len(self.sizes)))
        made = (make(name, (size, *shape[1:])) for name, size in zip(self.labels, self.sizes))
        self.slices = nn.ModuleList(made)

    def forward(self, x: Tensor) -> Tensor:
        """x: float [N, C, H, W] -> the same shape."""
        parts = x.split(self.sizes, dim=1)
        return torch.cat([act(part) for act, part in zip(self.slices, parts)], dim=1)
