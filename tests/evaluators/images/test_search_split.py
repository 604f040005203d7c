"""The search split is seeded halves, stored in the run and read back, and belongs to its images alone."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rrnet_nni.base.errors import Refusal
from rrnet_nni.evaluators.images.data import DataOptions, ImageDataset, load_dataset
from rrnet_nni.evaluators.images.search_split import SPLIT_NAME, search_split, stored_search_split


@pytest.fixture
def dataset() -> ImageDataset:
    return load_dataset(DataOptions(train_images=101))


def test_halves_are_seeded_and_do_not_overlap(dataset: ImageDataset) -> None:
    split, same, other = (search_split(dataset, seed) for seed in (3, 3, 4))
    assert torch.equal(split.train_indices, same.train_indices)
    assert not torch.equal(split.train_indices, other.train_indices)
    together = torch.cat([split.train_indices, split.validation_indices])
    assert torch.equal(together.sort().values, torch.arange(101))
    assert abs(len(split.train_indices) - len(split.validation_indices)) <= 1


def test_the_stored_split_is_what_a_resumed_search_takes(dataset: ImageDataset, tmp_path: Path) -> None:
    made = stored_search_split(dataset, 3, tmp_path)
    assert torch.equal(made.train_indices, search_split(dataset, 3).train_indices)
    stored = json.loads((tmp_path / SPLIT_NAME).read_text())
    assert stored["train_indices"] == made.train_indices.tolist()
    # Whatever is stored counts, so that a later version that draws another way goes on with the old halves.
    stored["train_indices"] = list(range(50))
    (tmp_path / SPLIT_NAME).write_text(json.dumps(stored))
    again = stored_search_split(dataset, 3, tmp_path)
    assert torch.equal(again.train_indices, torch.arange(50))
    assert torch.equal(again.validation_indices, torch.arange(50, 101))


def test_other_images_another_seed_and_damage_are_refused(dataset: ImageDataset, tmp_path: Path) -> None:
    stored_search_split(dataset, 3, tmp_path)
    path = tmp_path / SPLIT_NAME
    touched = dataset.train_images.clone()
    touched[7, 0, 0, 0] ^= 1
    with pytest.raises(Refusal, match=f"{path} was made of other training images"):
        stored_search_split(replace(dataset, train_images=touched), 3, tmp_path)
    with pytest.raises(Refusal, match="with seed 3, not 4"):
        stored_search_split(dataset, 4, tmp_path)
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({**stored, "train_indices": [0] * 50}))
    with pytest.raises(Refusal, match="one half of 101"):
        stored_search_split(dataset, 3, tmp_path)
    path.write_text(path.read_text()[:40])
    with pytest.raises(Refusal, match=str(path)):
        stored_search_split(dataset, 3, tmp_path)
