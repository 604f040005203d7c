"""What a client's request must look like: one share of some images, or the seed that it is expanded from."""

from __future__ import annotations

import hashlib
import re

import numpy as np

from ..models.model import Model

SEED_BYTES = 16
MEDIA_TYPE = "application/octet-stream"
_REQUEST_ID = re.compile("[0-9a-f]{32}")


class Rejected(Exception):
    """A request that is answered by an HTTP status and one sentence; `retry_s` where waiting helps."""

    def __init__(self, status: int, sentence: str, retry_s: float | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.retry_s = status, sentence, retry_s


def check_request_id(text: str) -> str:
    """A request's id: 32 hexadecimal digits, drawn by the client."""
    if not _REQUEST_ID.fullmatch(text):
        raise Rejected(400, "the request's id must be 32 hexadecimal digits in lower case")
    return text


def image_count(text: str | None, model: Model) -> int:
    """`?images=N`, 1 by default."""
    if text is None:
        return 1
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= model.batch):
        raise Rejected(400, f"images must be a number from 1 to {model.batch}")
    return int(text)


def check_length(length: str | None, model: Model, images: int) -> int:
    """The announced size of a body, which is that of a seed or of a share."""
    if length is None or not (length.isascii() and length.isdecimal()):
        raise Rejected(411, "the request must say its Content-Length")
    expected = images * model.image_bytes
    size = int(length[:12])
    if size > max(expected, SEED_BYTES):
        raise Rejected(413, f"the body has {size} bytes; a share of {images} images has {expected}")
    if size not in (expected, SEED_BYTES):
        raise Rejected(
            400, f"the body has {size} bytes, but a share of {images} images has {expected}, a seed {SEED_BYTES}"
        )
    return size


def read_share(body: bytes, model: Model, images: int) -> np.ndarray:
    """uint32 [images, *shape] from little-endian words, or from a seed's expansion by SHAKE-256."""
    if len(body) == SEED_BYTES:
        body = hashlib.shake_256(body).digest(images * model.image_bytes)
    return np.frombuffer(body, "<u4").astype(np.uint32, copy=False).reshape(images, *model.input_shape)
