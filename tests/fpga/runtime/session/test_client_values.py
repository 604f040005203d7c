"""Whatever a client hands over reaches the network in the network's own units, or is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.image_format import ImageFormat
from rrnet_nni.fpga.runtime.session.client_values import read_values

GRAY = ImageFormat(4, 4, "gray", (0.3,), (0.4,), ("dark", "light"))
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 1, 4, 4), dtype=np.uint8)
PIXELS[0, 0, 0, :2] = 0, 255


def saved(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


def test_integers_are_pixels(tmp_path: Path) -> None:
    expected = GRAY.normalized(PIXELS)
    for array in (PIXELS, PIXELS.astype(np.int64), PIXELS[:, 0], PIXELS.transpose(0, 2, 3, 1)):
        found = read_values(saved(tmp_path / "x.npy", array), "image", GRAY).values
        assert np.array_equal(found, expected)


def test_normalized_values_are_taken_as_they_are(tmp_path: Path) -> None:
    expected = GRAY.normalized(PIXELS)
    assert np.array_equal(read_values(saved(tmp_path / "x.npy", expected), "image", GRAY).values, expected)


@pytest.mark.parametrize(
    ("factor", "units", "words"), [(1.0, "pixels", "as pixels do"), (1 / 255, "fractions", "/ 255")]
)
def test_other_units_are_refused_until_they_are_named(tmp_path: Path, factor: float, units: str, words: str) -> None:
    path = saved(tmp_path / "x.npy", PIXELS * factor)
    with pytest.raises(Refusal, match=words) as refused:
        read_values(path, "image", GRAY)
    assert "--units pixels (0..255), fractions (0..1)" in str(refused.value)
    assert np.allclose(read_values(path, "image", GRAY, units).values, GRAY.normalized(PIXELS), atol=1e-5)


def test_a_network_of_pixels_refuses_what_may_be_fractions(tmp_path: Path) -> None:
    raw = ImageFormat(4, 4, "gray", (0.0,), (1.0,), scale=1.0)
    assert read_values(saved(tmp_path / "x.npy", PIXELS * 1.0), "image", raw).values.max() == 255
    for wrong in (PIXELS / 255, GRAY.normalized(PIXELS)):
        with pytest.raises(Refusal, match="say which numbers"):
            read_values(saved(tmp_path / "x.npy", wrong), "image", raw)


def test_numbers_that_are_not_in_the_named_units_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"not fractions, which lie in 0\.\.1"):
        read_values(saved(tmp_path / "x.npy", PIXELS), "image", GRAY, "fractions")


def test_labels_stand_beside_the_images_of_an_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", image=PIXELS, label=np.array([0, 1, 1]))
    assert read_values(tmp_path / "x.npz", "image", GRAY).labels.tolist() == [0, 1, 1]


def test_a_folder_of_pictures_has_names_and_the_classes_of_its_folders(tmp_path: Path) -> None:
    for name, shade in (("light/b.png", 200), ("dark/a.png", 40), ("new.png", 90), (".hidden.png", 1)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (8, 4), shade).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    found = read_values(tmp_path, "image", GRAY)
    assert found.names == ("new.png", "dark/a.png", "light/b.png")
    assert found.labels.tolist() == [-1, 0, 1]
    assert np.allclose(found.values[:, 0, 0, 0], (np.array([90, 40, 200]) / 255 - 0.3) / 0.4)


def test_strange_folders_damaged_pictures_and_builds_without_a_format_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    (folder / "bird").mkdir(parents=True)
    with pytest.raises(Refusal, match=r"has the folder bird, which is no class of the network \(dark, light\)"):
        read_values(folder, "image", GRAY)
    (folder / "bird").rmdir()
    with pytest.raises(Refusal, match="has no pictures"):
        read_values(folder, "image", GRAY)
    for name in ("a.png", "b.jpg"):
        (folder / name).write_bytes(b"")
    with pytest.raises(Refusal, match=r"a\.png cannot be decoded .*; .*b\.jpg cannot be decoded"):
        read_values(folder, "image", GRAY)
    with pytest.raises(Refusal, match="--preprocess FILE"):
        read_values(folder, "image", None)
