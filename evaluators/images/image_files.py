"""Images that stay on disk and are decoded by worker processes, for datasets larger than memory such as ImageNet."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.base.pictures import central_box, fitted, open_picture, pixels_of

from .batches import BatchLoader

#: ImageNet's usual views: for training a random part of this share of the area, otherwise a central square of this
#: share of the short side.
AREA_SHARE, CENTRAL_SHARE = (0.08, 1.0), 224 / 256


class ImageFiles:
    """What a tensor uint8 [N, 3, S, S] is for datasets in memory: N images, indexed by whole parts.

    Args:
        root: folder that the names are relative to.
        names: the files.
        size: S; images of other sizes are resized.
        resize: how (`pictures.Resize`).
        workers: processes that decode; 0 decodes in this one.
        crops: take ImageNet's views of an image instead of the whole of it.
        device: where batches go.
    """

    def __init__(
        self,
        root: Path,
        names: Sequence[str] | np.ndarray,
        size: int,
        workers: int,
        *,
        crops: bool = False,
        resize: str = "squeeze",
        device: torch.device | str = "cpu",
    ) -> None:
        self.root, self.size, self.workers, self.crops, self.resize = root, size, workers, crops, resize
        self.device = torch.device(device)
        # One array of bytes: a million str objects would be copied into every worker by their reference counts.
        self.names = names if isinstance(names, np.ndarray) else np.array([os.fsencode(name) for name in names])

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, chosen: Tensor | slice) -> ImageFiles:
        """A part of the images, still on disk."""
        names = self.names[chosen.cpu().numpy() if isinstance(chosen, Tensor) else chosen]
        return self._with(names, self.device)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self), 3, self.size, self.size

    def to(self, device: torch.device | str) -> ImageFiles:
        """The same images with batches on another device."""
        return self._with(self.names, device)

    def _with(self, names: np.ndarray, device: torch.device | str) -> ImageFiles:
        return ImageFiles(
            self.root, names, self.size, self.workers, crops=self.crops, resize=self.resize, device=device
        )

    def path(self, index: int) -> Path:
        return self.root / os.fsdecode(self.names[index])

    def read(self, index: int, generator: np.random.Generator | None = None) -> np.ndarray:
        """One image, uint8 [3, S, S]; with a generator, and where there are crops, a random part of it.

        Raises:
            Refusal: the file is not a whole image; the sentence names it.
        """
        picture = open_picture(self.path(index))
        if not self.crops:
            return pixels_of(fitted(picture, self.size, self.size, self.resize))
        if generator is None:
            return pixels_of(fitted(picture, self.size, self.size, "crop", CENTRAL_SHARE))
        box = _random_box(*picture.size, generator)
        return pixels_of(picture.resize((self.size, self.size), Image.Resampling.BILINEAR, box=box))

    def decoded(self) -> Tensor:
        """All of them in memory: uint8 [N, 3, S, S]."""
        pixels = np.empty(self.shape, dtype=np.uint8)
        for index in range(len(self)):
            pixels[index] = self.read(index)
        return torch.from_numpy(pixels).to(self.device)

    def fingerprint(self) -> bytes:
        """SHA-256 of the names and the sizes of the files, in their order."""
        digest = hashlib.sha256()
        for index, name in enumerate(self.names):
            digest.update(name + b"\0%d\0" % self.path(index).stat().st_size)
        return digest.digest()


class FileBatchLoader(BatchLoader):
    """`BatchLoader` of `ImageFiles`: the same order, augmentation and normalization, decoded in worker processes.

    A random part of an image depends on the seed, the epoch and the image alone, not on which process reads it.
    """

    images: ImageFiles  # type: ignore[assignment]

    def _pixels(self, batches: Sequence[Tensor], seed: int) -> Iterator[Tensor]:
        decoder = _Decoder(self.images, seed if self.augmentation is not None else None)
        loader: Any = torch.utils.data.DataLoader(
            decoder,
            batch_sampler=[batch.tolist() for batch in batches],
            num_workers=self.images.workers,
            collate_fn=_stacked,
            pin_memory=self.images.device.type == "cuda",
            # Its own generator: else every epoch would draw from the random state of the training.
            generator=torch.Generator(),
        )
        try:
            for pixels in loader:
                if isinstance(pixels, str):
                    raise Refusal(pixels)
                yield pixels.to(self.images.device, non_blocking=True)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            sentence = str(error).splitlines()[0]
            raise ExecutionFault(f"a process that decodes images under {self.images.root} died: {sentence}") from None


class _Decoder(torch.utils.data.Dataset[Any]):
    def __init__(self, images: ImageFiles, seed: int | None) -> None:
        self.images, self.seed = images, seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> np.ndarray | str:
        """The image, or the sentence about a damaged one: an exception would reach the parent as a traceback."""
        try:
            return self.images.read(index, None if self.seed is None else np.random.default_rng((self.seed, index)))
        except Refusal as refusal:
            return str(refusal)


def _stacked(images: list[np.ndarray | str]) -> Tensor | str:
    damaged = next((image for image in images if isinstance(image, str)), None)
    return damaged or torch.from_numpy(np.stack(images))  # type: ignore[arg-type]


def _random_box(width: int, height: int, generator: np.random.Generator) -> tuple[float, float, float, float]:
    """A random part of a random shape from 3:4 to 4:3 (Szegedy et al., 2015); the centre where ten draws do not fit."""
    for _ in range(10):
        area = width * height * generator.uniform(*AREA_SHARE)
        ratio = math.exp(generator.uniform(math.log(3 / 4), math.log(4 / 3)))
        wide, high = math.sqrt(area * ratio), math.sqrt(area / ratio)
        if wide <= width and high <= height:
            left, top = generator.uniform(0, width - wide), generator.uniform(0, height - high)
            return left, top, left + wide, top + high
    return central_box(width, height, 1, 1, CENTRAL_SHARE)
