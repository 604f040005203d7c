"""Datasets by name, in memory as one uint8 tensor or on disk, with a test part that training and search never see."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from rrnet_nni.base.image_format import ImageFormat
from rrnet_nni.base.pictures import Resize

from ..options import DataOptions
from .batches import Augmentation, BatchLoader
from .data_sources import Arrays, cache_of, cifar, datasets_root, digits, stratified, synthetic
from .file_datasets import FileParts, default_workers, folder_on_disk, imagenet
from .image_files import FileBatchLoader, ImageFiles
from .image_folder import folder_of, image_folder

#: Images that the channel statistics of a folder on disk are estimated from.
STATISTICS_IMAGES = 2048

#: What batches are made of: uint8 [N, C, H, W] in memory, or as many files.
Images = Tensor | ImageFiles


@dataclass(frozen=True)
class ImageDataset:
    """Images uint8 [N, C, H, W] (or as many files), labels int64 [N], and what training needs to know of them.

    `mean` and `std` are per channel, of the training images' values in 0..1; `resize` and `central_share` say how a
    picture of another shape is brought to the size. `contrast_bound` is as `ImageFormat` has it; images of a training
    are left as they are, so that a network has seen more contrast than it meets.
    """

    name: str
    train_images: Images
    train_labels: Tensor
    test_images: Images
    test_labels: Tensor
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: Augmentation
    resize: Resize = "squeeze"
    central_share: float = 1.0
    contrast_bound: float | None = None

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def channels(self) -> int:
        return self.train_images.shape[1]

    @property
    def image_size(self) -> int:
        return self.train_images.shape[2]

    def image_format(self, task: str) -> ImageFormat:
        """What a network that learns from these images knows of them."""
        return ImageFormat(
            height=self.image_size,
            width=self.image_size,
            color="gray" if self.channels == 1 else "rgb",
            mean=self.mean,
            std=self.std,
            classes=self.class_names,
            resize=self.resize,
            central_share=self.central_share,
            contrast_bound=self.contrast_bound,
            task=task,
        )

    def loader(
        self, images: Images, labels: Tensor, batch_size: int, *, training: bool = False, seed: int = 0
    ) -> BatchLoader:
        """Normalized batches; with `training` shuffled, augmented, and without an incomplete last batch."""
        kind = FileBatchLoader if isinstance(images, ImageFiles) else BatchLoader
        return kind(
            images,  # type: ignore[arg-type]
            labels,
            min(batch_size, len(labels)),
            self.mean,
            self.std,
            augmentation=self.augmentation if training else None,
            shuffle=training,
            seed=seed,
            drop_last=training,
            contrast_bound=None if training else self.contrast_bound,
        )

    def normalized(self, images: Images) -> Tensor:
        """uint8 images, or files, -> the float images that the network takes, all in memory."""
        images = images.decoded() if isinstance(images, ImageFiles) else images
        loader = self.loader(images, torch.zeros(len(images)), len(images))
        return loader.normalize(images)

    def to(self, device: torch.device | str) -> ImageDataset:
        """The same dataset with its tensors on a device, where batches are then made."""
        return replace(
            self,
            train_images=self.train_images.to(device),
            train_labels=self.train_labels.to(device),
            test_images=self.test_images.to(device),
            test_labels=self.test_labels.to(device),
        )


def load_dataset(options: DataOptions) -> ImageDataset:
    """The images that the options name.

    Raises:
        Refusal: they are missing or damaged; the sentence says what to do.
    """
    size = options.image_size
    if options.name == "imagenet" or (options.name == "folder" and options.workers is not None):
        return _dataset_on_disk(options)
    if options.name == "digits":
        arrays, augmentation = digits(size or 16), Augmentation(crop_padding=max(1, (size or 16) // 16))
    elif options.name == "synthetic":
        arrays, augmentation = synthetic(size or 32), Augmentation()
    elif options.name == "folder":
        found = folder_of(options)
        arrays = image_folder(found, size or found.side(), options.resize, cache_of(options))
        augmentation = Augmentation(crop_padding=max(1, arrays.train_images.shape[-1] // 8), flip=True)
    else:
        arrays, augmentation = cifar(options), Augmentation(crop_padding=4, flip=True)
    return _dataset(options, arrays, augmentation)


def holdout(dataset: ImageDataset, fraction: float, seed: int) -> tuple[ImageDataset, tuple[Images, Tensor]]:
    """Set a stratified, seeded part of the training images aside for choices between networks.

    Returns:
        the dataset without them, and (images, labels) of the part; an empty part where `fraction` is 0.
    """
    labels = dataset.train_labels.cpu().numpy()
    aside = np.zeros(len(labels), dtype=bool)
    if count := round(fraction * len(labels)):
        aside[stratified(labels, count, seed)] = True
    held, kept = torch.from_numpy(np.flatnonzero(aside)), torch.from_numpy(np.flatnonzero(~aside))
    images, answers = dataset.train_images, dataset.train_labels
    remaining = replace(dataset, train_images=images[kept], train_labels=answers[kept])
    return remaining, (images[held], answers[held])


def _dataset(options: DataOptions, arrays: Arrays, augmentation: Augmentation) -> ImageDataset:
    train = _limited(arrays.train_images, arrays.train_labels, options.train_images, options.seed)
    # Folders come sorted by class; the first images of a dataset should be a fair part of it.
    order = torch.from_numpy(np.random.default_rng(options.seed).permutation(len(train[1])))
    train = train[0][order], train[1][order]
    test = _limited(arrays.test_images, arrays.test_labels, options.test_images, options.seed)
    mean, std = _statistics(train[0])
    return ImageDataset(
        *(options.name, *train, *test, arrays.class_names, mean, std, augmentation, options.resize),
        contrast_bound=_contrast_bound(options, std),
    )


def _dataset_on_disk(options: DataOptions) -> ImageDataset:
    root = datasets_root(options)
    workers = default_workers() if options.workers is None else options.workers
    limits = options.train_images, options.test_images, options.seed
    parts: FileParts = (
        imagenet(root, options.image_size or 224, *limits, workers)
        if options.name == "imagenet"
        else folder_on_disk(found := folder_of(options), options.image_size or found.side(), options.resize, workers)
    )
    order = torch.from_numpy(np.random.default_rng(options.seed).permutation(len(parts.train_labels)))
    train_images, train_labels = parts.train_images[order], torch.from_numpy(parts.train_labels)[order]
    mean, std = parts.statistics or _statistics(train_images[:STATISTICS_IMAGES].decoded())
    test = parts.test_images, torch.from_numpy(parts.test_labels)
    return ImageDataset(
        *(options.name, train_images, train_labels, *test, parts.class_names, mean, std),
        *(parts.augmentation, parts.resize, parts.central_share, _contrast_bound(options, std)),
    )


def _limited(images: np.ndarray, labels: np.ndarray, limit: int | None, seed: int) -> tuple[Tensor, Tensor]:
    if limit is not None and limit < len(labels):
        chosen = stratified(labels, limit, seed)
        images, labels = images[chosen], labels[chosen]
    return torch.from_numpy(images), torch.from_numpy(labels)


def _contrast_bound(options: DataOptions, std: tuple[float, ...]) -> float | None:
    return None if options.contrast_bound is None else options.contrast_bound * sum(std) / len(std)


def _statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of values in 0..1, exactly, from the counts of the 256 values."""
    values = torch.arange(256, dtype=torch.float64) / 255
    mean, std = [], []
    for channel in images.unbind(1):
        counts = torch.bincount(channel.reshape(-1), minlength=256).double()
        average = (counts * values).sum() / counts.sum()
        variance = (counts * (values - average) ** 2).sum() / counts.sum()
        mean.append(float(average))
        std.append(max(float(variance.sqrt()), 1e-3))
    return tuple(mean), tuple(std)
