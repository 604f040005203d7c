"""Image folders as people have them: odd files are handled or named, and no picture decides the size of all."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rrnet_nni.base.errors import Refusal
from rrnet_nni.evaluators.images.data import DataOptions, load_dataset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of ten pictures of 12x8, not divided into parts, and a large one that comes first."""
    for label, name in enumerate(("dark", "light")):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(10):
            Image.new("RGB", (12, 8), (40 + 160 * label,) * 3).save(tmp_path / "images" / name / f"{index}.png")
    Image.new("RGB", (4000, 3000), (40,) * 3).save(tmp_path / "images" / "dark" / "0.png")
    return tmp_path / "images"


def options(folder: Path, **more: object) -> DataOptions:
    return DataOptions(name="folder", root=str(folder), cache_dir=str(folder.parent / "cache"), **more)  # type: ignore


def test_a_folder_of_classes_alone_is_divided_by_class_and_seed(folder: Path) -> None:
    dataset = load_dataset(options(folder, test_fraction=0.3))
    assert dataset.class_names == ("dark", "light")
    assert np.bincount(dataset.test_labels).tolist() == [3, 3]
    assert np.bincount(dataset.train_labels).tolist() == [7, 7]


@pytest.mark.parametrize("workers", [None, 0])
def test_the_median_picture_decides_the_size(folder: Path, workers: int | None) -> None:
    dataset = load_dataset(options(folder, workers=workers))
    assert dataset.train_images.shape[1:] == (3, 8, 8)
    assert dataset.image_format("pets").shape == (3, 8, 8)


def test_large_pictures_are_made_no_larger_than_a_network_usually_takes(folder: Path) -> None:
    for path in folder.glob("*/*.png"):
        Image.new("RGB", (700, 600)).save(path)
    assert load_dataset(options(folder, workers=0)).image_size == 224


@pytest.mark.parametrize("workers", [None, 0])
def test_the_client_reads_a_picture_as_training_did(folder: Path, workers: int | None) -> None:
    picture = folder / "light" / "0.png"
    for path in folder.glob("*/*.png"):
        Image.fromarray(np.random.default_rng(5).integers(0, 255, (9, 20, 3), dtype=np.uint8)).save(path)
    for resize in ("squeeze", "crop", "pad"):
        dataset = load_dataset(options(folder, image_size=8, resize=resize, workers=workers))
        images = dataset.image_format("pets")
        assert images.contrast_bound == pytest.approx(1.2 * sum(dataset.std) / 3)
        pixels = images.pixels(picture)[None]
        trained = dataset.normalized(dataset.test_images[:1]).numpy()
        assert np.allclose(images.normalized(pixels), trained, atol=1e-6), resize


def test_hidden_folders_are_no_classes_and_other_files_are_named(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / ".git").mkdir()
    (folder / "dark" / "phone.heic").write_bytes(b"x")
    with caplog.at_level(logging.WARNING):
        dataset = load_dataset(options(folder))
    assert dataset.class_names == ("dark", "light")
    assert "left out, no pictures of a known kind: dark/phone.heic" in caplog.text


def test_all_damaged_pictures_are_named_at_once_and_can_be_left_out(folder: Path) -> None:
    for name in ("3.png", "7.png"):
        (folder / "light" / name).write_bytes(b"")
    with pytest.raises(Refusal) as refused:
        load_dataset(options(folder, test_fraction=0.9))
    assert str(refused.value).count("the file is empty") in (1, 2)
    assert "leave_out" in str(refused.value)
    dataset = load_dataset(options(folder, leave_out=("light/3.png", "light/7.png")))
    assert len(dataset.train_labels) + len(dataset.test_labels) == 18
    with pytest.raises(Refusal, match=r"leave_out names light/77\.png"):
        load_dataset(options(folder, leave_out=("light/77.png",)))


def test_an_empty_class_is_named(folder: Path) -> None:
    (folder / "medium").mkdir()
    with pytest.raises(Refusal, match="medium has no pictures"):
        load_dataset(options(folder))
