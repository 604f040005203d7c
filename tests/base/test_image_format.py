"""What a network knows of its images survives every file that carries it, and nonsense is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.image_format import ImageFormat, load_format, read_format

finite = st.floats(-10, 10)
formats = st.sampled_from(["gray", "rgb", "bgr"]).flatmap(
    lambda color: st.builds(
        ImageFormat,
        height=st.integers(1, 300),
        width=st.integers(1, 300),
        color=st.just(color),
        mean=st.tuples(*[finite] * (1 if color == "gray" else 3)),
        std=st.tuples(*[st.floats(0.01, 10)] * (1 if color == "gray" else 3)),
        classes=st.lists(st.text(), max_size=3).map(tuple),
        resize=st.sampled_from(["squeeze", "crop", "pad"]),
        contrast_bound=st.none() | st.floats(0.01, 300),
        task=st.text(),
    )
)


@given(formats)
def test_a_format_read_back_is_the_same(images: ImageFormat) -> None:
    assert read_format(images.to_json(), "here") == images


def test_a_file_by_hand_may_be_yaml_and_its_mistakes_have_lines(tmp_path: Path) -> None:
    path = tmp_path / "images.yml"
    path.write_text("height: 4\nwidth: 6\ncolor: rgb\nmean: [0, 0, 0]\nstd: [1, 1, 1]\nclasses: [cat, dog]\nscale: 1\n")
    images = load_format(path)
    assert images.shape == (3, 4, 6)
    assert images.normalized(np.full((1, 3, 4, 6), 255)).max() == 255
    path.write_text(path.read_text().replace("std: [1, 1, 1]", "std: [1, 1]"))
    with pytest.raises(Refusal, match=r"images\.yml:5: .*std"):
        load_format(path)


@pytest.mark.parametrize(
    "change",
    [
        {"height": 0},
        {"color": "hsv"},
        {"std": (0.0,)},
        {"mean": (0.1, 0.2)},
        {"scale": 0.0},
        {"central_share": 1.5},
        {"contrast_bound": 0},
    ],
)
def test_impossible_formats_are_refused(change: dict[str, object]) -> None:
    values = {"height": 4, "width": 4, "color": "gray", "mean": (0.5,), "std": (0.25,)} | change
    with pytest.raises(ValueError, match=next(iter(change))):
        ImageFormat(**values)  # type: ignore[arg-type]


def test_pictures_come_in_the_order_of_the_channels(tmp_path: Path) -> None:
    Image.new("RGB", (9, 5), (255, 128, 0)).save(tmp_path / "orange.png")
    rgb = ImageFormat(2, 3, "rgb", (0.0,) * 3, (1.0,) * 3).pixels(tmp_path / "orange.png")
    bgr = ImageFormat(2, 3, "bgr", (0.0,) * 3, (1.0,) * 3).pixels(tmp_path / "orange.png")
    assert rgb.shape == bgr.shape == (3, 2, 3)
    assert rgb[:, 0, 0].tolist() == bgr[::-1, 0, 0].tolist() == [255, 128, 0]


def contrast_of(values: np.ndarray) -> float:
    return max(float(values.std()), 0.4 * float(np.abs(values - values.mean()).max()))


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.5), st.sampled_from([1.0, 255.0]))
def test_a_picture_keeps_its_mean_and_has_no_more_contrast_than_the_bound(
    seed: int, bound: float, scale: float
) -> None:
    chance = np.random.default_rng(seed)
    pixels = chance.normal(128, [[[[5]]], [[[90]]], [[[30]]]], (3, 3, 6, 6)).clip(0, 255).astype(np.uint8)
    pixels[2, 0, 0, 0] = 255
    plain = ImageFormat(6, 6, "rgb", (0.0,) * 3, (1.0,) * 3, scale=scale)
    free = plain.normalized(pixels)
    bound *= 255 / scale
    found = replace(plain, contrast_bound=bound).normalized(pixels)
    for before, after in zip(free, found, strict=True):
        assert after.mean() == pytest.approx(before.mean(), rel=1e-4)
        assert contrast_of(after) == pytest.approx(min(contrast_of(before), bound), rel=1e-3)
        assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.9999
        if contrast_of(before) < bound:
            assert np.array_equal(before, after)


def test_a_single_bright_place_counts_as_contrast() -> None:
    pixels = np.full((1, 1, 16, 16), 20, np.uint8)
    pixels[0, 0, 3, 3] = 240
    plain = ImageFormat(16, 16, "gray", (0.0,), (1.0,))
    free = plain.normalized(pixels)
    assert free.std() < 0.1
    found = replace(plain, contrast_bound=0.1).normalized(pixels)
    assert np.abs(found - found.mean()).max() == pytest.approx(0.25)


def test_a_picture_of_one_color_has_no_contrast_to_bound() -> None:
    images = ImageFormat(4, 4, "gray", (0.5,), (0.25,), contrast_bound=0.1)
    assert np.array_equal(images.normalized(np.full((2, 1, 4, 4), 255)), np.full((2, 1, 4, 4), 2, np.float32))
    assert [float(value.squeeze()) for value in images.limits()] == [-2.0, 2.0]
