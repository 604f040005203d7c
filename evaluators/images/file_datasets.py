"""Datasets larger than memory: ImageNet as torchvision lays it out, and image folders of any size."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.pictures import Resize

from .batches import Augmentation
from .data_sources import stratified
from .image_files import CENTRAL_SHARE, ImageFiles
from .image_folder import Folder

#: Mean and standard deviation per channel of ImageNet's training images.
IMAGENET_STATISTICS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class FileParts:
    """Both parts of a dataset on disk; `statistics` is (mean, std) where they are known beforehand."""

    train_images: ImageFiles
    train_labels: np.ndarray
    test_images: ImageFiles
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    augmentation: Augmentation
    resize: Resize
    central_share: float = 1.0
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None


def default_workers() -> int:
    """One process per core that this one may use, at most 8."""
    return min(8, len(os.sched_getaffinity(0)))


def folder_on_disk(folder: Folder, size: int, resize: Resize, workers: int) -> FileParts:
    """An image folder that is read anew in every epoch; its batches are those of the folder in memory."""
    train, test = (
        ImageFiles(
            folder.root, [str(path.relative_to(folder.root)) for path in part.files], size, workers, resize=resize
        )
        for part in (folder.train, folder.test)
    )
    augmentation = Augmentation(crop_padding=max(1, size // 8), flip=True)
    return FileParts(train, folder.train.labels, test, folder.test.labels, folder.classes, augmentation, resize)


def imagenet(
    root: Path, image_size: int, train_limit: int | None, test_limit: int | None, seed: int, workers: int
) -> FileParts:
    """ImageNet's 2012 training and validation images under `root`, as `torchvision.datasets.ImageNet` finds them.

    The validation images are the test part: the test labels are not public.

    Raises:
        Refusal: torchvision does not find them.
    """
    from torchvision.datasets import ImageNet

    parts = []
    try:
        for split, limit in (("train", train_limit), ("val", test_limit)):
            found = ImageNet(str(root), split=split)
            labels = np.array(found.targets, dtype=np.int64)
            chosen = np.arange(len(labels)) if limit is None else stratified(labels, limit, seed)
            names = [os.path.relpath(found.samples[index][0], root) for index in chosen]
            parts.append((ImageFiles(root, names, image_size, workers, crops=True), labels[chosen]))
    except (RuntimeError, OSError) as error:
        raise Refusal(f"ImageNet is not under {root}: {' '.join(str(error).split())}") from None
    augmentation = Augmentation(flip=True)
    return FileParts(*parts[0], *parts[1], tuple(found.wnids), augmentation, "crop", CENTRAL_SHARE, IMAGENET_STATISTICS)
