"""What a network knows of its images: which pixels it takes, and what its outputs are called.

It travels with the architecture, the ONNX file's metadata and the client's part of a build, as one JSON object.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Gt, Le

from .errors import Refusal
from .pictures import Resize, fitted, open_picture, pixels_of
from .settings import Count, Positive, WrongSetting, check_settings, checked, read_yaml

#: The key of an ONNX file's `metadata_props` under which the format stands.
METADATA_KEY = "rrnet.images"
#: What the largest distance from a picture's mean counts beside the deviation of all: squares explode at single places.
PEAK_SHARE = 0.4
_CHANNELS = {"gray": 1, "rgb": 3, "bgr": 3}


@dataclass(frozen=True)
class ImageFormat:
    """Pixels 0..255 of a picture become `(pixel / scale - mean) / std`, per channel, once its contrast is bounded.

    Attributes:
        height, width: pixels that the network takes.
        color: `gray`, `rgb` or `bgr`, the order of the channels.
        mean, std: one number for each channel; with scale 1 of values in 0..255.
        classes: names of the logits, in their order; empty where they have none.
        scale: what a pixel is divided by first: 255, or 1 where the network takes 0..255.
        resize: how a picture of another shape is brought to the size (`pictures.Resize`).
        central_share: of the largest middle part, the share that `crop` takes.
        contrast_bound: the most contrast of a picture's values once divided by scale: their standard deviation over
            pixels and channels, or `PEAK_SHARE` of the largest distance from their mean where that is more. A picture
            that has more is brought to it around its mean. None leaves pictures as they are.
        task: what the network was trained for.
    """

    height: Count
    width: Count
    color: Literal["gray", "rgb", "bgr"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...] = ()
    scale: Positive = 255.0
    resize: Resize = "squeeze"
    central_share: Annotated[float, Gt(0), Le(1)] = 1.0
    contrast_bound: Positive | None = None
    task: str = ""

    def __post_init__(self) -> None:
        check_settings(self)
        for name in ("mean", "std"):
            if len(values := getattr(self, name)) != self.channels:
                raise WrongSetting(f"{name} must be {self.channels} numbers, one a channel, not {list(values)}")
        if min(self.std) <= 0:
            raise WrongSetting(f"std must be above 0, not {min(self.std)}")

    @property
    def channels(self) -> int:
        return _CHANNELS[self.color]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the network's input."""
        return self.channels, self.height, self.width

    def pixels(self, path: Path) -> np.ndarray:
        """uint8 [C, H, W] of a picture file, decoded and resized as in training.

        Raises:
            Refusal: it is not a whole picture.
        """
        picture = open_picture(path, "L" if self.color == "gray" else "RGB")
        pixels = pixels_of(fitted(picture, self.width, self.height, self.resize, self.central_share))
        return pixels[::-1] if self.color == "bgr" else pixels

    def normalized(self, pixels: np.ndarray) -> np.ndarray:
        """float32 [N, C, H, W], what the network takes, of values 0..255."""
        mean, std = (np.array(values, dtype=np.float32).reshape(-1, 1, 1) for values in (self.mean, self.std))
        values = pixels.astype(np.float32) / np.float32(self.scale)
        if self.contrast_bound is not None:
            values = _within_contrast(values, self.contrast_bound)
        return (values - mean) / std

    def limits(self) -> tuple[np.ndarray, np.ndarray]:
        """What black and white pixels become: two arrays [C, 1, 1]."""
        ends = [self.normalized(np.full((self.channels, 1, 1), value)) for value in (0, 255)]
        return ends[0], ends[1]

    def to_json(self) -> str:
        """One JSON object, the same for the same format."""
        return json.dumps(asdict(self), ensure_ascii=False)


def _within_contrast(values: np.ndarray, bound: float) -> np.ndarray:
    """Values float32 [..., C, H, W] with each picture's distances from its mean shrunk to a contrast of `bound`."""
    picture = (-3, -2, -1)
    mean = values.mean(picture, dtype=np.float64, keepdims=True)
    distance = values - mean
    peak = np.abs(distance).max(picture, keepdims=True)
    contrast = np.maximum(distance.std(picture, keepdims=True), PEAK_SHARE * peak)
    factor = bound / np.maximum(contrast, bound)
    return np.where(factor < 1, mean + distance * factor, values).astype(np.float32)


def read_format(text: str | bytes, where: str) -> ImageFormat:
    """The format that `ImageFormat.to_json` wrote.

    Raises:
        Refusal: it is none.
    """
    try:
        return checked(json.loads(text), ImageFormat)
    except ValueError as error:
        raise Refusal(f"{where}: not a description of images ({error})") from None


def load_format(path: Path) -> ImageFormat:
    """A format from a file that a person wrote, in YAML or JSON.

    Raises:
        Refusal: naming file, line and key.
    """
    return read_yaml(path, ImageFormat)
