"""The 50/50 split of the training images for a search (Sec. IV-A): seeded, and stored beside what it led to."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.files import write_whole

from .data import ImageDataset
from .data_sources import stratified
from .image_files import ImageFiles

SPLIT_NAME = "search_split.json"
SCHEMA = 1


@dataclass(frozen=True)
class SearchSplit:
    """The training images in two halves: weights learn on one, the architecture on the other (Algorithm 1)."""

    train_indices: Tensor
    validation_indices: Tensor


def search_split(dataset: ImageDataset, seed: int) -> SearchSplit:
    """The training images in two equal, stratified, seeded halves."""
    labels = dataset.train_labels.cpu().numpy()
    return _halves(stratified(labels, len(labels) // 2, seed), len(labels))


def stored_search_split(dataset: ImageDataset, seed: int, run_dir: Path | None) -> SearchSplit:
    """The split of this run: read from `run_dir` where it is stored, else made and stored there.

    Raises:
        Refusal: the stored split is damaged, or was made of other images or with another seed.
    """
    if run_dir is None:
        return search_split(dataset, seed)
    path = run_dir / SPLIT_NAME
    made_of = {
        "schema": SCHEMA,
        "dataset": dataset.name,
        "images": len(dataset.train_labels),
        "sha256": training_images_hash(dataset),
        "seed": seed,
    }
    if path.exists():
        return _read(path, made_of)
    split = search_split(dataset, seed)
    document = json.dumps({**made_of, "train_indices": split.train_indices.tolist()})
    write_whole(path, document.encode() + b"\n")
    return split


def training_images_hash(dataset: ImageDataset) -> str:
    """SHA-256 of the training images (of files: their names and sizes) and their labels, in their order."""
    images = dataset.train_images
    digest = hashlib.sha256(str(tuple(images.shape)).encode())
    if isinstance(images, ImageFiles):
        digest.update(images.fingerprint())
    else:
        digest.update(np.ascontiguousarray(images.cpu().numpy()).data)
    digest.update(np.ascontiguousarray(dataset.train_labels.cpu().numpy()).data)
    return digest.hexdigest()


def _read(path: Path, made_of: dict[str, Any]) -> SearchSplit:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        chosen = np.array(stored.pop("train_indices"), dtype=np.int64)
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise Refusal(
            f"{path} is not a stored search split ({type(error).__name__}): remove the run to start anew"
        ) from None
    for name, value in made_of.items():
        if stored.get(name) != value:
            what = (
                "of other training images" if name == "sha256" else f"with {name} {stored.get(name)!r}, not {value!r}"
            )
            raise Refusal(f"{path} was made {what}: a search goes on with the images that it began with")
    count = made_of["images"]
    if len(np.unique(chosen)) != count // 2 or len(chosen) != count // 2 or chosen.min() < 0 or chosen.max() >= count:
        raise Refusal(f"{path} does not name one half of {count} training images: remove the run to start anew")
    return _halves(chosen, count)


def _halves(chosen: np.ndarray, count: int) -> SearchSplit:
    train = np.zeros(count, dtype=bool)
    train[chosen] = True
    return SearchSplit(torch.from_numpy(np.flatnonzero(train)), torch.from_numpy(np.flatnonzero(~train)))
