"""Training images that go further than any there is, so that squares stay finite on pictures that do.

`stretched` gives them more contrast, `pushed` moves them to where the squares' inputs deviate more.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: Part of every batch that is changed.
CHANGED_SHARE = 1 / 8
#: Part of a training in which changes grow to their most: a network that is not used to them would explode in training.
GROWING_SHARE = 0.8
#: Deviations of a square's input that a push makes grow: every image has some beyond.
PUSHED_BOUND = 3.0
#: Keeps the draws of pushes apart from those of contrasts.
_PUSHES = 1 << 40


def stretched(images: Tensor, most: float, done: float, seed: int) -> Tensor:
    """The batch with its first eighth spread around each image's own mean.

    Args:
        images: normalized float [N, C, H, W], shuffled.
        most: by which part the distance from the mean grows at the end of the training; 0 leaves the batch alone.
        done: share of the training that is done.
        seed: of the step; each image draws a part of its own between 0 and what the training has come to.
    """
    draws = _draws(images, most, done, seed)
    if draws is None:
        return images
    some = images[: len(draws)]
    mean = some.mean((1, 2, 3), keepdim=True)
    return torch.cat([torch.lerp(mean, some, 1 + draws), images[len(draws) :]])


def pushed(images: Tensor, most: float, done: float, seed: int, excess: Callable[[Tensor], Tensor]) -> Tensor:
    """The batch with its first eighth moved one step along the gradient of the range excess.

    It is adversarial training of a single step with the range in place of the class: whatever direction a network runs
    away in, the next pass sees some of it.

    Args:
        images, most, done, seed: as of `stretched`; a step is a part of an image's Euclidean norm.
        excess: range excess beyond `PUSHED_BOUND` of images [n, C, H, W], a scalar.
    """
    draws = _draws(images, most, done, seed + _PUSHES)
    if draws is None:
        return images
    some = images[: len(draws)].detach().requires_grad_()
    found = excess(some)
    if not found.requires_grad:  # nothing is beyond the bound
        return images
    (gradient,) = torch.autograd.grad(found, [some])
    with torch.no_grad():
        step = draws * _norms(some) * gradient / _norms(gradient)
        # an image without excess has no direction, and one that explodes none that is finite
        return torch.cat([some + torch.where(torch.isfinite(step), step, 0.0), images[len(draws) :]])


def _draws(images: Tensor, most: float, done: float, seed: int) -> Tensor | None:
    """How far each of the first images goes [n, 1, 1, 1]; None where none does."""
    count = round(CHANGED_SHARE * len(images))
    largest = most * min(1.0, done / GROWING_SHARE)
    if not count or not largest:
        return None
    return largest * torch.rand(count, 1, 1, 1, generator=torch.Generator().manual_seed(seed)).to(images.device)


def _norms(images: Tensor) -> Tensor:
    return images.square().sum((1, 2, 3), keepdim=True).sqrt()
