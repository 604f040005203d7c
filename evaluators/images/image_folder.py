"""Image folders: a folder a class, either under `train/` and `test/` or alone, with a part set aside for the test."""

from __future__ import annotations

import hashlib
import logging
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rrnet_nni.base.array_cache import cached_arrays
from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.pictures import fitted, is_hidden, is_picture, open_picture, picture_size, pixels_of

from ..options import DataOptions
from .data_sources import Arrays, stratified

_logger = logging.getLogger(__name__)

#: Without a size in the task, pictures are brought to their median size, but to no larger one than this.
LARGEST_DEFAULT_SIZE = 224
#: Counts the ways in which pictures have been decoded: what another way made is not taken from the cache.
DECODING = 2
#: Heads that are read for the median, and names in one sentence.
MEASURED_PICTURES, NAMED = 500, 10


@dataclass(frozen=True)
class Part:
    """Files and labels int64 [N] of the training or the test images."""

    files: tuple[Path, ...]
    labels: np.ndarray

    def limited(self, limit: int | None, seed: int) -> Part:
        """A seeded part with every class in proportion."""
        return self if limit is None else self.chosen(stratified(self.labels, limit, seed))

    def chosen(self, indices: np.ndarray) -> Part:
        return Part(tuple(self.files[index] for index in indices), self.labels[indices])


@dataclass(frozen=True)
class Folder:
    """The pictures of an image folder, not read yet."""

    root: Path
    classes: tuple[str, ...]
    train: Part
    test: Part

    def limited(self, train: int | None, test: int | None, seed: int) -> Folder:
        return replace(self, train=self.train.limited(train, seed), test=self.test.limited(test, seed))

    def side(self) -> int:
        """Pixels of a side that suit the training pictures: the median of their shorter sides, within bounds."""
        step = -(-len(self.train.files) // MEASURED_PICTURES)
        sides = []
        for path in self.train.files[::step]:
            try:
                sides.append(min(picture_size(path)))
            except Refusal:
                continue  # whoever decodes it names it
        return min(LARGEST_DEFAULT_SIZE, round(statistics.median(sides))) if sides else LARGEST_DEFAULT_SIZE

    def content_hash(self) -> str:
        """Of the names and the bytes of all files."""
        digest = hashlib.sha256()
        for path in (*self.train.files, *self.test.files):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(self.root)}\0{len(content)}\0".encode())
            digest.update(content)
        return digest.hexdigest()[:32]


def read_folder(root: Path, test_fraction: float, seed: int, leave_out: Sequence[str] = ()) -> Folder:
    """Find the pictures of `root/train/CLASS/` and `root/test/CLASS/`, or of `root/CLASS/`.

    Args:
        test_fraction: part of the pictures of `root/CLASS/` that is for the test, drawn with `seed`.
        leave_out: files below `root` that are not taken.

    Raises:
        Refusal: a folder is missing, a class is empty, or the test part has a class that the training part has not.
    """
    left_out = {root / name for name in leave_out}
    if missing := sorted(path for path in left_out if not path.exists()):
        raise Refusal(f"leave_out names {missing[0].relative_to(root)}, which is not in {root}")
    if not (root / "train").is_dir() and not (root / "test").is_dir() and class_folders(root):
        classes, whole = _part(root, left_out)
        test = np.zeros(len(whole.labels), dtype=bool)
        test[stratified(whole.labels, round(test_fraction * len(whole.labels)), seed)] = True
        if not test.any() or test.all():
            raise Refusal(
                f"{root}: test_fraction {test_fraction:g} of {len(whole.labels)} pictures leaves one part empty"
            )
        return Folder(root, classes, whole.chosen(np.flatnonzero(~test)), whole.chosen(np.flatnonzero(test)))
    for part in ("train", "test"):
        if not (root / part).is_dir():
            raise Refusal(
                f"{root / part} is not a folder: an image folder has {root}/CLASS/*.jpg, or {root}/train/CLASS/*.jpg "
                f"and {root}/test/CLASS/*.jpg"
            )
    classes, train = _part(root / "train", left_out)
    test_classes, found = _part(root / "test", left_out)
    if unknown := sorted(set(test_classes) - set(classes)):
        raise Refusal(f"{root / 'test'} has the class {unknown[0]}, which {root / 'train'} does not have")
    labels = np.array([classes.index(test_classes[label]) for label in found.labels], dtype=np.int64)
    return Folder(root, classes, train, Part(found.files, labels))


