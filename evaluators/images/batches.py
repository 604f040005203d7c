"""Batches out of one uint8 tensor: shuffled, augmented and normalized as whole batches, with no Python per image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from rrnet_nni.base.image_format import PEAK_SHARE


@dataclass(frozen=True)
class Augmentation:
    """What happens to training images.

    Attributes:
        crop_padding: pixels of zero padding around the image before a crop at a random place; 0 for none.
        flip: mirror half of the images left to right.
        cutout: side in pixels of the square that is blanked at a random place; 0 for none.
    """

    crop_padding: int = 0
    flip: bool = False
    cutout: int = 0


class BatchLoader:
    """An iterable of (images float [N, C, H, W] normalized, labels int64 [N]) for Lightning or a plain loop.

    The order and the augmentation of epoch e depend on (seed, e) alone, so that a resumed run sees what the
    uninterrupted one would have seen. Each pass moves on to the next epoch; `set_epoch` (which Lightning calls) goes to
    a given one.

    Args:
        images: uint8 [N, C, H, W] on any device; batches are made there.
        labels: int64 [N] on the same device.
        mean: per channel, of values in 0..1.
        std: per channel.
        augmentation: None leaves images as they are.
        drop_last: leave out the last batch where it is not full.
        contrast_bound: of values in 0..1, as `ImageFormat` has it.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        batch_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        augmentation: Augmentation | None = None,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        contrast_bound: float | None = None,
    ) -> None:
        self.images, self.labels, self.batch_size = images, labels, batch_size
        self.augmentation, self.shuffle, self.seed, self.drop_last = augmentation, shuffle, seed, drop_last
        self.epoch, self.contrast_bound = 0, contrast_bound
        # (v / 255 - mean) / std as one multiplication and one addition.
        self._factor = _per_channel([1 / (255 * s) for s in std], images)
        self._offset = _per_channel([-m / s for m, s in zip(mean, std)], images)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.labels), self.batch_size)
        return whole if self.drop_last or not rest else whole + 1

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        seed = self.seed * 1_000_003 + self.epoch
        generator = torch.Generator().manual_seed(seed)
        self.epoch += 1
        count = len(self.labels)
        order = torch.randperm(count, generator=generator) if self.shuffle else torch.arange(count)
        batches = [order[index * self.batch_size : (index + 1) * self.batch_size] for index in range(len(self))]
        for chosen, images in zip(batches, self._pixels(batches, seed), strict=True):
            if self.augmentation is not None:
                images = augment(images, self.augmentation, generator)
            yield self.normalize(images), self.labels[chosen.to(self.labels.device)]

    def _pixels(self, batches: Sequence[Tensor], seed: int) -> Iterator[Tensor]:
        """The images of each batch of indices, uint8 [N, C, H, W] on the device; `seed` is the epoch's."""
        for chosen in batches:
            yield self.images[chosen.to(self.images.device)]

    def normalize(self, images: Tensor) -> Tensor:
        """uint8 [N, C, H, W] -> the float images that the network takes."""
        if self.contrast_bound is not None:
            images = within_contrast(images, 255 * self.contrast_bound)
        return torch.addcmul(self._offset, images, self._factor)

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass be that epoch's."""
        self.epoch = epoch

    @property
    def sampler(self) -> BatchLoader:
        """Where Lightning looks for `set_epoch`."""
        return self


def within_contrast(images: Tensor, bound: float) -> Tensor:
    """Images [N, C, H, W] as float32, each of more contrast than `bound` brought to it, as `ImageFormat` has it."""
    deviation, mean = torch.std_mean(images.double(), (1, 2, 3), correction=0, keepdim=True)
    distance = images - mean
    contrast = deviation.maximum(PEAK_SHARE * distance.abs().amax((1, 2, 3), keepdim=True))
    factor = bound / contrast.clamp_min(bound)
    return torch.where(factor < 1, mean + distance * factor, images).float()


def augment(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Crop, flip and cut out uint8 images [N, C, H, W], each image in its own way."""
    count, _, height, width = images.shape
    device = images.device

    def random(high: int) -> Tensor:
        return torch.randint(high, (count,), generator=generator).to(device)

    if augmentation.crop_padding:
        padding = augmentation.crop_padding
        padded = functional.pad(images, (padding,) * 4)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        images = windows[torch.arange(count, device=device), :, random(2 * padding + 1), random(2 * padding + 1)]
    if augmentation.flip:
        mirrored = random(2).bool()
        images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    if augmentation.cutout:
        side = augmentation.cutout
        rows = _inside(random(height), side, height)
        columns = _inside(random(width), side, width)
        images = images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)
    return images


def _inside(centres: Tensor, side: int, size: int) -> Tensor:
    """bool [N, size]: the positions within a window of `side` around each centre."""
    positions = torch.arange(size, device=centres.device)
    start = centres[:, None] - side // 2
    return (positions >= start) & (positions < start + side)


def _per_channel(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=like.device).reshape(-1, 1, 1)
