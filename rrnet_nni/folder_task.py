"""A task for an image folder, from a look at its pictures: sizes, epochs, and odd files by name."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

import yaml

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.pictures import is_picture, open_picture, picture_size
from rrnet_nni.base.progress import counted
from rrnet_nni.evaluators.images.image_folder import Folder, class_folders, read_folder

#: A network of one core learns from so many pictures in minutes: below, a small backbone and small pictures.
FEW_PICTURES, SMALL_SIDE, LARGE_SIDE = 2000, 32, 64
#: Pictures that a training should see in all, and the bounds of its epochs.
SEEN_PICTURES, LEAST_EPOCHS, MOST_EPOCHS = 10_000, 15, 30
SMALLEST_SIDE = 16


def describe_folder(root: Path, place: Path) -> tuple[str, str, list[str]]:
    """The name of a task for `root`, its file's text, and what to tell about the folder.

    Args:
        place: the folder that the task file goes to.

    Raises:
        Refusal: it is no image folder.
    """
    if not root.is_dir():
        raise Refusal(f"{root} is not a folder")
    damaged = _damaged(root)
    leave_out = [str(path.relative_to(root)) for path, _ in damaged]
    folder = read_folder(root, test_fraction=0.2, seed=0, leave_out=leave_out)
    side = folder.side()
    count = len(folder.train.files)
    few = count < FEW_PICTURES
    size = max(SMALLEST_SIDE, min(side, SMALL_SIDE if few else LARGE_SIDE))
    epochs = min(MOST_EPOCHS, max(LEAST_EPOCHS, SEEN_PICTURES // count))
    data: dict[str, object] = {"name": "folder", "root": _relative(root, place), "image_size": size, "resize": "crop"}
    if damaged:
        data["leave_out"] = leave_out
    task = {
        "backbone": "resnet8" if few else "resnet18",
        **({} if few else {"space": {"width": 0.5}}),
        "data": data,
        "search": {"epochs": max(6, epochs // 4), "warmup_epochs": 2},
        "training": {"epochs": epochs, "batch_size": min(64, max(8, count // 8))},
        "hardware": {"device": "zcu104", "protocol": "beaver-ot"},
    }
    text = f"# Written by `rrnet init` for {root}: change what you know better.\n" + yaml.safe_dump(
        task, sort_keys=False, default_flow_style=None, allow_unicode=True
    )
    return _task_name(root), text, _said(folder, damaged, size)


def _task_name(root: Path) -> str:
    """The folder's name without what a shell or YAML reads in its own way, as of a file that a command names."""
    return re.sub(r"[^\w.-]+", "_", root.resolve().name).strip("._-") or "images"


def _said(folder: Folder, damaged: list[tuple[Path, str]], size: int) -> list[str]:
    counts = Counter(folder.train.labels.tolist()) + Counter(folder.test.labels.tolist())
    shown = ", ".join(f"{name} {counts[label]}" for label, name in enumerate(folder.classes))
    files = (*folder.train.files, *folder.test.files)
    sizes = {path: picture_size(path) for path in files}
    shapes = Counter(sizes.values())
    (usual, times), *_ = shapes.most_common(1)
    said = [
        f"{len(folder.classes)} classes: {shown}",
        f"{len(folder.train.files)} pictures to learn from, {len(folder.test.files)} for the test",
        f"{len(shapes)} sizes, most often {usual[0]}x{usual[1]} ({times} times); they are brought to {size}x{size}",
    ]
    widest = max(shapes, key=lambda shape: shape[0] * shape[1])
    if widest[0] * widest[1] > 16 * usual[0] * usual[1]:
        odd = next(path for path, size_there in sizes.items() if size_there == widest)
        said.append(f"much larger than the others: {odd} ({widest[0]}x{widest[1]})")
    return said + [f"left out: {words}" for _, words in damaged]


def _damaged(root: Path) -> list[tuple[Path, str]]:
    """Pictures below the class folders that cannot be decoded, and the sentences about them."""
    parts = [root / part for part in ("train", "test") if (root / part).is_dir()] or [root]
    members = [member for part in parts for member in class_folders(part)]
    pictures = [path for member in members for path in sorted(member.iterdir()) if is_picture(path)]
    found: list[tuple[Path, str]] = []
    for path in counted(pictures, "rrnet init", "pictures"):
        try:
            open_picture(path)
        except Refusal as refusal:
            found.append((path, str(refusal)))
    return found


def _relative(root: Path, place: Path) -> str:
    """How the task file names the folder: from its own place where that is near, else from the top."""
    relative = os.path.relpath(root.resolve(), place.resolve())
    return str(root.resolve()) if relative.startswith(os.path.join("..", "..")) else relative
