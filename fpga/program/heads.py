"""What is applied to the opened logits in the clear, by the party that learns them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

#: ONNX operator -> its name in program.json.
HEADS = {"Softmax": "softmax", "LogSoftmax": "log-softmax", "Sigmoid": "sigmoid", "ArgMax": "argmax"}


def apply_head(logits: np.ndarray, head: Iterable[str]) -> np.ndarray:
    """The model's own outputs from logits [N, classes, ...]; an argmax is int64 [N, ...], of the first largest.

    Raises:
        ValueError: an unknown name.
    """
    values = np.asarray(logits, dtype=np.float64)
    for name in head:
        shifted = values - values.max(axis=1, keepdims=True) if values.ndim > 1 else values
        match name:
            case "softmax":
                values = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
            case "log-softmax":
                values = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
            case "sigmoid":
                values = 1 / (1 + np.exp(-values))
            case "argmax":
                values = values.argmax(axis=1)
            case _:
                raise ValueError(f"the head {name!r} is unknown: expected {', '.join(HEADS.values())}")
    return values
