"""Tables of the documentation that show what docs/results holds, where no benchmark prints them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rrnet_nni.base.tables import markdown_table

Row = Mapping[str, Any]


def fixed_point(rows: Sequence[Row]) -> str:
    """Networks in fixed point beside onnxruntime: images of the same class, errors of logits and of the worst layer."""
    return markdown_table(
        ("network", "activations", "images", "same class", "error of the logits", "of the worst layer"),
        (
            (
                f"{row['backbone']}, {row['dataset']}",
                row["choices"],
                f"{row['images']:,}",
                f"{row['same_class'] * row['images']:,.0f}",
                f"{row['logit_rms_error'] / row['logit_rms']:.2%}",
                f"{row['worst_layer_relative_rms']:.2%}",
            )
            for row in rows
        ),
    )
