"""Folders and ImageNet through worker processes: the same batches as in memory, and damage named by its file."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.evaluators.images.data import DataOptions, ImageDataset, holdout, load_dataset
from rrnet_nni.evaluators.images.image_files import FileBatchLoader, ImageFiles
from rrnet_nni.evaluators.images.search_split import stored_search_split
from rrnet_nni.evaluators.training import TrainingOptions, train_network
from rrnet_nni.search_spaces import SpaceOptions, build_network, fixed_choices


def draw_images(where: Path, count: int, shade: int, size: tuple[int, int], suffix: str) -> None:
    where.mkdir(parents=True)
    generator = np.random.default_rng(shade)
    for index in range(count):
        pixels = generator.integers(shade, shade + 60, (*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(where / f"{index}{suffix}")


@pytest.fixture(scope="module")
def made_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image folder of two classes of different brightness."""
    root = tmp_path_factory.mktemp("folder") / "images"
    for part, count in (("train", 24), ("test", 8)):
        for label, name in enumerate(("dark", "light")):
            draw_images(root / part / name, count, 20 + 150 * label, (16, 16), ".png")
    return root


@pytest.fixture(scope="module")
def made_imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What torchvision's ImageNet expects after its archives were unpacked, with two classes."""
    root = tmp_path_factory.mktemp("imagenet")
    classes = {"n01440764": ("tench",), "n01443537": ("goldfish",)}
    torch.save((classes, ["n01440764", "n01443537"]), root / "meta.bin")
    for part, count in (("train", 10), ("val", 4)):
        for label, wnid in enumerate(classes):
            draw_images(root / part / wnid, count, 20 + 150 * label, (60 + 20 * label, 48), ".JPEG")
    return root


def on_disk(root: Path, workers: int, **more: object) -> ImageDataset:
    return load_dataset(DataOptions("folder", root=str(root), workers=workers, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_make_the_batches_that_memory_makes(made_folder: Path, workers: int, tmp_path: Path) -> None:
    memory = load_dataset(DataOptions("folder", root=str(made_folder), cache_dir=str(tmp_path)))
    disk = on_disk(made_folder, workers)
    assert isinstance(disk.train_images, ImageFiles)
    assert (disk.mean, disk.std, disk.class_names) == (memory.mean, memory.std, memory.class_names)
    for training in (True, False):
        loaders = [d.loader(d.train_images, d.train_labels, 10, training=training, seed=3) for d in (memory, disk)]
        for _ in range(2):
            random_state = torch.get_rng_state()
            for (images, labels), (from_files, their_labels) in zip(*loaders, strict=True):
                assert torch.equal(images, from_files)
                assert torch.equal(labels, their_labels)
            assert torch.equal(torch.get_rng_state(), random_state), "loading drew from the training's random state"


def test_a_folder_on_disk_trains_and_splits(made_folder: Path, tmp_path: Path) -> None:
    remaining, (held, labels) = holdout(on_disk(made_folder, 1), 0.25, seed=0)
    assert len(held) == len(labels) == 12
    split = stored_search_split(remaining, 0, tmp_path)
    assert torch.equal(stored_search_split(remaining, 0, tmp_path).train_indices, split.train_indices)
    space = SpaceOptions(classes=2, image_size=16, width=0.25)
    torch.manual_seed(0)
    network = build_network("resnet8", space, fixed_choices("resnet8", space))
    result = train_network(network, remaining, TrainingOptions(epochs=4, batch_size=12))
    assert result.accuracy > 0.9


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_file_is_named(made_folder: Path, workers: int, tmp_path: Path) -> None:
    root = tmp_path / "images"
    for part in ("train", "test"):
        for name in ("dark", "light"):
            draw_images(root / part / name, 6, 30, (16, 16), ".png")
    broken = root / "test" / "light" / "3.png"
    broken.write_bytes(broken.read_bytes()[:60])
    dataset = on_disk(root, workers)
    batches = dataset.loader(dataset.test_images, dataset.test_labels, 4)
    with pytest.raises(Refusal) as caught:
        list(batches)
    assert str(caught.value).startswith(f"{broken} cannot be decoded")


def test_a_worker_that_dies_is_a_fault_and_not_a_hang(made_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = on_disk(made_folder, 1)
    parent = os.getpid()

    def die(*_: object) -> None:
        assert os.getpid() != parent
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(ImageFiles, "read", die)
    with pytest.raises(ExecutionFault, match=f"decodes images under {made_folder} died"):
        list(dataset.loader(dataset.train_images, dataset.train_labels, 8))


def test_imagenet_is_found_as_torchvision_lays_it_out(made_imagenet: Path) -> None:
    options = DataOptions("imagenet", root=str(made_imagenet), image_size=32, train_images=12, workers=1)
    dataset = load_dataset(options)
    assert dataset.class_names == ("n01440764", "n01443537")
    assert dataset.train_images.shape == (12, 3, 32, 32)
    assert dataset.test_images.shape == (8, 3, 32, 32)
    assert dataset.mean == (0.485, 0.456, 0.406)
    loader = dataset.loader(dataset.test_images, dataset.test_labels, 8)
    ((images, labels),) = list(loader)
    assert images.shape == (8, 3, 32, 32)
    assert torch.equal(labels, (images.mean(dim=(1, 2, 3)) > 0).long()), "each label belongs to its image"


def test_views_of_imagenet_depend_on_seed_and_epoch_alone(made_imagenet: Path) -> None:
    options = DataOptions("imagenet", root=str(made_imagenet), image_size=32, workers=0)
    dataset = load_dataset(options)

    def epoch(workers: int, number: int) -> torch.Tensor:
        files = ImageFiles(made_imagenet, dataset.train_images.names, 32, workers, crops=True)  # type: ignore[union-attr]
        loader = dataset.loader(files, dataset.train_labels, 5, training=True, seed=1)
        assert isinstance(loader, FileBatchLoader)
        loader.set_epoch(number)
        return torch.cat([images for images, _ in loader])

    first = epoch(0, 0)
    assert torch.equal(first, epoch(2, 0))
    assert not torch.equal(first, epoch(0, 1))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "imagenet", "root": "/nowhere"}, "ImageNet is not under /nowhere"),
        ({"name": "digits", "workers": 2}, "digits is held in memory"),
        ({"name": "folder", "root": "/nowhere", "workers": -1}, "workers"),
        ({"name": "folder", "root": "/nowhere", "workers": 1}, "/nowhere/train is not a folder"),
    ],
)
def test_what_cannot_be_read_from_disk_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(Refusal, match=words):
        load_dataset(DataOptions(**options))  # type: ignore[arg-type]
