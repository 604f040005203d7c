from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rrnet_nni.base.array_cache import cached_arrays
from rrnet_nni.base.errors import Refusal
from rrnet_nni.evaluators.images.batches import Augmentation, BatchLoader, augment
from rrnet_nni.evaluators.images.data import DataOptions, load_dataset
from rrnet_nni.evaluators.images.data_sources import stratified


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image folder of two classes, whose images are one shade each."""
    for part, count in (("train", 6), ("test", 2)):
        for label, name in enumerate(("dark", "light")):
            where = tmp_path / "images" / part / name
            where.mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (8, 8), (40 + 160 * label,) * 3).save(where / f"{index}.png")
    return tmp_path / "images"


def folder_options(folder: Path, **more: object) -> DataOptions:
    return DataOptions(name="folder", root=str(folder), cache_dir=str(folder.parent / "cache"), **more)  # type: ignore


def test_digits_keep_500_images_of_all_classes_for_test() -> None:
    dataset = load_dataset(DataOptions())
    assert dataset.train_images.shape == (1297, 1, 16, 16)
    assert dataset.test_images.shape == (500, 1, 16, 16)
    assert dataset.train_images.dtype == torch.uint8
    counts = torch.bincount(dataset.test_labels)
    assert len(counts) == 10
    assert int(counts.min()) >= 48


def test_training_images_are_normalized_by_their_own_statistics() -> None:
    dataset = load_dataset(DataOptions(image_size=32, contrast_bound=None))
    images = dataset.normalized(dataset.train_images)
    assert abs(float(images.mean())) < 1e-4
    assert float(images.std()) == pytest.approx(1, abs=1e-4)


def contrasts(images: torch.Tensor) -> torch.Tensor:
    peaks = (images - images.mean((1, 2, 3), keepdim=True)).abs().amax((1, 2, 3))
    return images.std((1, 2, 3), correction=0).maximum(0.4 * peaks)


@pytest.mark.parametrize("multiple", [0.8, 1.0])
def test_images_have_bounded_contrast_wherever_a_network_does_not_train(multiple: float) -> None:
    dataset = load_dataset(DataOptions(contrast_bound=multiple))
    assert dataset.contrast_bound == pytest.approx(multiple * dataset.std[0])
    batch = dataset.train_images[:64], dataset.train_labels[:64]
    ((judged, _),) = dataset.loader(*batch, 64)
    assert torch.equal(judged, dataset.normalized(batch[0]))
    assert contrasts(judged).amax() == pytest.approx(multiple, rel=1e-5)
    ((trained, _),) = dataset.loader(*batch, 64, training=True)
    assert contrasts(trained).amax() > 1.05 * multiple
    client = dataset.image_format("digits").normalized(batch[0].numpy())
    assert np.allclose(client, judged.numpy(), atol=1e-5)


def test_folder_is_read_by_class(folder: Path) -> None:
    dataset = load_dataset(folder_options(folder))
    assert dataset.class_names == ("dark", "light")
    assert dataset.train_images.shape == (12, 3, 8, 8)
    shades = dataset.train_images[:, 0, 0, 0]
    assert torch.equal(dataset.train_labels, (shades > 100).long())


def test_folder_is_decoded_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_dataset(folder_options(folder))
    monkeypatch.setattr("rrnet_nni.evaluators.images.image_folder.decode_pictures", None)
    again = load_dataset(folder_options(folder))
    assert torch.equal(first.train_images, again.train_images)


def test_changed_image_is_decoded_again(folder: Path) -> None:
    load_dataset(folder_options(folder))
    Image.new("RGB", (8, 8), (7, 7, 7)).save(folder / "train" / "dark" / "0.png")
    assert int(load_dataset(folder_options(folder)).train_images.min()) == 7


def test_limit_takes_each_class_in_proportion(folder: Path) -> None:
    dataset = load_dataset(folder_options(folder, train_images=4))
    assert torch.bincount(dataset.train_labels).tolist() == [2, 2]


def test_damaged_image_is_named(folder: Path) -> None:
    broken = folder / "train" / "light" / "3.png"
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(Refusal, match=str(broken)):
        load_dataset(folder_options(folder))


def test_damaged_cache_is_named_and_made_anew(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_dataset(folder_options(folder))
    (cache,) = (folder.parent / "cache").glob("*.npz")
    content = bytearray(cache.read_bytes())
    content[len(content) // 2] ^= 0xFF
    cache.write_bytes(content)
    dataset = load_dataset(folder_options(folder))
    assert str(cache) in caplog.text
    assert sorted(set(dataset.train_images.flatten().tolist())) == [40, 200]


def test_a_cache_with_any_flipped_byte_gives_the_same_arrays(tmp_path: Path) -> None:
    def compute() -> dict[str, np.ndarray]:
        return {"x": np.arange(3), "y": np.arange(2.0)}

    cached_arrays(tmp_path, "key", compute)
    (cache,) = tmp_path.glob("*.npz")
    whole = cache.read_bytes()
    for place in range(len(whole)):
        cache.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        found = cached_arrays(tmp_path, "key", compute)
        assert {name: array.tolist() for name, array in found.items()} == {"x": [0, 1, 2], "y": [0.0, 1.0]}, place


def test_failing_write_leaves_no_half_written_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def disk_full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", disk_full)
    arrays = cached_arrays(tmp_path, "key", lambda: {"x": np.arange(3)})
    assert arrays["x"].tolist() == [0, 1, 2]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "mnist"}, "name must be one of digits, .* not 'mnist'"),
        ({"name": "folder"}, "needs root"),
        ({"name": "folder", "root": "/nowhere"}, "/nowhere/train is not a folder"),
        ({"name": "cifar10", "root": "/nowhere"}, "download: true"),
        ({"train_images": 0}, "train_images"),
    ],
)
def test_missing_or_impossible_datasets_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(Refusal, match=words):
        load_dataset(DataOptions(**options))  # type: ignore[arg-type]


@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    share=st.floats(0.1, 0.9),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_stratified_part_has_its_share_of_every_class(counts: list[int], share: float, seed: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    wanted = max(1, round(share * len(labels)))
    chosen = stratified(labels, wanted, seed)
    assert len(chosen) == len(set(chosen.tolist())) == wanted
    for label, count in enumerate(counts):
        assert abs((labels[chosen] == label).sum() - wanted / len(labels) * count) <= 2


def loader(**more: object) -> BatchLoader:
    images = torch.arange(20 * 3 * 8 * 8).reshape(20, 3, 8, 8).remainder(251).to(torch.uint8)
    settings = {"augmentation": Augmentation(2, True, 3), "shuffle": True, "seed": 1} | more
    return BatchLoader(images, torch.arange(20), 6, (0.5,) * 3, (0.25,) * 3, **settings)  # type: ignore[arg-type]


def test_an_epoch_depends_on_its_seed_and_number_alone() -> None:
    continued, resumed = loader(), loader()
    list(continued)
    resumed.set_epoch(1)
    for (a, b), (c, d) in zip(continued, resumed, strict=True):
        assert torch.equal(a, c)
        assert torch.equal(b, d)


def test_every_image_comes_once_per_epoch() -> None:
    batches = loader()
    assert len(batches) == 4
    assert sorted(torch.cat([labels for _, labels in batches]).tolist()) == list(range(20))


def test_without_augmentation_values_are_normalized_exactly() -> None:
    batches = loader(augmentation=None, shuffle=False)
    images, _ = next(iter(batches))
    torch.testing.assert_close(images, (batches.images[:6] / 255 - 0.5) / 0.25)


def test_each_augmentation_is_a_crop_a_mirror_image_or_a_blank_square() -> None:
    images = torch.randint(1, 256, (64, 3, 8, 8), dtype=torch.uint8)
    generator = torch.Generator().manual_seed(0)
    cropped = augment(images, Augmentation(crop_padding=2), generator)
    padded = torch.nn.functional.pad(images, (2,) * 4)
    windows = padded.unfold(2, 8, 1).unfold(3, 8, 1).permute(0, 2, 3, 1, 4, 5).reshape(64, 25, 3, 8, 8)
    assert bool((windows == cropped[:, None]).flatten(2).all(2).any(1).all())
    flipped = augment(images, Augmentation(flip=True), generator)
    mirrored = (flipped == images.flip(-1)).flatten(1).all(1)
    assert bool((mirrored | (flipped == images).flatten(1).all(1)).all())
    assert 16 < int(mirrored.sum()) < 48
    blanked = augment(images, Augmentation(cutout=4), generator) == 0
    assert int(blanked.flatten(1).sum(1).max()) == 3 * 16
    assert int(blanked.flatten(1).sum(1).min()) >= 3 * 4
