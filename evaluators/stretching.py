"""Training images of more contrast than there is, so that squares stay finite on pictures that go further still."""

from __future__ import annotations

import torch
from torch import Tensor

#: Part of every batch that is stretched.
STRETCHED_SHARE = 1 / 8
#: Part of a training in which contrast grows to its most: a network that is not used to it would explode in training.
GROWING_SHARE = 0.8


def stretched(images: Tensor, most: float, done: float, seed: int) -> Tensor:
    """The batch with its first eighth spread around each image's own mean.

    Args:
        images: normalized float [N, C, H, W], shuffled.
        most: by which part the distance from the mean grows at the end of the training; 0 leaves the batch alone.
        done: share of the training that is done.
        seed: of the step; each image draws a part of its own between 0 and what the training has come to.
    """
    count = round(STRETCHED_SHARE * len(images))
    largest = most * min(1.0, done / GROWING_SHARE)
    if not count or not largest:
        return images
    draws = torch.rand(count, 1, 1, 1, generator=torch.Generator().manual_seed(seed)).to(images.device)
    some = images[:count]
    mean = some.mean((1, 2, 3), keepdim=True)
    return torch.cat([torch.lerp(mean, some, 1 + largest * draws), images[count:]])
