"""Where images come from: each source gives uint8 arrays for training and test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rrnet_nni.base.caches import cache_folder
from rrnet_nni.base.errors import Refusal

from ..options import DataOptions

#: Folders that torchvision makes below `root`.
CIFAR_FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}


@dataclass(frozen=True)
class Arrays:
    """Images uint8 [N, C, H, W] and labels int64 [N] of the two parts, and the names of the classes."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]


def digits(image_size: int, test_images: int = 500) -> Arrays:
    """scikit-learn's 1,797 handwritten digits, grey, enlarged from 8x8; 500 of them, class by class, are for test."""
    import torch
    from sklearn.datasets import load_digits
    from torch.nn import functional

    bunch = load_digits()
    images = torch.from_numpy(bunch.images).float()[:, None] * (255 / 16)
    images = functional.interpolate(images, size=(image_size, image_size), mode="bilinear", align_corners=False)
    pixels = images.round().clamp(0, 255).to(torch.uint8).numpy()
    labels = bunch.target.astype(np.int64)
    test = np.zeros(len(labels), dtype=bool)
    test[stratified(labels, test_images, seed=0)] = True
    names = tuple(str(digit) for digit in range(10))
    return Arrays(pixels[~test], labels[~test], pixels[test], labels[test], names)


def synthetic(image_size: int, channels: int = 3, classes: int = 10, train: int = 512, test: int = 256) -> Arrays:
    """Noisy copies of one random pattern per class: learnable at once, for tests and timings."""
    generator = np.random.default_rng(0)
    patterns = generator.uniform(40, 215, (classes, channels, image_size, image_size))

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(count) % classes
        images = patterns[labels] + generator.normal(0, 30, (count, channels, image_size, image_size))
        return images.clip(0, 255).astype(np.uint8), labels.astype(np.int64)

    return Arrays(*draw(train), *draw(test), tuple(f"pattern{index}" for index in range(classes)))


def cache_of(options: DataOptions) -> Path:
    """Where decoded images are kept."""
    return Path(options.cache_dir) if options.cache_dir else cache_folder()


def datasets_root(options: DataOptions) -> Path:
    """Where torchvision keeps the files of a dataset."""
    return Path(options.root).expanduser() if options.root else cache_of(options) / "datasets"


def cifar(options: DataOptions) -> Arrays:
    """CIFAR-10 or CIFAR-100 from torchvision's files, fetched where `download` says so.

    Raises:
        Refusal: the files are not there, or cannot be fetched.
    """
    name, root = options.name, datasets_root(options)
    missing = f"{name} is not under {root}"
    elsewhere = "or name an image folder (data: {name: folder, root: FOLDER})"
    # Before torchvision's import, which takes seconds.
    if not options.download and not (root / CIFAR_FOLDERS[name]).is_dir():
        raise Refusal(f"{missing}: set download: true where there is a network, {elsewhere}")
    from torchvision.datasets import CIFAR10, CIFAR100

    kind = {"cifar10": CIFAR10, "cifar100": CIFAR100}[name]
    try:
        train, test = (kind(str(root), train=part, download=options.download) for part in (True, False))
    except (RuntimeError, OSError) as error:
        advice = "check the network" if options.download else "set download: true where there is a network"
        raise Refusal(f"{missing} ({error}): {advice}, {elsewhere}") from None
    parts = [
        (np.ascontiguousarray(np.asarray(part.data).transpose(0, 3, 1, 2)), np.asarray(part.targets, dtype=np.int64))
        for part in (train, test)
    ]
    return Arrays(*parts[0], *parts[1], tuple(train.classes))


def stratified(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """`count` indices in which every class has its share (to within one image), seeded and sorted."""
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(labels))
    # An image's rank in its class, relative to the class's size: the lowest `count` ranks are spread over all classes.
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        position[members] = (np.arange(len(members)) + generator.uniform()) / len(members)
    return np.sort(np.argsort(position, kind="stable")[:count])
