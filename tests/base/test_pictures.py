"""Pictures of every kind become the same 8-bit pixels, or are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.pictures import central_box, fitted, is_picture, open_picture, picture_size, pixels_of

ORIENTATION = 0x0112


def halves(width: int = 6, height: int = 4) -> np.ndarray:
    """Left half dark, right half light: uint8 [H, W]."""
    pixels = np.full((height, width), 40, dtype=np.uint8)
    pixels[:, width // 2 :] = 200
    return pixels


@pytest.mark.parametrize("kind", ["png", "gif", "tif", "bmp", "webp", "tga"])
def test_known_formats_give_the_pixels_that_were_saved(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"picture.{kind}"
    options = {"lossless": True} if kind == "webp" else {}
    Image.fromarray(halves()).convert("RGB").save(path, **options)
    assert is_picture(path)
    assert np.array_equal(pixels_of(open_picture(path)), np.stack([halves()] * 3))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "P", "1", "LA"])
def test_every_mode_becomes_colour_and_grey(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "picture.tif"
    Image.fromarray(np.where(halves() > 100, 255, 0).astype(np.uint8)).convert("RGB").convert(mode).save(path)
    expected = np.where(halves() > 100, 255, 0)
    assert np.array_equal(pixels_of(open_picture(path))[1], expected)
    assert np.array_equal(pixels_of(open_picture(path, "L"))[0], expected)


def test_sixteen_bits_are_scaled_and_not_cut(tmp_path: Path) -> None:
    Image.fromarray(halves().astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert np.array_equal(pixels_of(open_picture(tmp_path / "deep.png"))[0], halves())


def test_what_is_transparent_becomes_white(tmp_path: Path) -> None:
    picture = Image.fromarray(halves()).convert("RGBA")
    picture.putalpha(Image.fromarray(np.where(halves() > 100, 255, 0).astype(np.uint8)))
    picture.save(tmp_path / "cut.png")
    assert np.array_equal(pixels_of(open_picture(tmp_path / "cut.png"))[0], np.where(halves() > 100, 200, 255))


def test_a_picture_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    path = tmp_path / "turned.png"
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(halves()).save(path, exif=exif)
    assert np.array_equal(pixels_of(open_picture(path, "L"))[0], np.rot90(halves(), -1))
    assert picture_size(path) == open_picture(path).size == (4, 6)


@pytest.mark.parametrize(("content", "words"), [(b"", "the file is empty"), (b"GIF89a nonsense", "cannot be decoded")])
def test_what_is_no_picture_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "broken.gif"
    path.write_bytes(content)
    for read in (open_picture, picture_size):
        with pytest.raises(Refusal, match=words) as refused:
            read(path)
        assert str(path) in str(refused.value)


def test_half_a_picture_is_named_and_not_filled_with_grey(tmp_path: Path) -> None:
    path = tmp_path / "half.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(Refusal, match=r"half\.jpg cannot be decoded"):
        open_picture(path)


def test_resizing_squeezes_crops_or_pads() -> None:
    wide = Image.fromarray(
        np.concatenate([np.zeros((4, 4)), np.full((4, 4), 255), np.zeros((4, 4))], 1).astype(np.uint8)
    )
    squeezed, cropped, padded = (np.asarray(fitted(wide, 4, 4, rule)) for rule in ("squeeze", "crop", "pad"))
    assert squeezed[:, 0].max() < 128 < squeezed[:, 1].min()
    assert (cropped == 255).all()
    assert (padded[0] == 0).all()
    assert (padded[3] == 0).all()
    assert padded[1].max() > 128


@given(
    width=st.integers(1, 500),
    height=st.integers(1, 500),
    share=st.floats(0.1, 1),
    shape=st.tuples(*[st.integers(1, 64)] * 2),
)
@settings(max_examples=60, deadline=None)
def test_the_middle_part_lies_inside_and_has_the_wanted_shape(
    width: int, height: int, share: float, shape: tuple[int, int]
) -> None:
    left, top, right, bottom = central_box(width, height, *shape, share)
    assert -1e-6 <= left <= right <= width + 1e-6
    assert -1e-6 <= top <= bottom <= height + 1e-6
    assert (right - left) * shape[1] == pytest.approx((bottom - top) * shape[0])
