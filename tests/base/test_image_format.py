"""What a network knows of its images survives every file that carries it, and nonsense is refused."""

from __future__ import annotations

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
    [{"height": 0}, {"color": "hsv"}, {"std": (0.0,)}, {"mean": (0.1, 0.2)}, {"scale": 0.0}, {"central_share": 1.5}],
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
