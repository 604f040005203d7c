"""What a network knows of its images: which pixels it takes, and what its outputs are called.

It travels with the architecture, the ONNX file's metadata and the client's part of a build, as one JSON object.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .errors import Refusal
from .json_fields import read_fields
from .pictures import RESIZES, fitted, open_picture, pixels_of
from .typed_yaml import read_yaml

#: The key of an ONNX file's `metadata_props` under which the format stands.
METADATA_KEY = "rrnet.images"
_CHANNELS = {"gray": 1, "rgb": 3, "bgr": 3}


@dataclass(frozen=True)
class ImageFormat:
    """Pixels 0..255 of a picture become `(pixel / scale - mean) / std`, per channel.

    Attributes:
        height, width: pixels that the network takes.
        color: `gray`, `rgb` or `bgr`, the order of the channels.
        mean, std: one number for each channel; with scale 1 of values in 0..255.
        classes: names of the logits, in their order; empty where they have none.
        scale: what a pixel is divided by first: 255, or 1 where the network takes 0..255.
        resize: how a picture of another shape is brought to the size (`pictures.RESIZES`).
        central_share: of the largest middle part, the share that `crop` takes.
        task: what the network was trained for.
    """

    height: int
    width: int
    color: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...] = ()
    scale: float = 255.0
    resize: Literal["squeeze", "crop", "pad"] = "squeeze"
    central_share: float = 1.0
    task: str = ""

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.color not in _CHANNELS:
            raise ValueError(f"color must be one of {', '.join(_CHANNELS)}, not {self.color!r}")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) != self.channels or not all(map(math.isfinite, values)):
                raise ValueError(f"{name} must be {self.channels} finite numbers, one a channel, not {list(values)}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be above 0, not {min(self.std)}")
        if not 0 < self.scale < math.inf:
            raise ValueError(f"scale must be above 0, not {self.scale}")
        if self.resize not in RESIZES:
            raise ValueError(f"resize must be one of {', '.join(RESIZES)}, not {self.resize!r}")
        if not 0 < self.central_share <= 1:
            raise ValueError(f"central_share must lie above 0 and be at most 1, not {self.central_share}")

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
        return (pixels.astype(np.float32) / np.float32(self.scale) - mean) / std

    def limits(self) -> tuple[np.ndarray, np.ndarray]:
        """What black and white pixels become: two arrays [C, 1, 1]."""
        ends = [self.normalized(np.full((self.channels, 1, 1), value)) for value in (0, 255)]
        return ends[0], ends[1]

    def to_json(self) -> str:
        """One JSON object, the same for the same format."""
        return json.dumps(asdict(self), ensure_ascii=False)


def read_format(text: str | bytes, where: str) -> ImageFormat:
    """The format that `ImageFormat.to_json` wrote.

    Raises:
        Refusal: it is none.
    """
    try:
        return format_of(json.loads(text))
    except ValueError as error:
        raise Refusal(f"{where}: not a description of images ({error})") from None


def format_of(document: Any) -> ImageFormat:
    """The format that a JSON object holds.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(document, dict):
        raise ValueError("not an object")
    return ImageFormat(**read_fields(ImageFormat, document))


def load_format(path: Path) -> ImageFormat:
    """A format from a file that a person wrote, in YAML or JSON.

    Raises:
        Refusal: naming file, line and key.
    """
    return read_yaml(path, ImageFormat)