def folder_of(options: DataOptions) -> Folder:
    """The pictures of an image folder that a task takes, not read yet.

    Raises:
        Refusal: as `read_folder`.
    """
    root = Path(str(options.root)).expanduser()
    found = read_folder(root, options.test_fraction, options.seed, options.leave_out)
    return found.limited(options.train_images, options.test_images, options.seed)


def image_folder(folder: Folder, size: int, resize: str, cache_dir: Path) -> Arrays:
    """The pictures decoded once to RGB, uint8 [N, 3, size, size], and cached by their content.

    Raises:
        Refusal: naming every file that is no whole picture.
    """
    key = f"folder-{size}-{resize}-{DECODING}-{folder.content_hash()}"
    train, test = folder.train, folder.test
    arrays = cached_arrays(
        cache_dir,
        key,
        lambda: {name: decode_pictures(part.files, size, resize) for name, part in (("train", train), ("test", test))},
    )
    return Arrays(arrays["train"], train.labels, arrays["test"], test.labels, folder.classes)


def class_folders(folder: Path) -> list[Path]:
    """Folders of classes; hidden ones are none."""
    if not folder.is_dir():
        return []
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not is_hidden(entry))


def check_heads(folder: Folder) -> None:
    """Refuse pictures whose files do not begin like pictures, all of them by name."""
    damaged: list[str] = []
    for path in (*folder.train.files, *folder.test.files):
        try:
            picture_size(path)
        except Refusal as refusal:
            damaged.append(str(refusal))
    _refuse_damaged(damaged)


def _refuse_damaged(damaged: Sequence[str]) -> None:
    if damaged:
        more = f"; and {len(damaged) - NAMED} more" if len(damaged) > NAMED else ""
        advice = "take them away, or list them under leave_out in the task's data"
        raise Refusal(f"{'; '.join(damaged[:NAMED])}{more}: {advice}")


def decode_pictures(files: Sequence[Path], size: int, resize: str) -> np.ndarray:
    """uint8 [N, 3, size, size].

    Raises:
        Refusal: naming every file that is no whole picture.
    """
    images = np.empty((len(files), 3, size, size), dtype=np.uint8)
    damaged: list[str] = []
    for index, path in enumerate(files):
        try:
            images[index] = pixels_of(fitted(open_picture(path), size, size, resize))
        except Refusal as refusal:
            damaged.append(str(refusal))
    _refuse_damaged(damaged)
    return images


def _part(folder: Path, left_out: set[Path]) -> tuple[tuple[str, ...], Part]:
    """Class names, and the pictures of their folders."""
    members = class_folders(folder)
    if not members:
        raise Refusal(f"{folder} has no class folders with pictures")
    files: list[Path] = []
    labels: list[int] = []
    others: list[Path] = []
    for label, member in enumerate(members):
        entries = [path for path in sorted(member.iterdir()) if not is_hidden(path) and path not in left_out]
        found = [path for path in entries if is_picture(path)]
        if not found:
            raise Refusal(f"{member} has no pictures")
        others += [path for path in entries if not is_picture(path)]
        files += found
        labels += [label] * len(found)
    if others:
        shown = ", ".join(str(path.relative_to(folder)) for path in others[:NAMED])
        more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        _logger.warning("%s: left out, no pictures of a known kind: %s%s", folder, shown, more)
    return tuple(member.name for member in members), Part(tuple(files), np.array(labels, dtype=np.int64))
