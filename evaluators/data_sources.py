"""Where images come from: each source gives uint8 arrays for training and test."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch.nn import functional

from rrnet_nni.base.errors import Refusal

from .data_cache import cached_arrays

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm")


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
    from sklearn.datasets import load_digits

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


def cifar(name: str, root: Path, download: bool) -> Arrays:
    """CIFAR-10 or CIFAR-100 from torchvision's files under `root`, fetched if `download`.

    Raises:
        Refusal: the files are not there, or cannot be fetched.
    """
    from torchvision.datasets import CIFAR10, CIFAR100

    kind = {"cifar10": CIFAR10, "cifar100": CIFAR100}[name]
    try:
        train, test = (kind(str(root), train=part, download=download) for part in (True, False))
    except (RuntimeError, OSError) as error:
        advice = "check the network" if download else "set download: true where there is a network"
        raise Refusal(
            f"{name} is not under {root} ({error}): {advice}, or name an image folder "
            "(data: {name: folder, root: FOLDER})"
        ) from None
    parts = [
        (np.ascontiguousarray(np.asarray(part.data).transpose(0, 3, 1, 2)), np.asarray(part.targets, dtype=np.int64))
        for part in (train, test)
    ]
    return Arrays(*parts[0], *parts[1], tuple(train.classes))


def image_folder(
    root: Path, image_size: int | None, train_limit: int | None, test_limit: int | None, seed: int, cache_dir: Path
) -> Arrays:
    """Images under `root/train/CLASS/` and `root/test/CLASS/`, decoded once to RGB and cached by their content.

    Images of another size are resized to `image_size` (None: the size of the first). Limits take a seeded, stratified
    part, and only those files are read.

    Raises:
        Refusal: a folder is missing or empty, the two parts have other classes, or a file is not an image.
    """
    classes, (train_files, train_labels), (test_files, test_labels) = folder_parts(root, train_limit, test_limit, seed)
    size = image_size or open_image(train_files[0]).size[0]
    key = f"folder-{size}-{_content_hash(root, [*train_files, *test_files])}"
    arrays = cached_arrays(
        cache_dir, key, lambda: {"train": _decode(train_files, size), "test": _decode(test_files, size)}
    )
    return Arrays(arrays["train"], train_labels, arrays["test"], test_labels, classes)


def folder_parts(
    root: Path, train_limit: int | None, test_limit: int | None, seed: int
) -> tuple[tuple[str, ...], tuple[list[Path], np.ndarray], tuple[list[Path], np.ndarray]]:
    """The classes of an image folder, and files and labels of its training and its test part.

    Raises:
        Refusal: a part is missing or empty, or the test part has a class that the training part has not.
    """
    classes, train_files, train_labels = _files(root, "train", train_limit, seed)
    test_classes, test_files, test_labels = _files(root, "test", test_limit, seed)
    if unknown := sorted(set(test_classes) - set(classes)):
        raise Refusal(f"{root / 'test'} has the class {unknown[0]}, which {root / 'train'} has not")
    test_labels = np.array([classes.index(test_classes[label]) for label in test_labels], dtype=np.int64)
    return classes, (train_files, train_labels), (test_files, test_labels)


def _files(root: Path, part: str, limit: int | None, seed: int) -> tuple[tuple[str, ...], list[Path], np.ndarray]:
    """Class names, files and labels under `root/part/CLASS/`, or a seeded, stratified part of them.

    Raises:
        Refusal: the folder is missing or has no images.
    """
    folder = root / part
    if not folder.is_dir():
        raise Refusal(
            f"{folder} is not a folder: an image folder has {root}/train/CLASS/*.jpg and {root}/test/CLASS/*.jpg"
        )
    classes = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir()))
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        members = sorted(path for path in (folder / name).iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
        files += members
        labels += [label] * len(members)
    if not files:
        raise Refusal(f"{folder} has no images in class folders ({', '.join(IMAGE_SUFFIXES)})")
    chosen = np.arange(len(files)) if limit is None else stratified(np.array(labels), limit, seed)
    return classes, [files[index] for index in chosen], np.array(labels, dtype=np.int64)[chosen]


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


def _content_hash(root: Path, files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:32]


def _decode(files: Sequence[Path], size: int) -> np.ndarray:
    """uint8 [N, 3, size, size]."""
    images = np.empty((len(files), 3, size, size), dtype=np.uint8)
    for index, path in enumerate(files):
        image = open_image(path)
        if image.size != (size, size):
            image = image.resize((size, size), Image.Resampling.BILINEAR)
        images[index] = np.asarray(image).transpose(2, 0, 1)
    return images


def open_image(path: Path) -> Image.Image:
    """An image file in RGB, decoded.

    Raises:
        Refusal: it is not a whole image; the sentence names it.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise Refusal(f"{path} cannot be decoded as an image ({error})") from None
