"""Picture files of every usual kind as 8-bit pixels: the one way in which training and a client read them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from .errors import Refusal

PICTURE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".jp2", ".tga"),
)
#: How a picture of another shape becomes the network's: both sides scaled for themselves; the middle part of the right
#: shape; or the whole of it between black bars.
Resize = Literal["squeeze", "crop", "pad"]
#: The lowest byte of 16 bits is left away as if 65535 were 255.
SIXTEEN_TO_EIGHT_BITS = 257


def is_hidden(path: Path) -> bool:
    return path.name.startswith(".")


def is_picture(path: Path) -> bool:
    """Whether a file is called like a picture; hidden files are none."""
    return not is_hidden(path) and path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()


def open_picture(path: Path, mode: str = "RGB") -> Image.Image:
    """A picture, decoded and turned as its EXIF says, in `RGB` or `L` (grey).

    Sixteen bits are scaled to eight, transparent parts become white, of a moving picture the first frame is taken.

    Raises:
        Refusal: it is not a whole picture; the sentence names it.
    """
    try:
        with Image.open(path) as picture:
            picture.load()
            return _eight_bits(ImageOps.exif_transpose(picture)).convert(mode)
    except Refusal as refusal:
        raise Refusal(f"{path}: {refusal}") from None
    except MemoryError:
        raise Refusal(f"{path} is larger than the memory of this machine") from None
    except Exception as error:  # a damaged file makes Pillow's many decoders raise whatever they like
        raise Refusal(f"{path} cannot be decoded as an image ({_reason(path, error)})") from None


def picture_size(path: Path) -> tuple[int, int]:
    """(width, height) as a viewer shows it, from the file's head alone.

    Raises:
        Refusal: it is not a picture.
    """
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            turned = picture.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    except Exception as error:  # as above
        raise Refusal(f"{path} cannot be decoded as an image ({_reason(path, error)})") from None
    return (height, width) if turned else (width, height)


def fitted(picture: Image.Image, width: int, height: int, resize: str, central_share: float = 1.0) -> Image.Image:
    """A picture at the network's size as `resize` says; `crop` takes `central_share` of the largest middle part."""
    if resize == "crop":
        box = central_box(*picture.size, width, height, central_share)
        return picture.resize((width, height), Image.Resampling.BILINEAR, box=box)
    if picture.size == (width, height):
        return picture
    if resize == "squeeze":
        return picture.resize((width, height), Image.Resampling.BILINEAR)
    scale = min(width / picture.width, height / picture.height)
    inner = max(1, round(scale * picture.width)), max(1, round(scale * picture.height))
    bars = Image.new(picture.mode, (width, height))
    corner = (width - inner[0]) // 2, (height - inner[1]) // 2
    bars.paste(picture.resize(inner, Image.Resampling.BILINEAR), corner)
    return bars


def central_box(
    width: int, height: int, wanted_width: int, wanted_height: int, share: float
) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of the middle part that has the wanted shape, times `share`."""
    scale = share * min(width / wanted_width, height / wanted_height)
    wide, high = scale * wanted_width, scale * wanted_height
    left, top = (width - wide) / 2, (height - high) / 2
    return left, top, left + wide, top + high


def pixels_of(picture: Image.Image) -> np.ndarray:
    """uint8 [C, H, W] of a picture in `RGB` or `L`."""
    array = np.asarray(picture)
    # Contiguous, or a batch would be channels_last, which is not safe on every device (see `compatibility`).
    return np.ascontiguousarray(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))


def _eight_bits(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.int64)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise Refusal("a picture of more than 16 bits: save it with 8 or 16")
        return Image.fromarray(((values + SIXTEEN_TO_EIGHT_BITS // 2) // SIXTEEN_TO_EIGHT_BITS).astype(np.uint8))
    if picture.mode == "F":
        raise Refusal("a picture of floating-point values: save it with 8 or 16 bits")
    if picture.has_transparency_data:
        seen = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen)
    return picture


def _reason(path: Path, error: Exception) -> str:
    try:
        if path.stat().st_size == 0:
            return "the file is empty"
    except OSError as missing:
        return missing.strerror or str(missing)
    return " ".join(str(error).replace(repr(str(path)), "").split()) or type(error).__name__
