"""An image folder as people have them: three classes, and one picture of every odd kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("bars", "checks", "disc")
ORIENTATION = 0x0112


def drawn(kind: str, generator: np.random.Generator, width: int = 40, height: int = 30) -> Image.Image:
    """A noisy picture in RGB of one of `CLASSES`, whatever its size."""
    y, x = np.mgrid[0:height, 0:width] / height
    shift = generator.uniform(0, 0.3)
    pattern = {
        "bars": np.sin(14 * (x + shift)) > 0,
        "checks": (np.sin(14 * (x + shift)) > 0) ^ (np.sin(14 * (y + shift)) > 0),
        "disc": (x - width / height / 2) ** 2 + (y - 0.5) ** 2 < 0.14 + shift / 10,
    }[kind]
    pixels = 60 + 140 * pattern[..., None] + generator.normal(0, 20, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def write_odd_folder(root: Path, each: int = 60) -> list[str]:
    """Fill `root/CLASS/`; returns the names of the two files that are no pictures."""
    generator = np.random.default_rng(0)
    for kind in CLASSES:
        (root / kind).mkdir(parents=True)
        for index in range(each):
            drawn(kind, generator).save(root / kind / f"{index:03}.png")
    bars, checks, disc = (root / kind for kind in CLASSES)
    drawn("bars", generator, 4000, 3000).save(bars / "000-camera.jpg", quality=70)
    drawn("bars", generator).convert("L").save(bars / "grey.png")
    drawn("bars", generator).convert("CMYK").save(bars / "print.jpg")
    drawn("checks", generator).convert("RGBA").save(checks / "alpha.png")
    deep = np.asarray(drawn("checks", generator).convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(checks / "deep.png")
    drawn("checks", generator).save(checks / "moving.gif")
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    drawn("disc", generator).rotate(90, expand=True).save(disc / "turned.jpg", exif=exif, quality=95)
    whole = (disc / "001.png").read_bytes()
    (disc / "corrupt.png").write_bytes(whole[: len(whole) // 2])
    (disc / "empty.jpg").write_bytes(b"")
    (root / ".thumbnails").mkdir()
    drawn("disc", generator).save(root / ".thumbnails" / "000.png")
    drawn("disc", generator).save(disc / ".hidden.png")
    return ["disc/corrupt.png", "disc/empty.jpg"]
